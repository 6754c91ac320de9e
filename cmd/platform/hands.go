package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// hands carry commands out in this process, those of its own tenants' servers and
// those of other nodes alike: cluster.Hands. Ids of connections are the ledger's, but
// one that was entered anew is found by its first id, too.
type hands struct{ *platform }

// End ends a connection that is in, or on its way.
func (h hands) End(id tenant.ID, connectionID string, why tenant.Parting) bool {
	return h.door.End(id, h.book.MediaID(connectionID), why)
}

// Here lists connections by the ids that the ledger has for them.
func (h hands) Here(id tenant.ID, which tenant.Choice) []string {
	ids := h.door.Here(id, which)
	for i := range ids {
		ids[i] = h.book.LedgerID(ids[i])
	}
	return ids
}

// Do does what an order says, if its connection or channel is here.
func (h hands) Do(_ context.Context, id tenant.ID, o cluster.Order) (result any, here bool, err error) {
	if o.ConnectionID == "" {
		return h.toChannel(id, o)
	}
	o.ConnectionID = h.book.MediaID(o.ConnectionID)
	subject, here := h.door.Subject(id, o.ConnectionID)
	if !here {
		return nil, false, nil
	}
	if o.Channel != "" && o.Channel != subject.Channel {
		return nil, true, tenant.ErrNotFound
	}
	c := h.media.Find(id, o.ConnectionID)
	if c == nil { // it is just coming in, or leaving, or its media goes elsewhere
		return nil, true, errNoMedia
	}
	o.Channel = subject.Channel
	result, err = h.toConnection(id, c, o)
	return result, true, refused(err)
}

// errNoMedia refuses an order about a connection whose media is not ours.
var errNoMedia = tenant.Refuse(api.CodeConflict, "the connection's media does not pass the platform: it is a peer-to-peer call's, or is not up; this is not possible with it")

// toChannel does what an order about a channel says.
func (h hands) toChannel(id tenant.ID, o cluster.Order) (result any, here bool, err error) {
	which := tenant.Choice{Channel: o.Channel}
	switch o.Action {
	case cluster.ActionPush:
		var push cluster.Push
		if err := json.Unmarshal(o.Body, &push); err != nil {
			return nil, true, err
		}
		which.ClientID, which.Role = push.ClientID, push.Role
		pushed, err := h.media.Push(id, which, push.Data)
		if errors.Is(err, sfu.ErrNoChannel) {
			// Those who are here all the same are in peer-to-peer calls, or on their way.
			peers := len(h.door.Here(id, which))
			return cluster.Pushed{Unreachable: peers}, peers > 0, nil
		}
		return cluster.Pushed{Connections: pushed.Sent, Unreachable: pushed.Unreachable, Dropped: pushed.Dropped}, true, refused(err)
	}
	return nil, true, fmt.Errorf("no action %q on a channel", o.Action)
}

// toConnection does what an order about a connection says.
func (h hands) toConnection(id tenant.ID, c *sfu.Connection, o cluster.Order) (any, error) {
	switch o.Action {
	case cluster.ActionPush:
		var push cluster.Push
		if err := json.Unmarshal(o.Body, &push); err != nil {
			return nil, err
		}
		pushed, err := c.Push(push.Data)
		if err == nil && pushed.Unreachable > 0 {
			err = tenant.Refuse(api.CodeConflict, "the connection came by a protocol that has no way for a push: WHIP, WHEP or the dialect of 2015")
		}
		return cluster.Pushed{Connections: pushed.Sent, Dropped: pushed.Dropped}, err
	case cluster.ActionKeyFrame:
		return struct{}{}, c.RequestKeyFrame()
	}
	return nil, fmt.Errorf("no action %q on a connection", o.Action)
}

// refused makes what the media plane refuses into what callers are told.
func refused(err error) error {
	switch {
	case errors.Is(err, sfu.ErrNoChannel), errors.Is(err, sfu.ErrNobody), errors.Is(err, sfu.ErrEnded):
		return tenant.ErrNotFound
	case errors.Is(err, sfu.ErrTooOften):
		return tenant.Refuse(tenant.RateLimited, "too often for this connection or channel: slow down")
	case errors.Is(err, sfu.ErrNoVideo):
		return tenant.Refuse(api.CodeConflict, "%v", err)
	}
	return err
}
