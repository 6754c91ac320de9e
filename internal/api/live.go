package api

import (
	"context"
	"encoding/json"

	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
)

// What a tenant's server decides for its clients while they are connected: layers, the
// spotlight, the metadata that notifications show.

// order is Order without a result, about a connection or a channel.
func (a *API) order(ctx context.Context, scope tenant.Scope, o cluster.Order, body any) (done ordered, err error) {
	_, done.Confirmed, err = a.Order(ctx, scope, o, body)
	return done, err
}

func (a *API) requestSimulcastRID(ctx context.Context, scope tenant.Scope, in *struct {
	ConnectionInput
	Body struct {
		RID    string `json:"rid" enum:"none,r0,r1,r2,auto" doc:"At most this layer; auto: the best that the way carries; none: nothing."`
		Sender string `json:"sender_connection_id,omitempty" maxLength:"64" doc:"Of this publisher alone. Absent: of all, and what was asked for of single ones is taken back."`
	}
}) (ordered, error) {
	return a.order(ctx, scope, cluster.Order{Action: cluster.ActionSimulcastRID, ConnectionID: in.ID}, cluster.RIDWish{Sender: in.Body.Sender, RID: in.Body.RID})
}

// spotlightBody says which layers are wished for in the spotlight.
type spotlightBody struct {
	Focus   string `json:"spotlight_focus_rid,omitempty" enum:"none,r0,r1,r2" doc:"Of who is in focus. Absent: as it is."`
	Unfocus string `json:"spotlight_unfocus_rid,omitempty" enum:"none,r0,r1,r2" doc:"Of who is not. Absent: as it is."`
	Sender  string `json:"send_connection_id,omitempty" maxLength:"64" doc:"Of this publisher alone. Absent: of all."`
}

func (a *API) requestSpotlightRID(ctx context.Context, scope tenant.Scope, in *struct {
	ConnectionInput
	Body spotlightBody
}) (ordered, error) {
	return a.order(ctx, scope, cluster.Order{Action: cluster.ActionSpotlightRID, ConnectionID: in.ID},
		cluster.SpotlightWish{Sender: in.Body.Sender, Focus: in.Body.Focus, Unfocus: in.Body.Unfocus})
}

func (a *API) resetSpotlightRID(ctx context.Context, scope tenant.Scope, in *struct {
	ConnectionInput
	Body struct {
		Sender string `json:"send_connection_id,omitempty" maxLength:"64" doc:"Of this publisher alone. Absent: of all."`
	}
}) (ordered, error) {
	return a.order(ctx, scope, cluster.Order{Action: cluster.ActionSpotlightReset, ConnectionID: in.ID}, cluster.SpotlightWish{Sender: in.Body.Sender})
}

func (a *API) focus(ctx context.Context, scope tenant.Scope, in *struct {
	ConnectionInput
	Body struct {
		Fixed bool `json:"fixed,omitempty" doc:"It stays in focus, whoever speaks, until it is taken out."`
	}
}) (ordered, error) {
	return a.order(ctx, scope, cluster.Order{Action: cluster.ActionSpotlightFocus, ConnectionID: in.ID}, cluster.Focus{In: true, Fixed: in.Body.Fixed})
}

func (a *API) unfocus(ctx context.Context, scope tenant.Scope, in *ConnectionInput) (ordered, error) {
	return a.order(ctx, scope, cluster.Order{Action: cluster.ActionSpotlightFocus, ConnectionID: in.ID}, cluster.Focus{})
}

func (a *API) changeSpotlight(ctx context.Context, scope tenant.Scope, in *struct {
	ChannelInput
	Body struct {
		Number int `json:"spotlight_number" minimum:"1" maximum:"8" doc:"How many may be in focus."`
	}
}) (ordered, error) {
	which, err := in.choice(scope)
	if err != nil {
		return ordered{}, err
	}
	return a.order(ctx, scope, cluster.Order{Action: cluster.ActionSpotlightNumber, Channel: which.Channel}, cluster.Places{Number: in.Body.Number})
}

// NotifyMetadata is a change of what notifications show of a connection. Static.
type NotifyMetadata struct {
	Key   string // one item; "": all of it
	Value json.RawMessage
	Push  bool // push the change to all who are told of the connection
}

// PutNotifyMetadata makes the change. metadata is all of it then, nil if its node has
// not confirmed it.
func (a *API) PutNotifyMetadata(ctx context.Context, scope tenant.Scope, o cluster.Order, m NotifyMetadata) (metadata json.RawMessage, confirmed bool, err error) {
	if len(m.Value) == 0 {
		return nil, false, tenant.Refuse(tenant.BadMessage, "give the metadata, or a key and its value; null is something, too")
	}
	if err := checkJSON(m.Value); err != nil {
		return nil, false, err
	}
	o.Action = cluster.ActionNotifyMetadata
	if m.Key != "" {
		o.Action = cluster.ActionNotifyMetaItem
		if err := tenant.CheckName("key", m.Key); err != nil {
			return nil, false, err
		}
	}
	results, confirmed, err := a.Order(ctx, scope, o, cluster.NotifyMetadata{Key: m.Key, Value: m.Value, Push: m.Push})
	if len(results) > 0 {
		metadata = results[0]
	}
	return metadata, confirmed, err
}

// notifyMetadata is the answer to a change.
type notifyMetadata struct {
	Metadata  json.RawMessage `json:"metadata" doc:"All of it, after the change; null too if that is not confirmed."`
	Confirmed bool            `json:"confirmed" doc:"Its node has done it. false: it has not said so in time; it is done within ten seconds or not at all, and never twice."`
}

func (a *API) putNotifyMetadata(ctx context.Context, scope tenant.Scope, in *struct {
	ConnectionInput
	Body struct {
		Metadata anyJSON `json:"metadata,omitempty" doc:"What takes the place of all of it, of at most 8 KiB."`
		Key      string  `json:"key,omitempty" maxLength:"255" doc:"Or: the name of one item of it."`
		Value    anyJSON `json:"value,omitempty" doc:"And its value."`
		Push     bool    `json:"push,omitempty" doc:"Push the change to all who are told of the connection."`
	}
}) (n notifyMetadata, err error) {
	change := NotifyMetadata{Key: in.Body.Key, Value: json.RawMessage(in.Body.Value), Push: in.Body.Push}
	if in.Body.Key == "" {
		change.Value = json.RawMessage(in.Body.Metadata)
	}
	n.Metadata, n.Confirmed, err = a.PutNotifyMetadata(ctx, scope, cluster.Order{ConnectionID: in.ID}, change)
	return n, err
}
