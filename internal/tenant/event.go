package tenant

import (
	"encoding/json"
	"time"
)

// EventType names a kind of event (DESIGN A7).
type EventType string

// The event types. Those about recordings are part of
// the contract already, so that an endpoint may choose them, but nothing writes
// them yet.
const (
	ConnectionConnecting EventType = "connection.connecting"
	ConnectionCreated    EventType = "connection.created"
	ConnectionUpdated    EventType = "connection.updated"
	ConnectionDestroyed  EventType = "connection.destroyed"
	ConnectionRejected   EventType = "connection.rejected"
	ChannelStarted       EventType = "channel.started"
	ChannelEnded         EventType = "channel.ended"
	RecordingStarted     EventType = "recording.started"
	RecordingReady       EventType = "recording.ready"
	RecordingFailed      EventType = "recording.failed"
	LicenceThreshold     EventType = "licence.threshold"
	UsageThreshold       EventType = "usage.threshold"
	NodeDraining         EventType = "node.draining"
	EndpointDisabled     EventType = "endpoint.disabled"
	Ping                 EventType = "ping"
)

// Event is a fact about a tenant: the envelope that webhooks, the stream and
// the REST API carry.
type Event struct {
	ID            string          `json:"id"` // "evt_" and 26 characters, the same on every attempt and replay
	Type          EventType       `json:"type"`
	Timestamp     time.Time       `json:"timestamp"` // when it happened
	Tenant        ID              `json:"tenant_id"`
	Seq           int64           `json:"seq"` // gapless per tenant
	Channel       string          `json:"channel_id,omitempty"`
	ConnectionID  string          `json:"connection_id,omitempty"`
	ConnectionSeq int             `json:"connection_seq,omitempty"` // 1, 2, 3 … per connection; the outbox gives it to one that has none
	Data          json.RawMessage `json:"data"`
}
