package api

import (
	"context"
	"encoding/json"
	"net/http"
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
	Minutes        int64           `json:"minutes" doc:"Billed, so far if it is live: each started minute of what it is proven through."`
	BytesIn        int64           `json:"bytes_in" doc:"Received from the client, as of some seconds ago."`
	BytesOut       int64           `json:"bytes_out" doc:"Sent to the client, as of some seconds ago."`
	Profile        *profile        `json:"profile" doc:"How it signals and what was agreed with it; null: from before that was kept."`
	Previous       *string         `json:"previous_connection_id" doc:"The connection that it continues, because its node was taken for dead and came back; null: none."`
}

// profile is how a connection signals: tenant.Profile, described.
type profile struct {
	BundleID                  string `json:"bundle_id,omitempty" doc:"Connections of one bundle are not shown to each other."`
	Audio                     bool   `json:"audio"`
	AudioCodec                string `json:"audio_codec_type,omitempty" example:"OPUS"`
	AudioBitRate              int    `json:"audio_bit_rate,omitempty" doc:"kbit/s; absent: the client's own choice."`
	Video                     bool   `json:"video"`
	VideoCodec                string `json:"video_codec_type,omitempty" example:"VP9"`
	VideoBitRate              int    `json:"video_bit_rate,omitempty" doc:"kbit/s; absent: the client's own choice."`
	Simulcast                 bool   `json:"simulcast"`
	Spotlight                 bool   `json:"spotlight"`
	DataChannelSignaling      bool   `json:"data_channel_signaling"`
	IgnoreDisconnectWebSocket bool   `json:"ignore_disconnect_websocket"`
}

func showLive(l billing.Live) Connection {
	c := Connection{
		ConnectionID: l.ConnectionID, Channel: l.Channel, SessionID: l.SessionID, ClientID: l.ClientID, Role: l.Role,
		State: stateConnected, Protocol: l.Protocol, NodeID: l.NodeID, KeyID: textOrNull(l.KeyID),
		TokenExpiresAt: timeOrNull(l.TokenExpiresAt), Metadata: l.Metadata, RemoteAddress: l.RemoteAddress,
		UserAgent: l.UserAgent, OpenedAt: l.OpenedAt.UTC(), ConnectedAt: timeOrNull(l.ConnectedAt),
		Seconds: l.Seconds, Minutes: l.Minutes, BytesIn: l.BytesIn, BytesOut: l.BytesOut, Profile: (*profile)(l.Profile), Previous: textOrNull(l.Previous),
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

// ConnectionInput names a connection.
type ConnectionInput struct {
	ID string `path:"connection_id" maxLength:"64" example:"9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
}

// wholeConnection is what is known of one connection.
type wholeConnection struct {
	Connection
	MeteredThrough *time.Time `json:"metered_through" doc:"Proven until; null: its media has not connected."`
}

func (a *API) getConnection(ctx context.Context, scope tenant.Scope, in *ConnectionInput) (c wholeConnection, err error) {
	h, err := a.Ledger.Connection(ctx, scope, in.ID)
	if err != nil {
		return c, err
	}
	c = wholeConnection{showLive(h.Live), timeOrNull(h.MeteredThrough)}
	if !h.EndedAt.IsZero() {
		c.State, c.EndedAt, c.EndReason = stateEnded, timeOrNull(h.EndedAt), new(h.EndReason)
	}
	return c, nil
}

// EndInput says how to end connections, besides which.
type EndInput struct {
	Ban  string   `query:"ban" enum:"token" doc:"token: also bar their access tokens until those expire."`
	Body *endBody `required:"false"`
}

type endBody struct {
	Reason anyJSON `json:"reason,omitempty" doc:"Why, for your own use: an object or a text of at most 2 KiB. It is in connection.destroyed as disconnect_api_reason."`
}

// end is what the input asks of those that are meant.
func (in *EndInput) end(which tenant.Choice) End {
	e := End{Which: which, Bar: in.Ban == "token"}
	if in.Body != nil {
		e.Reason = json.RawMessage(in.Body.Reason)
	}
	return e
}

// endedOne is the answer about one connection: 204 if it has been told to end, 202 if it
// certainly will be.
type endedOne struct {
	Status int
	Body   unconfirmed
}

// unconfirmed says that a node has not said yet that it has done what it was told.
type unconfirmed struct {
	Confirmed bool `json:"confirmed" doc:"Always false: the command is durable, and its node has not confirmed it yet."`
}

func (a *API) disconnectConnection(ctx context.Context, scope tenant.Scope, in *struct {
	ID string `path:"connection_id" maxLength:"64" example:"9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	EndInput
}) (*endedOne, error) {
	e := in.end(tenant.Choice{})
	e.ConnectionID = in.ID
	ended, err := a.End(ctx, scope, e)
	switch {
	case err != nil:
		return nil, err
	case ended.Confirmed:
		return &endedOne{Status: http.StatusNoContent}, nil
	}
	return &endedOne{Status: http.StatusAccepted}, nil
}

// disconnected says how many connections were ended.
type disconnected struct {
	Channel     string `json:"channel_id"`
	Connections int    `json:"connections" doc:"How many have been told to end, or will be."`
	Confirmed   bool   `json:"confirmed" doc:"Their nodes have told them. false: the command is durable, and they will."`
}

func (a *API) disconnectChannel(ctx context.Context, scope tenant.Scope, in *struct {
	ChannelInput
	Role     string `query:"role" enum:"sendonly,recvonly,sendrecv" doc:"Only those of this role."`
	ClientID string `query:"client_id" maxLength:"255" doc:"Only those of this client."`
	EndInput
}) (d disconnected, err error) {
	which, err := in.choice(scope)
	if err == nil {
		err = checkText("client_id", in.ClientID)
	}
	if err != nil {
		return d, err
	}
	which.Role, which.ClientID = tenant.Role(in.Role), in.ClientID
	ended, err := a.End(ctx, scope, in.end(which))
	return disconnected{ended.Channel, ended.Connections, ended.Confirmed}, err
}

// ChannelInput names a channel.
type ChannelInput struct {
	Channel string `path:"channel" maxLength:"510" example:"hello" doc:"The channel's name, percent-encoded as a path segment: / is %2F."`
}

// choice is the channel; tenant.ErrNotFound if none could have that name.
func (in *ChannelInput) choice(scope tenant.Scope) (tenant.Choice, error) {
	if checkText("channel", in.Channel) != nil {
		return tenant.Choice{}, tenant.ErrNotFound
	}
	return tenant.Choice{Channel: scope.ChannelName(in.Channel)}, nil
}
