package signaling

import (
	"encoding/json"
	"slices"
	"strconv"

	"github.com/hibari/hibari/internal/sfu"
)

// procedures are all that there are to call, by their names on the wire.
var procedures = map[string]procedure{
	"2025.2.0/RequestSimulcastRid":            {[]string{"rid", "sender_connection_id", "receiver_connection_id"}, requestSimulcastRID},
	"2025.2.0/RequestSpotlightRid":            {[]string{"send_connection_id", "recv_connection_id", "spotlight_focus_rid", "spotlight_unfocus_rid"}, requestSpotlightRID},
	"2025.2.0/ResetSpotlightRid":              {[]string{"send_connection_id", "recv_connection_id"}, resetSpotlightRID},
	"2025.2.0/PutSignalingNotifyMetadata":     {[]string{"metadata", "push"}, putMetadata},
	"2025.2.0/PutSignalingNotifyMetadataItem": {[]string{"key", "value", "push"}, putMetadataItem},
}

// ridResult says what was asked for of a sender, or of all.
type ridResult struct {
	ChannelID string `json:"channel_id"`
	Receiver  string `json:"receiver_connection_id"`
	Sender    string `json:"sender_connection_id,omitempty"`
	RID       string `json:"rid"`
}

// isCaller fails the request if the receiver that it may name is not the caller:
// who calls is the receiver, and clients say so nevertheless.
func isCaller(c *call, params fields, name string) {
	if id := params.Text(name); id != "" && id != c.id {
		params.Fail(name, "must be the caller's own, or be left out")
	}
}

// requestSimulcastRID asks for a layer of a sender, or of all.
func requestSimulcastRID(c *call, params fields) (any, error) {
	rid, sender := params.Text("rid"), params.Text("sender_connection_id")
	isCaller(c, params, "receiver_connection_id")
	switch {
	case params.Err() != nil:
		return nil, params.Err()
	case !slices.Contains([]string{"none", "r0", "r1", "r2", "auto"}, rid):
		return nil, sfu.ErrBadRID
	case c.rids != nil && !slices.Contains(c.rids, rid):
		return nil, bad("rid %s is not among the simulcast_rpc_rids of this connection", rid)
	}
	return ridResult{c.channel, c.id, sender, rid}, c.connection.RequestRID(sender, rid)
}

// spotlightResult likewise, of the layers in the spotlight and out of it.
type spotlightResult struct {
	ChannelID string `json:"channel_id"`
	Receiver  string `json:"recv_connection_id"`
	Sender    string `json:"send_connection_id,omitempty"`
	Focus     string `json:"spotlight_focus_rid,omitempty"`
	Unfocus   string `json:"spotlight_unfocus_rid,omitempty"`
}

// requestSpotlightRID asks for other layers of a sender, or of all, while in the
// spotlight and while not.
func requestSpotlightRID(c *call, params fields) (any, error) {
	rids := []string{"none", "r0", "r1", "r2"}
	isCaller(c, params, "recv_connection_id")
	r := spotlightResult{
		c.channel, c.id, params.Text("send_connection_id"),
		params.Choice("spotlight_focus_rid", rids...), params.Choice("spotlight_unfocus_rid", rids...),
	}
	if err := params.Err(); err != nil {
		return nil, err
	}
	return r, c.connection.RequestSpotlightRID(r.Sender, r.Focus, r.Unfocus)
}

// resetSpotlightRID takes that back.
func resetSpotlightRID(c *call, params fields) (any, error) {
	r := spotlightResult{ChannelID: c.channel, Receiver: c.id, Sender: params.Text("send_connection_id")}
	isCaller(c, params, "recv_connection_id")
	if err := params.Err(); err != nil {
		return nil, err
	}
	return r, c.connection.ResetSpotlightRID(r.Sender)
}

const typeMetadataPush = "signaling_notify_metadata_ext"

// metadataPush tells the others of a change.
type metadataPush struct {
	Type         string          `json:"type"`
	Action       string          `json:"action"`
	ConnectionID string          `json:"connection_id"`
	Metadata     json.RawMessage `json:"metadata,omitempty"`
	Key          string          `json:"key,omitempty"`
	Value        json.RawMessage `json:"value,omitempty"`
}

// putMetadata replaces what may change of the caller's metadata. The result is all
// of that, as SDKs read it.
func putMetadata(c *call, params fields) (any, error) {
	value := anyValue(c, params, "metadata")
	push, err := pushed(params, metadataPush{Action: "PutMetadata", ConnectionID: c.id, Metadata: value})
	if err != nil {
		return nil, err
	}
	return c.connection.PutMetadata(value, push)
}

// putMetadataItem sets one item of it.
func putMetadataItem(c *call, params fields) (any, error) {
	key, value := params.Name("key"), anyValue(c, params, "value")
	if key == "" {
		params.Fail("key", "is missing")
	}
	push, err := pushed(params, metadataPush{Action: "PutMetadataItem", ConnectionID: c.id, Key: key, Value: value})
	if err != nil {
		return nil, err
	}
	return c.connection.PutMetadataItem(key, value, push)
}

// MetadataPushed is what is pushed of a change of a connection's metadata: all of it,
// or the item of a key.
func MetadataPushed(connectionID, key string, value json.RawMessage) ([]byte, error) {
	p := metadataPush{Type: typeMetadataPush, Action: "PutMetadata", ConnectionID: connectionID, Metadata: value}
	if key != "" {
		p = metadataPush{Type: typeMetadataPush, Action: "PutMetadataItem", ConnectionID: connectionID, Key: key, Value: value}
	}
	return json.Marshal(p)
}

// anyValue is the JSON of a field that must be there, be it null. Others are sent it:
// it nests no deeper than a connect may.
func anyValue(c *call, params fields, name string) json.RawMessage {
	raw := params.Raw(name)
	switch {
	case !params.Has(name):
		params.Fail(name, "is missing")
	case raw == nil:
		return json.RawMessage("null")
	case depth(raw) > c.door.limits.Depth:
		params.Fail(name, "is nested deeper than "+strconv.Itoa(c.door.limits.Depth))
	}
	return raw
}

// pushed is what is pushed of a change; nil: nothing is to be.
func pushed(params fields, p metadataPush) ([]byte, error) {
	push := params.Flag("push", false)
	if err := params.Err(); err != nil || !push {
		return nil, err
	}
	p.Type = typeMetadataPush
	return json.Marshal(p)
}
