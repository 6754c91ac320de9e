package api

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// channel is a live channel.
type channel struct {
	Channel     string    `json:"channel_id" example:"hello" doc:"The channel's name."`
	SessionID   string    `json:"session_id" doc:"One continuous life of the channel."`
	StartedAt   time.Time `json:"started_at"`
	Connections int       `json:"connections" doc:"In all."`
	SendRecv    int       `json:"sendrecv" doc:"Of role sendrecv."`
	SendOnly    int       `json:"sendonly" doc:"Of role sendonly."`
	RecvOnly    int       `json:"recvonly" doc:"Of role recvonly."`
}

func showChannel(c billing.Channel) channel {
	return channel{c.Channel, c.SessionID, c.StartedAt.UTC(), c.Counts.Connections, c.Counts.SendRecv, c.Counts.SendOnly, c.Counts.RecvOnly}
}

func (a *API) listChannels(ctx context.Context, scope tenant.Scope, in *Paging) (p page[channel], err error) {
	after, err := in.after("channels")
	if err != nil {
		return p, err
	}
	rows, err := a.Ledger.Channels(ctx, scope)
	if err != nil {
		return p, err
	}
	// They are sorted by name, but by the database's idea of order.
	slices.SortFunc(rows, func(a, b billing.Channel) int { return strings.Compare(a.Channel, b.Channel) })
	rows = slices.DeleteFunc(rows, func(c billing.Channel) bool { return c.Channel <= after })
	return pageOf(rows, in.Limit, showChannel, func(c billing.Channel) string { return newCursor("channels", c.Channel) }), nil
}

// The states of a connection.
const (
	stateConnecting = "connecting"
	stateConnected  = "connected"
	stateEnded      = "ended"
)

// Connection is one connection, live or ended, as lists show it.
type Connection struct {
	ConnectionID   string          `json:"connection_id"`
	Channel        string          `json:"channel_id"`
	SessionID      string          `json:"session_id" doc:"The channel's session."`
	ClientID       string          `json:"client_id" doc:"The tenant's own name of the client."`
	Role           tenant.Role     `json:"role" enum:"sendonly,recvonly,sendrecv"`
	State          string          `json:"state" enum:"connecting,connected,ended"`
	Protocol       string          `json:"protocol" example:"sora" doc:"What it signals with: sora, sora2015, whip, whep or ayame."`
	NodeID         string          `json:"node_id"`
	KeyID          *string         `json:"signing_key_id" doc:"What its access token was signed with."`
	TokenExpiresAt *time.Time      `json:"token_expires_at"`
	Metadata       json.RawMessage `json:"metadata" doc:"The metadata claim of its access token; null: none."`
	RemoteAddress  string          `json:"remote_address"`
	UserAgent      string          `json:"user_agent"`
	OpenedAt       time.Time       `json:"opened_at" doc:"When it was let in."`
	ConnectedAt    *time.Time      `json:"connected_at" doc:"When its media connected; null: not yet, or never."`
	EndedAt        *time.Time      `json:"ended_at"`
	EndReason      *string         `json:"end_reason"`
	Seconds        int64           `json:"seconds" doc:"Full seconds of media."`
	BytesIn        int64           `json:"bytes_in" doc:"Received from the client, as of some seconds ago."`
	BytesOut       int64           `json:"bytes_out" doc:"Sent to the client, as of some seconds ago."`
	Previous       *string         `json:"previous_connection_id" doc:"The connection that it continues, because its node was taken for dead and came back; null: none."`
}

func showLive(l billing.Live) Connection {
	c := Connection{
		ConnectionID: l.ConnectionID, Channel: l.Channel, SessionID: l.SessionID, ClientID: l.ClientID, Role: l.Role,
		State: stateConnected, Protocol: l.Protocol, NodeID: l.NodeID, KeyID: textOrNull(l.KeyID),
		TokenExpiresAt: timeOrNull(l.TokenExpiresAt), Metadata: l.Metadata, RemoteAddress: l.RemoteAddress,
		UserAgent: l.UserAgent, OpenedAt: l.OpenedAt.UTC(), ConnectedAt: timeOrNull(l.ConnectedAt),
		Seconds: l.Seconds, BytesIn: l.BytesIn, BytesOut: l.BytesOut, Previous: textOrNull(l.Previous),
	}
	if l.ConnectedAt.IsZero() {
		c.State = stateConnecting
	}
	return c
}

// ConnectionFilter chooses among the live connections.
type ConnectionFilter struct {
	Channel  string `query:"channel_id" maxLength:"510" doc:"Only those of this channel."`
	ClientID string `query:"client_id" maxLength:"255" doc:"Only those of this client."`
	Role     string `query:"role" enum:"sendonly,recvonly,sendrecv" doc:"Only those of this role."`
}

func (a *API) listConnections(ctx context.Context, scope tenant.Scope, in *struct {
	Paging
	ConnectionFilter
}) (p page[Connection], err error) {
	after, err := in.after("connections")
	if err != nil {
		return p, err
	}
	for _, filter := range [][2]string{{"channel_id", in.Channel}, {"client_id", in.ClientID}} {
		if err := checkText(filter[0], filter[1]); err != nil {
			return p, err
		}
	}
	rows, next, err := a.Ledger.Live(ctx, scope, billing.LiveQuery{
		Channel: scope.ChannelName(in.Channel), ClientID: in.ClientID, Role: tenant.Role(in.Role), After: after, Limit: in.Limit,
	})
	if err != nil {
		return p, err
	}
	p = pageOf(rows, in.Limit, showLive, nil)
	if next != "" {
		p.Next = new(newCursor("connections", next))
	}
	return p, nil
}

// connectionInput names a connection.
type connectionInput struct {
	ID string `path:"connection_id" maxLength:"64" example:"9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
}

// wholeConnection is what is known of one connection.
type wholeConnection struct {
	Connection
	MeteredThrough *time.Time `json:"metered_through" doc:"Proven until; null: its media has not connected."`
	Minutes        int64      `json:"minutes" doc:"Billed, so far if it is live."`
}

func (a *API) getConnection(ctx context.Context, scope tenant.Scope, in *connectionInput) (c wholeConnection, err error) {
	h, err := a.Ledger.Connection(ctx, scope, in.ID)
	if err != nil {
		return c, err
	}
	c = wholeConnection{showLive(h.Live), timeOrNull(h.MeteredThrough), h.Minutes}
	if !h.EndedAt.IsZero() {
		c.State, c.EndedAt, c.EndReason = stateEnded, timeOrNull(h.EndedAt), new(h.EndReason)
	}
	return c, nil
}

func (a *API) disconnectConnection(ctx context.Context, scope tenant.Scope, in *struct {
	ID  string `path:"connection_id" maxLength:"64" example:"9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Ban string `query:"ban" enum:"token" doc:"token: also bar its access token until that expires."`
}) error {
	h, err := a.Ledger.Current(ctx, scope, in.ID)
	if err != nil {
		return err
	}
	if !h.EndedAt.IsZero() {
		return tenant.ErrNotFound
	}
	barred := in.Ban == "token" && h.TokenHash != [32]byte{}
	if barred { // first: a client that comes back at once must find the door shut
		if err := a.Tenants.BanToken(ctx, scope, h.TokenHash, h.TokenExpiresAt, "disconnected over the API"); err != nil {
			return err
		}
	}
	err = a.audit(ctx, scope, "connection.disconnected", h.ConnectionID,
		map[string]any{"channel_id": h.Channel, "client_id": h.ClientID, "token_barred": barred})
	if err != nil {
		return err
	}
	if err := a.Node.Disconnect(ctx, scope, h.ConnectionID, tenant.EndAPI); !errors.Is(err, tenant.ErrNotFound) {
		return err
	}
	return nil // it left just now
}

// disconnected says how many connections were ended.
type disconnected struct {
	Channel     string `json:"channel_id"`
	Connections int    `json:"connections" doc:"How many have been told to end, or will be."`
}

func (a *API) disconnectChannel(ctx context.Context, scope tenant.Scope, in *struct {
	Channel string `path:"channel" maxLength:"510" example:"hello" doc:"The channel's name, percent-encoded as a path segment: / is %2F."`
	Ban     string `query:"ban" enum:"token" doc:"token: also bar their access tokens until those expire."`
}) (d disconnected, err error) {
	if err := checkText("channel", in.Channel); err != nil {
		return d, tenant.ErrNotFound
	}
	d.Channel = scope.ChannelName(in.Channel)
	live, _, err := a.Ledger.Live(ctx, scope, billing.LiveQuery{Channel: d.Channel, Limit: 1})
	if err == nil && len(live) == 0 {
		err = tenant.ErrNotFound
	}
	barred := 0
	if err == nil && in.Ban == "token" {
		barred, err = a.barChannel(ctx, scope, d.Channel)
	}
	if err == nil {
		err = a.audit(ctx, scope, "channel.disconnected", d.Channel, map[string]any{"tokens_barred": barred})
	}
	if err != nil {
		return d, err
	}
	d.Connections, err = a.Node.DisconnectChannel(ctx, scope, d.Channel, tenant.EndAPI)
	return d, err
}

// barChannel bars the tokens of everybody in a channel and returns how many.
func (a *API) barChannel(ctx context.Context, scope tenant.Scope, channel string) (int, error) {
	barred := map[[32]byte]bool{{}: true} // who came without one
	for q := (billing.LiveQuery{Channel: channel, Limit: maxPage}); ; {
		rows, next, err := a.Ledger.Live(ctx, scope, q)
		if err != nil {
			return 0, err
		}
		for _, row := range rows {
			if barred[row.TokenHash] {
				continue
			}
			if err := a.Tenants.BanToken(ctx, scope, row.TokenHash, row.TokenExpiresAt, "channel disconnected over the API"); err != nil {
				return 0, err
			}
			barred[row.TokenHash] = true
		}
		if q.After = next; next == "" {
			return len(barred) - 1, nil
		}
	}
}
