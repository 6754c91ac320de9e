package webhooks

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/hibari/hibari/internal/tenant"
)

// A test event is a ping in the ledger, whatever it shows: streams and the list of
// events tell nobody of connections that never were. To the one endpoint that is
// tested it is posted as an event of the type that was chosen, with data as such
// events have, and `"test": true` among it.

// pingData is the data of a ping event.
type pingData struct {
	EndpointID string   `json:"endpoint_id"`
	Message    string   `json:"message"`
	As         *example `json:"as,omitempty"` // what the endpoint gets instead of the ping; nil: the ping
}

// example is what makes an event one of its type.
type example struct {
	Type          tenant.EventType `json:"type"`
	Channel       string           `json:"channel_id,omitempty"`
	ConnectionID  string           `json:"connection_id,omitempty"`
	ConnectionSeq int              `json:"connection_seq,omitempty"`
	Data          json.RawMessage  `json:"data"`
}

const testMessage = "This is a test."

// posted is the event as an endpoint gets it.
func posted(e tenant.Event) (tenant.Event, error) {
	if e.Type != tenant.Ping || !bytes.Contains(e.Data, []byte(`"as"`)) {
		return e, nil
	}
	var ping pingData
	if err := json.Unmarshal(e.Data, &ping); err != nil {
		return e, fmt.Errorf("couldn't read test event %s: %w", e.ID, err)
	}
	if as := ping.As; as != nil {
		e.Type, e.Channel, e.ConnectionID, e.ConnectionSeq, e.Data = as.Type, as.Channel, as.ConnectionID, as.ConnectionSeq, as.Data
	}
	return e, nil
}

// ExampleTypes are the types that a test event may be of: those that are written,
// and ping.
func ExampleTypes() (types []tenant.EventType) {
	for _, name := range Types {
		t := tenant.EventType(name)
		if _, ok := exampleData[t]; ok || t == tenant.Ping {
			types = append(types, t)
		}
	}
	return types
}

// exampleOf makes an example of a type, with ids of its own; nil: of a ping.
func exampleOf(t tenant.EventType) *example {
	if t == tenant.Ping {
		return nil
	}
	e := &example{Type: t}
	data := map[string]any{"test": true}
	maps.Copy(data, exampleData[t])
	if e.ConnectionSeq = exampleSeq[t]; e.ConnectionSeq > 0 {
		e.ConnectionID = tenant.NewID()
		maps.Copy(data, exampleConnection)
	}
	if _, ok := data["session_id"]; ok {
		e.Channel, data["session_id"] = "example", tenant.NewID()
	}
	e.Data, _ = json.Marshal(data) // strings, numbers and maps of them: it never fails
	return e
}

// exampleConnection is what the data of every connection event has.
var exampleConnection = map[string]any{
	"role": "sendonly", "session_id": "", "client_id": "camera-3", "metadata": map[string]any{"user": "example"},
	"channel_connections": 3, "channel_sendrecv_connections": 0, "channel_sendonly_connections": 1, "channel_recvonly_connections": 2,
}

// exampleSeq is the connection_seq that an event of the type usually has.
var exampleSeq = map[tenant.EventType]int{
	tenant.ConnectionConnecting: 1, tenant.ConnectionCreated: 2, tenant.ConnectionUpdated: 3, tenant.ConnectionDestroyed: 5, tenant.ConnectionRejected: 2,
}

// exampleData is what the data of a type has of its own; a session_id is filled in.
var exampleData = map[tenant.EventType]map[string]any{
	tenant.ConnectionConnecting: {},
	tenant.ConnectionCreated:    {},
	tenant.ConnectionUpdated:    {"minutes": 1},
	tenant.ConnectionDestroyed:  {"reason": "client", "duration_seconds": 154, "minutes": 3, "bytes_in": 48_312_004, "bytes_out": 96_101},
	tenant.ConnectionRejected: {"reason": "channel_full", "code": "channel_full", "current": 150, "max": 150,
		"detail": "the channel has as many connections as it may: try again later"},
	tenant.ChannelStarted:   {"session_id": "", "duration_seconds": 0},
	tenant.ChannelEnded:     {"session_id": "", "duration_seconds": 1834},
	tenant.LicenceThreshold: {"threshold": 80, "connections": 240, "max_connections": 300},
	tenant.UsageThreshold: {"threshold": "80", "amount": 402_600, "decimal": "402600", "cap": 500_000, "cap_decimal": "500000", "currency": "JPY",
		"action": "refuse", "period_from": "2026-10-31T15:00:00Z", "period_to": "2026-11-30T15:00:00Z", "data_through": "2026-11-24T09:30:10Z"},
	tenant.NodeDraining: {"node_id": "EXAMPLE", "name": "node-1", "public_url": "https://example.com", "connections": 12},
}
