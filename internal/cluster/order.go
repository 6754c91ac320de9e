package cluster

import (
	"encoding/json"

	"github.com/hibari/hibari/internal/tenant"
)

// Action names what a node is asked to do with what is live on it.
type Action string

// The actions. That of a disconnect stays until it is done; the others are done at
// most once and expire.
const (
	ActionDisconnect      Action = "disconnect"
	ActionPush            Action = "push"               // Push
	ActionKeyFrame        Action = "key_frame"          // no body
	ActionSimulcastRID    Action = "simulcast_rid"      // RIDWish
	ActionSpotlightRID    Action = "spotlight_rid"      // SpotlightWish
	ActionSpotlightReset  Action = "spotlight_reset"    // SpotlightWish
	ActionSpotlightFocus  Action = "spotlight_focus"    // Focus
	ActionSpotlightNumber Action = "spotlight_number"   // Places
	ActionNotifyMetadata  Action = "notify_metadata"    // NotifyMetadata
	ActionNotifyMetaItem  Action = "notify_metadata_kv" // NotifyMetadata
)

// Order is what is asked of the node that has a connection, or a channel. Static.
type Order struct {
	Action       Action
	ConnectionID string          // "": it is about the channel
	Channel      string          // of an order about a connection: it must be in it; "": in any
	Body         json.RawMessage // as the action says; nil: none
}

// Push is the body of ActionPush.
type Push struct {
	Data     json.RawMessage `json:"data"`
	ClientID string          `json:"client_id,omitempty"` // "": everybody's
	Role     tenant.Role     `json:"role,omitempty"`      // "": any
}

// Pushed is what came of it.
type Pushed struct {
	Connections int `json:"connections"` // how many it was sent to
	Unreachable int `json:"unreachable"` // how many came by a protocol without a way for it
	Dropped     int `json:"dropped"`     // how many have left so much unread that they got nothing
}

// RIDWish is the body of ActionSimulcastRID.
type RIDWish struct {
	Sender string `json:"sender,omitempty"` // a connection id; "": all
	RID    string `json:"rid"`              // none, r0, r1, r2 or auto
}

// SpotlightWish is the body of ActionSpotlightRID and ActionSpotlightReset.
type SpotlightWish struct {
	Sender  string `json:"sender,omitempty"`  // a connection id; "": all
	Focus   string `json:"focus,omitempty"`   // none, r0, r1, r2; "": as it is
	Unfocus string `json:"unfocus,omitempty"` // likewise
}

// Focus is the body of ActionSpotlightFocus.
type Focus struct {
	In    bool `json:"in"`    // false: out of focus
	Fixed bool `json:"fixed"` // whoever speaks
}

// Places is the body of ActionSpotlightNumber.
type Places struct {
	Number int `json:"number"`
}

// NotifyMetadata is the body of ActionNotifyMetadata, and with a key of
// ActionNotifyMetaItem. Its result is all of the metadata.
type NotifyMetadata struct {
	Key   string          `json:"key,omitempty"`
	Value json.RawMessage `json:"value"`
	Push  bool            `json:"push"` // tell the others
}
