package main

import (
	"context"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
)

// Actions that end connections. As in Sora, their tokens stay good. They answer when
// the connection's node has confirmed, or when the command is durable: confirmed says
// which.

// disconnect ends one connection.
func (p *platform) disconnect(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	id := a.connection()
	if id == "" {
		return nil, tenant.Refuse(tenant.BadMessage, "give the connection to end as connection_id (2015: clientId)")
	}
	ended, err := p.api.End(ctx, scope, api.End{ConnectionID: id, Which: tenant.Choice{Channel: a.channel()}, Reason: a.Reason})
	if err != nil {
		return nil, err
	}
	return map[string]any{"channelId": ended.Channel, "clientId": id, "channel_id": ended.Channel, "connection_id": id,
		"confirmed": ended.Confirmed}, nil
}

// disconnectClient ends every connection that a client id has in a channel.
func (p *platform) disconnectClient(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if a.ClientID == "" || a.channel() == "" {
		return nil, tenant.Refuse(tenant.BadMessage, "give channel_id and client_id")
	}
	ended, err := p.api.End(ctx, scope, api.End{Which: tenant.Choice{Channel: a.channel(), ClientID: a.ClientID}, Reason: a.Reason})
	if err != nil {
		return nil, err
	}
	return map[string]any{"channel_id": a.channel(), "client_id": a.ClientID, "connections": ended.Connections, "confirmed": ended.Confirmed}, nil
}

// disconnectChannel ends every connection of a channel.
func (p *platform) disconnectChannel(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if err := a.needsChannel(); err != nil {
		return nil, err
	}
	ended, err := p.api.End(ctx, scope, api.End{Which: tenant.Choice{Channel: a.channel()}, Reason: a.Reason})
	if err != nil {
		return nil, err
	}
	return map[string]any{"channelId": a.channel(), "channel_id": a.channel(), "connections": ended.Connections, "confirmed": ended.Confirmed}, nil
}

// disconnectRole ends the connections of a role in a channel.
func (p *platform) disconnectRole(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	role, err := a.needsRole()
	if err != nil {
		return nil, err
	}
	ended, err := p.api.End(ctx, scope, api.End{Which: tenant.Choice{Channel: a.channel(), Role: role}, Reason: a.Reason})
	if err != nil {
		return nil, err
	}
	return map[string]any{"channel_id": a.channel(), "role": role, "connections": ended.Connections, "confirmed": ended.Confirmed}, nil
}

// needsRole returns the role of those in the channel that are meant.
func (a actionRequest) needsRole() (tenant.Role, error) {
	if err := a.needsChannel(); err != nil {
		return "", err
	}
	role, err := tenant.ParseRole(a.Role)
	if err != nil {
		return "", tenant.Refuse(tenant.BadMessage, "role must be sendonly, recvonly or sendrecv")
	}
	return role, nil
}

// Actions that push. Clients of WHIP, WHEP, the dialect of 2015 and peer-to-peer calls
// have no way for it: they are counted as unreachable.

func (p *platform) pushChannel(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if err := a.needsChannel(); err != nil {
		return nil, err
	}
	return p.push(ctx, scope, a, "", tenant.Choice{Channel: a.channel()}, map[string]any{"channel_id": a.channel()})
}

func (p *platform) pushClient(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if a.ClientID == "" || a.channel() == "" {
		return nil, tenant.Refuse(tenant.BadMessage, "give channel_id and client_id")
	}
	return p.push(ctx, scope, a, "", tenant.Choice{Channel: a.channel(), ClientID: a.ClientID},
		map[string]any{"channel_id": a.channel(), "client_id": a.ClientID})
}

func (p *platform) pushConnection(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if a.connection() == "" {
		return nil, errNoConnectionID
	}
	return p.push(ctx, scope, a, a.connection(), tenant.Choice{Channel: a.channel()},
		map[string]any{"channel_id": a.channel(), "connection_id": a.connection()})
}

func (p *platform) pushRole(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	role, err := a.needsRole()
	if err != nil {
		return nil, err
	}
	return p.push(ctx, scope, a, "", tenant.Choice{Channel: a.channel(), Role: role}, map[string]any{"channel_id": a.channel(), "role": role})
}

// push pushes data and adds to the echo what became of it.
func (p *platform) push(ctx context.Context, scope tenant.Scope, a actionRequest, connectionID string, which tenant.Choice, echo map[string]any) (any, error) {
	pushed, err := p.api.Push(ctx, scope, connectionID, which, a.Data)
	if err != nil {
		return nil, err
	}
	echo["connections"], echo["unreachable"], echo["dropped"], echo["confirmed"] = pushed.Connections, pushed.Unreachable, pushed.Dropped, pushed.Confirmed
	return echo, nil
}

var errNoConnectionID = tenant.Refuse(tenant.BadMessage, "give the connection as connection_id")
