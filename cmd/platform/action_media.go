package main

import (
	"context"
	"slices"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
)

// Actions on what clients send and are sent. They echo what they were asked, and say
// whether the connection's node has confirmed it.

// order has something done with one connection, or with the channel if connectionID is
// empty, and returns echo.
func (p *platform) order(ctx context.Context, scope tenant.Scope, a actionRequest, action cluster.Action, connectionID string, body any, echo map[string]any) (any, error) {
	_, confirmed, err := p.api.Order(ctx, scope, cluster.Order{Action: action, ConnectionID: connectionID, Channel: a.channel()}, body)
	if err != nil {
		return nil, err
	}
	echo["channel_id"], echo["confirmed"] = a.channel(), confirmed
	return echo, nil
}

// requestKeyFrame asks a publisher for a key frame: each call is one request to it.
func (p *platform) requestKeyFrame(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if a.connection() == "" {
		return nil, errNoConnectionID
	}
	return p.order(ctx, scope, a, cluster.ActionKeyFrame, a.connection(), nil, map[string]any{"connection_id": a.connection()})
}

// needsRID fails unless all of the layers that are named are ones.
func needsRID(names []string, rids ...string) error {
	for _, rid := range rids {
		if !slices.Contains(names, rid) {
			return tenant.Refuse(tenant.BadMessage, "a rid must be one of %v", names)
		}
	}
	return nil
}

// requestSimulcastRID chooses the layer that a viewer gets of a publisher, or of all.
func (p *platform) requestSimulcastRID(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if a.Receiver == "" {
		return nil, tenant.Refuse(tenant.BadMessage, "give the viewer as receiver_connection_id")
	}
	if err := needsRID([]string{"none", "r0", "r1", "r2", "auto"}, a.RID); err != nil {
		return nil, err
	}
	echo := map[string]any{"receiver_connection_id": a.Receiver, "rid": a.RID}
	if a.Sender != "" {
		echo["sender_connection_id"] = a.Sender
	}
	return p.order(ctx, scope, a, cluster.ActionSimulcastRID, a.Receiver, cluster.RIDWish{Sender: a.Sender, RID: a.RID}, echo)
}

// requestSpotlightRID chooses the layers that a viewer gets in the spotlight.
func (p *platform) requestSpotlightRID(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if a.Recv == "" {
		return nil, tenant.Refuse(tenant.BadMessage, "give the viewer as recv_connection_id")
	}
	if err := needsRID([]string{"", "none", "r0", "r1", "r2"}, a.SpotlightFocus, a.SpotlightUnfocus); err != nil {
		return nil, err
	}
	echo := map[string]any{"recv_connection_id": a.Recv, "spotlight_focus_rid": a.SpotlightFocus, "spotlight_unfocus_rid": a.SpotlightUnfocus}
	if a.Send != "" {
		echo["send_connection_id"] = a.Send
	}
	return p.order(ctx, scope, a, cluster.ActionSpotlightRID, a.Recv,
		cluster.SpotlightWish{Sender: a.Send, Focus: a.SpotlightFocus, Unfocus: a.SpotlightUnfocus}, echo)
}

// resetSpotlightRID takes that back.
func (p *platform) resetSpotlightRID(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if a.Recv == "" {
		return nil, tenant.Refuse(tenant.BadMessage, "give the viewer as recv_connection_id")
	}
	echo := map[string]any{"recv_connection_id": a.Recv}
	if a.Send != "" {
		echo["send_connection_id"] = a.Send
	}
	return p.order(ctx, scope, a, cluster.ActionSpotlightReset, a.Recv, cluster.SpotlightWish{Sender: a.Send}, echo)
}

func (p *platform) focusFixed(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	return p.focusAs(ctx, scope, a, cluster.Focus{In: true, Fixed: true})
}

func (p *platform) focus(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	return p.focusAs(ctx, scope, a, cluster.Focus{In: true})
}

func (p *platform) unfocus(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	return p.focusAs(ctx, scope, a, cluster.Focus{})
}

// focusAs brings a publisher into the spotlight, or takes it out.
func (p *platform) focusAs(ctx context.Context, scope tenant.Scope, a actionRequest, f cluster.Focus) (any, error) {
	if a.connection() == "" {
		return nil, errNoConnectionID
	}
	return p.order(ctx, scope, a, cluster.ActionSpotlightFocus, a.connection(), f, map[string]any{"connection_id": a.connection()})
}

// changeSpotlightNumber changes how many may be in a channel's spotlight.
func (p *platform) changeSpotlightNumber(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if err := a.needsChannel(); err != nil {
		return nil, err
	}
	if a.SpotlightNumber < 1 || a.SpotlightNumber > tenant.MaxSpotlightNumber {
		return nil, tenant.Refuse(tenant.BadMessage, "spotlight_number must be 1 to %d", tenant.MaxSpotlightNumber)
	}
	return p.order(ctx, scope, a, cluster.ActionSpotlightNumber, "", cluster.Places{Number: a.SpotlightNumber},
		map[string]any{"spotlight_number": a.SpotlightNumber})
}

// putNotifyMetadata changes what notifications show of a connection.
func (p *platform) putNotifyMetadata(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	return p.changeMetadata(ctx, scope, a, api.NotifyMetadata{Value: a.Metadata, Push: a.Push})
}

func (p *platform) putNotifyMetadataItem(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if a.Key == "" {
		return nil, tenant.Refuse(tenant.BadMessage, "give the item's name as key")
	}
	return p.changeMetadata(ctx, scope, a, api.NotifyMetadata{Key: a.Key, Value: a.Value, Push: a.Push})
}

func (p *platform) changeMetadata(ctx context.Context, scope tenant.Scope, a actionRequest, change api.NotifyMetadata) (any, error) {
	if a.connection() == "" {
		return nil, errNoConnectionID
	}
	metadata, confirmed, err := p.api.PutNotifyMetadata(ctx, scope, cluster.Order{ConnectionID: a.connection(), Channel: a.channel()}, change)
	if err != nil {
		return nil, err
	}
	return map[string]any{"channel_id": a.channel(), "connection_id": a.connection(), "metadata": metadata, "confirmed": confirmed}, nil
}
