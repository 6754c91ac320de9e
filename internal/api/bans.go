package api

import (
	"context"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// Ban keeps somebody out until it expires.
type Ban struct {
	ID         string         `json:"id" example:"ban_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Kind       tenant.BanKind `json:"kind" enum:"token,client,channel,connection"`
	Subject    string         `json:"subject" doc:"The token's hex SHA-256, the client_id, the channel or the connection_id."`
	Channel    *string        `json:"channel_id" doc:"Where it holds; null: in all channels."`
	ClientID   *string        `json:"client_id" doc:"Of kind connection: the client_id that is barred with it."`
	SparesLive bool           `json:"spares_live" doc:"Whether those who were in could stay."`
	Reason     string         `json:"reason"`
	CreatedBy  string         `json:"created_by" example:"api_key:9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	CreatedAt  time.Time      `json:"created_at"`
	ExpiresAt  time.Time      `json:"expires_at"`
}

func showBan(b tenant.Ban) Ban {
	return Ban{b.ID, b.Kind, b.Subject, textOrNull(b.Channel), textOrNull(b.ClientID), b.SparesLive, b.Reason, b.CreatedBy, b.CreatedAt.UTC(), b.ExpiresAt.UTC()}
}

func (a *API) listBans(ctx context.Context, scope tenant.Scope, in *struct {
	Paging
	Kind tenant.BanKind `query:"kind" enum:"token,client,channel,connection" doc:"Only those of this kind."`
	Text string         `query:"text" maxLength:"255" doc:"Only those with this text in subject, channel_id, client_id or reason."`
}) (p page[Ban], err error) {
	after, err := in.after("bans")
	if err != nil {
		return p, err
	}
	rows, next, err := a.Tenants.Bans(ctx, scope, tenant.BanQuery{Kind: in.Kind, Find: in.Text, After: after, Limit: in.Limit})
	if err != nil {
		return p, err
	}
	p = pageOf(rows, len(rows), showBan, nil)
	if next != "" {
		p.Next = new(newCursor("bans", next))
	}
	return p, nil
}

// usualBan is how long a ban lasts for which nobody says it.
const usualBan = 24 * time.Hour

func (a *API) createBan(ctx context.Context, scope tenant.Scope, in *struct {
	Body struct {
		Kind       tenant.BanKind `json:"kind" enum:"token,client,channel,connection" example:"client" doc:"token: whoever shows this access token; client: whoever has this client_id; channel: whoever comes to this channel; connection: whoever has the token or the client_id that this connection came with, in its channel."`
		Subject    string         `json:"subject" minLength:"1" maxLength:"8192" example:"ann" doc:"An access token or its hex SHA-256, a client_id, a channel or a connection_id."`
		Channel    string         `json:"channel_id,omitempty" maxLength:"510" doc:"Only in this channel; for tokens and clients. Absent: in all."`
		ExpiresAt  *time.Time     `json:"expires_at,omitempty" doc:"Until when, at most 366 days ahead. Absent: for ttl."`
		TTL        int64          `json:"ttl,omitempty" minimum:"1" maximum:"31622400" doc:"For how many seconds. Absent, without expires_at: a day."`
		Reason     string         `json:"reason,omitempty" maxLength:"255" doc:"For your own people."`
		SparesLive bool           `json:"spares_live,omitempty" doc:"Let those who are in stay. Absent: they are ended."`
	}
}) (Ban, error) {
	until := time.Now().Add(usualBan)
	switch {
	case in.Body.ExpiresAt != nil && in.Body.TTL != 0:
		return Ban{}, invalid("body", "ttl", "Give this or expires_at, not both.")
	case in.Body.ExpiresAt != nil:
		until = *in.Body.ExpiresAt
	case in.Body.TTL != 0:
		until = time.Now().Add(time.Duration(in.Body.TTL) * time.Second)
	}
	b, err := a.Tenants.Ban(ctx, scope, tenant.NewBan{Kind: in.Body.Kind, Subject: in.Body.Subject, Channel: in.Body.Channel,
		Until: until, Reason: in.Body.Reason, SparesLive: in.Body.SparesLive})
	return showBan(b), err
}

func (a *API) liftBan(ctx context.Context, scope tenant.Scope, in *struct {
	ID string `path:"id" maxLength:"64" example:"ban_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
}) error {
	return a.Tenants.Unban(ctx, scope, in.ID)
}
