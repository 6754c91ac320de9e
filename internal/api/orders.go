package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
)

// MaxPushBytes is how many bytes what is pushed to clients may have, as compact JSON.
const MaxPushBytes = 32 << 10

// Pushed says what became of a push.
type Pushed struct {
	cluster.Pushed
	Confirmed bool // false: its node has not said so yet; it is pushed within ten seconds or not at all
}

// Push has JSON pushed to a connection, or to those of a channel that are meant. The
// error is tenant.ErrNotFound if nobody is.
func (a *API) Push(ctx context.Context, scope tenant.Scope, connectionID string, which tenant.Choice, data json.RawMessage) (p Pushed, err error) {
	if len(data) == 0 {
		return p, tenant.Refuse(tenant.BadMessage, "give what is to be pushed as data; null is something, too")
	}
	var compact bytes.Buffer
	if err := checkJSON(data); err != nil {
		return p, err
	}
	if err := json.Compact(&compact, data); err != nil {
		return p, fmt.Errorf("couldn't write what is to be pushed: %w", err)
	}
	if compact.Len() > MaxPushBytes {
		return p, tenant.Refuse(tenant.TooLarge, "data has at most %d bytes", MaxPushBytes)
	}
	order := cluster.Order{Action: cluster.ActionPush, ConnectionID: connectionID, Channel: which.Channel}
	results, confirmed, err := a.Order(ctx, scope, order, cluster.Push{Data: compact.Bytes(), ClientID: which.ClientID, Role: which.Role})
	p.Confirmed = confirmed
	for _, result := range results {
		var one cluster.Pushed
		if err := json.Unmarshal(result, &one); err != nil {
			return p, fmt.Errorf("couldn't read what became of a push: %w", err)
		}
		p.Connections += one.Connections
		p.Unreachable += one.Unreachable
		p.Dropped += one.Dropped
	}
	return p, err
}

// Order has the node of a connection or a channel do something, and waits for a moment
// for what comes of it, as cluster.Sent.Wait does. body is what the action needs; nil:
// nothing.
func (a *API) Order(ctx context.Context, scope tenant.Scope, o cluster.Order, body any) (results []json.RawMessage, confirmed bool, err error) {
	if body != nil {
		if o.Body, err = json.Marshal(body); err != nil {
			return nil, false, fmt.Errorf("couldn't write an order: %w", err)
		}
	}
	sent, err := a.Node.Do(ctx, scope, o)
	if err != nil {
		return nil, false, err
	}
	return sent.Wait(ctx)
}

// anyJSON is any JSON, kept as it was written.
type anyJSON json.RawMessage

// Schema says that it may be anything.
func (anyJSON) Schema(huma.Registry) *huma.Schema { return &huma.Schema{} }

// UnmarshalJSON keeps the text.
func (j *anyJSON) UnmarshalJSON(text []byte) error {
	*j = append((*j)[:0], text...)
	return nil
}

// pushed is the answer to a push.
type pushed struct {
	Connections int  `json:"connections" doc:"To how many it was pushed."`
	Unreachable int  `json:"unreachable" doc:"How many are there whose protocol has no way for it."`
	Dropped     int  `json:"dropped" doc:"How many did not get it because they have left too much unread."`
	Confirmed   bool `json:"confirmed" doc:"Their node has done it. false: it has not said so in time, and the counts are not known; it is done within ten seconds or not at all, and never twice."`
}

func showPushed(p Pushed) pushed { return pushed{p.Connections, p.Unreachable, p.Dropped, p.Confirmed} }

func (a *API) pushChannel(ctx context.Context, scope tenant.Scope, in *struct {
	ChannelInput
	Body struct {
		Data     anyJSON `json:"data" doc:"What they are pushed, of at most 32 KiB."`
		Role     string  `json:"role,omitempty" enum:"sendonly,recvonly,sendrecv" doc:"Only to those of this role."`
		ClientID string  `json:"client_id,omitempty" maxLength:"255" doc:"Only to those of this client."`
	}
}) (pushed, error) {
	which, err := in.choice(scope)
	if err != nil {
		return pushed{}, err
	}
	which.Role, which.ClientID = tenant.Role(in.Body.Role), in.Body.ClientID
	p, err := a.Push(ctx, scope, "", which, json.RawMessage(in.Body.Data))
	return showPushed(p), err
}

func (a *API) pushConnection(ctx context.Context, scope tenant.Scope, in *struct {
	ConnectionInput
	Body struct {
		Data anyJSON `json:"data" doc:"What it is pushed, of at most 32 KiB."`
	}
}) (pushed, error) {
	p, err := a.Push(ctx, scope, in.ID, tenant.Choice{}, json.RawMessage(in.Body.Data))
	return showPushed(p), err
}

// ordered is the answer to what a node was asked to do.
type ordered struct {
	Confirmed bool `json:"confirmed" doc:"Its node has done it. false: it has not said so in time; it is done within ten seconds or not at all, and never twice."`
}

func (a *API) requestKeyFrame(ctx context.Context, scope tenant.Scope, in *ConnectionInput) (o ordered, err error) {
	_, o.Confirmed, err = a.Order(ctx, scope, cluster.Order{Action: cluster.ActionKeyFrame, ConnectionID: in.ID}, nil)
	return o, err
}
