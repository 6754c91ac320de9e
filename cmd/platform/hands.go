package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/signaling"
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
	case cluster.ActionSpotlightNumber:
		var places cluster.Places
		if err := json.Unmarshal(o.Body, &places); err != nil {
			return nil, true, err
		}
		if len(h.door.Here(id, which)) == 0 {
			return nil, false, nil
		}
		return struct{}{}, true, refused(h.media.SetSpotlightNumber(id, o.Channel, places.Number))
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
	case cluster.ActionSimulcastRID:
		var wish cluster.RIDWish
		if err := json.Unmarshal(o.Body, &wish); err != nil {
			return nil, err
		}
		return struct{}{}, c.RequestRID(wish.Sender, wish.RID)
	case cluster.ActionSpotlightRID, cluster.ActionSpotlightReset, cluster.ActionSpotlightFocus:
		return struct{}{}, toSpotlight(c, o)
	case cluster.ActionNotifyMetadata, cluster.ActionNotifyMetaItem:
		return putMetadata(c, o)
	}
	return nil, fmt.Errorf("no action %q on a connection", o.Action)
}

// toSpotlight does what an order about a connection and the spotlight says.
func toSpotlight(c *sfu.Connection, o cluster.Order) error {
	if o.Action == cluster.ActionSpotlightFocus {
		var focus cluster.Focus
		if err := json.Unmarshal(o.Body, &focus); err != nil {
			return err
		}
		if !focus.In {
			return c.Unfocus()
		}
		return c.Focus(focus.Fixed)
	}
	var wish cluster.SpotlightWish
	if err := json.Unmarshal(o.Body, &wish); err != nil {
		return err
	}
	if o.Action == cluster.ActionSpotlightReset {
		return c.ResetSpotlightRID(wish.Sender)
	}
	return c.RequestSpotlightRID(wish.Sender, wish.Focus, wish.Unfocus)
}

// putMetadata changes what notifications show of a connection, and returns all of it.
func putMetadata(c *sfu.Connection, o cluster.Order) (any, error) {
	var change cluster.NotifyMetadata
	if err := json.Unmarshal(o.Body, &change); err != nil {
		return nil, err
	}
	var push []byte
	if change.Push {
		var err error
		if push, err = signaling.MetadataPushed(c.ID(), change.Key, change.Value); err != nil {
			return nil, err
		}
	}
	if o.Action == cluster.ActionNotifyMetadata {
		return c.PutMetadata(change.Value, push)
	}
	return c.PutMetadataItem(change.Key, change.Value, push)
}

// refused makes what the media plane refuses into what callers are told.
func refused(err error) error {
	switch {
	case errors.Is(err, sfu.ErrNoChannel), errors.Is(err, sfu.ErrNobody), errors.Is(err, sfu.ErrEnded):
		return tenant.ErrNotFound
	case errors.Is(err, sfu.ErrTooOften):
		return tenant.Refuse(tenant.RateLimited, "too often for this connection or channel: slow down")
	case errors.Is(err, sfu.ErrNoVideo), errors.Is(err, sfu.ErrNoSpotlight), errors.Is(err, sfu.ErrAllFixed), errors.Is(err, sfu.ErrNotShown):
		return tenant.Refuse(api.CodeConflict, "%v", err)
	case errors.Is(err, sfu.ErrMetadataLarge):
		return tenant.Refuse(tenant.TooLarge, "the metadata would have more than %d bytes", sfu.MaxMetadataBytes)
	case errors.Is(err, sfu.ErrMetadataShape):
		return tenant.Refuse(api.CodeConflict, "the metadata is no object, so that it has no items: replace all of it")
	case errors.Is(err, sfu.ErrBadRID), errors.Is(err, sfu.ErrBadNumber):
		return tenant.Refuse(tenant.BadMessage, "%v", err)
	}
	return err
}
