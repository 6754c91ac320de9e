package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// The Action API: what a tenant's server asks of its live channels, as
// POST / with the action's name in x-sora-target. The 2015 targets speak of a
// clientId, which is our connection_id.

// The largest body an action may have.
const actionLimit = 64 << 10

// How many connections are read from the ledger at once when a list has no
// page size of its own.
const listPage = 1000

// actionRequest holds the parameters of all actions, in both eras' words.
type actionRequest struct {
	ChannelID2015 string `json:"channelId"`
	ClientID2015  string `json:"clientId"`
	ChannelID     string `json:"channel_id"`
	ConnectionID  string `json:"connection_id"`
	ClientID      string `json:"client_id"`
}

func (a actionRequest) channel() string {
	if a.ChannelID != "" {
		return a.ChannelID
	}
	return a.ChannelID2015
}

func (a actionRequest) connection() string {
	if a.ConnectionID != "" {
		return a.ConnectionID
	}
	return a.ClientID2015
}

// action is what a target does, and whose keys may.
type action struct {
	do    func(*platform, context.Context, tenant.Scope, actionRequest) (any, error)
	roles []tenant.MemberRole
}

// actions maps a target to its action.
var actions = map[string]action{
	"Sora_20151104.ListConnections":        {(*platform).listConnections, tenant.Watchers},
	"Sora_20151104.Disconnect":             {(*platform).disconnect, tenant.Builders},
	"Sora_20151104.DisconnectConnection":   {(*platform).disconnect, tenant.Builders},
	"Sora_20151104.DisconnectClient":       {(*platform).disconnectClient, tenant.Builders},
	"Sora_20151104.DisconnectChannel":      {(*platform).disconnectChannel, tenant.Builders},
	"Sora_20201013.ListConnections":        {(*platform).listConnections, tenant.Watchers},
	"Sora_20201013.ListChannelConnections": {(*platform).listConnections, tenant.Watchers},
}

// action serves POST /.
func (p *platform) action(w http.ResponseWriter, r *http.Request, scope tenant.Scope) {
	asked, ok := actions[r.Header.Get("x-sora-target")]
	if !ok {
		p.fail(w, r, tenant.Refuse(tenant.BadMessage,
			"the x-sora-target header names no action; try Sora_20151104.ListConnections, .Disconnect or .DisconnectChannel"))
		return
	}
	if err := api.Allow(scope, asked.roles); err != nil {
		p.fail(w, r, err)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, actionLimit))
	if errors.As(err, new(*http.MaxBytesError)) {
		p.fail(w, r, tenant.Refuse(tenant.TooLarge, "an action's body has at most %d bytes", actionLimit))
		return
	}
	if err != nil {
		p.fail(w, r, tenant.Refuse(tenant.BadMessage, "the body could not be read to its end"))
		return
	}
	var request actionRequest
	if len(body) > 0 {
		if err := json.Unmarshal(body, &request); err != nil {
			p.fail(w, r, tenant.Refuse(tenant.BadMessage, "the body must be a JSON object of strings"))
			return
		}
	}
	request.ChannelID, request.ChannelID2015 = scope.ChannelName(request.ChannelID), scope.ChannelName(request.ChannelID2015)
	ctx, cancel := context.WithTimeout(r.Context(), askLimit)
	defer cancel()
	answer, err := asked.do(p, ctx, scope, request)
	if err != nil {
		p.fail(w, r, err)
		return
	}
	reply(w, answer)
}

// listedConnection is one row of ListConnections, in both eras' words.
type listedConnection struct {
	ChannelID2015 string      `json:"channelId"`
	ClientID2015  string      `json:"clientId"`
	ChannelID     string      `json:"channel_id"`
	ConnectionID  string      `json:"connection_id"`
	ClientID      string      `json:"client_id"`
	SessionID     string      `json:"session_id"`
	Role          tenant.Role `json:"role"`
	CreatedTime   int64       `json:"created_time"` // unix seconds; when its media connected, or else when it knocked
	Connected     bool        `json:"connected"`    // media is up
	Seconds       int64       `json:"seconds"`      // since its media connected
}

// listConnections lists the tenant's live connections, or one channel's.
func (p *platform) listConnections(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	list := []listedConnection{}
	err := p.eachLive(ctx, scope, a.channel(), func(c billing.Live) error {
		created, connected := c.OpenedAt, !c.ConnectedAt.IsZero()
		if connected {
			created = c.ConnectedAt
		}
		list = append(list, listedConnection{
			ChannelID2015: c.Channel, ClientID2015: c.ConnectionID,
			ChannelID: c.Channel, ConnectionID: c.ConnectionID, ClientID: c.ClientID, SessionID: c.SessionID,
			Role: c.Role, CreatedTime: created.Unix(), Connected: connected, Seconds: c.Seconds,
		})
		return nil
	})
	return list, err
}

// eachLive calls f with every live connection of the tenant, or of one of its
// channels.
func (p *platform) eachLive(ctx context.Context, scope tenant.Scope, channel string, f func(billing.Live) error) error {
	for after := ""; ; {
		page, next, err := p.ledger.Live(ctx, scope, billing.LiveQuery{Channel: channel, After: after, Limit: listPage})
		if err != nil {
			return err
		}
		for _, c := range page {
			if err := f(c); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		after = next
	}
}

// disconnect ends one connection. As in Sora, its token stays good.
func (p *platform) disconnect(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	id := a.connection()
	if id == "" {
		return nil, tenant.Refuse(tenant.BadMessage, "give the connection to end as connection_id (2015: clientId)")
	}
	found, err := p.ledger.Current(ctx, scope, id)
	if err != nil {
		return nil, err
	}
	if want := a.channel(); want != "" && want != found.Channel || !found.EndedAt.IsZero() {
		return nil, billing.ErrNotFound
	}
	if err := p.node.Disconnect(ctx, scope, found.ConnectionID, tenant.EndAPI); err != nil {
		return nil, err
	}
	p.audit(ctx, scope, "connection.disconnected", id, map[string]any{"channel_id": found.Channel, "client_id": found.ClientID})
	return map[string]string{"channelId": found.Channel, "clientId": id, "channel_id": found.Channel, "connection_id": id}, nil
}

// disconnectClient ends every connection that a client id has in a channel.
func (p *platform) disconnectClient(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	if a.ClientID == "" || a.channel() == "" {
		return nil, tenant.Refuse(tenant.BadMessage, "give channel_id and client_id")
	}
	var ended int
	err := p.eachLive(ctx, scope, a.channel(), func(c billing.Live) error {
		if c.ClientID != a.ClientID {
			return nil
		}
		err := p.node.Disconnect(ctx, scope, c.ConnectionID, tenant.EndAPI)
		if errors.Is(err, tenant.ErrNotFound) {
			return nil // it left meanwhile
		}
		ended++
		return err
	})
	if err != nil {
		return nil, err
	}
	if ended == 0 {
		return nil, billing.ErrNotFound
	}
	p.audit(ctx, scope, "client.disconnected", a.ClientID, map[string]any{"channel_id": a.channel(), "connections": ended})
	return map[string]string{"channel_id": a.channel(), "client_id": a.ClientID}, nil
}

// disconnectChannel ends every connection of a channel.
func (p *platform) disconnectChannel(ctx context.Context, scope tenant.Scope, a actionRequest) (any, error) {
	channel := a.channel()
	if channel == "" {
		return nil, tenant.Refuse(tenant.BadMessage, "give the channel as channel_id (2015: channelId)")
	}
	ended, err := p.node.DisconnectChannel(ctx, scope, channel, tenant.EndAPI)
	if err != nil {
		return nil, err
	}
	if ended == 0 {
		return nil, billing.ErrNotFound
	}
	p.audit(ctx, scope, "channel.disconnected", channel, map[string]any{"connections": ended})
	return map[string]any{"channelId": channel, "channel_id": channel, "connections": ended}, nil
}

// audit writes who did what. The deed is done already, so a failure is logged
// and the caller is not told otherwise.
func (p *platform) audit(ctx context.Context, scope tenant.Scope, action, target string, detail any) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := p.tenants.Audit(ctx, scope.In(p.db.Pool), scope, action, target, detail); err != nil {
		p.log.Error("couldn't write the audit log", "action", action, "target", target, "err", err)
	}
}
