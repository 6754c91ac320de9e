package api

import (
	"context"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// Endpoint is a URL that events are posted to.
type Endpoint struct {
	ID             string     `json:"id" example:"ep_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	URL            string     `json:"url" example:"https://example.com/hibari"`
	Types          []string   `json:"types" example:"[\"connection.created\",\"connection.destroyed\"]" doc:"The event types it gets; empty: every type but connection.updated."`
	Status         string     `json:"status" enum:"enabled,disabled"`
	CreatedAt      time.Time  `json:"created_at"`
	LastSuccessAt  *time.Time `json:"last_success_at" doc:"To the minute; null: never."`
	FailingSince   *time.Time `json:"failing_since" doc:"null: the last attempt succeeded, or none was made."`
	Breaker        string     `json:"breaker" enum:"closed,open,half_open" doc:"open: it failed so much that its deliveries wait; half_open: one of them goes out as a probe."`
	OpenSince      *time.Time `json:"breaker_opened_at" doc:"null: closed."`
	NextProbeAt    *time.Time `json:"next_probe_at" doc:"null: closed."`
	LastError      *string    `json:"last_error" doc:"How the latest failure ended that changed something here."`
	DisabledAt     *time.Time `json:"disabled_at" doc:"The latest time, also when it is enabled again; null: never."`
	DisabledReason *string    `json:"disabled_reason" doc:"failing: by us after 5 days without a success; gone: by us after a 410; manual: by you."`
	ChannelPrefix  string     `json:"channel_prefix" example:"lobby-" doc:"It gets events of channels whose name begins so, and those of no channel; empty: of all."`
	FilterFromSeq  int64      `json:"filter_from_seq" doc:"The first event that types and channel_prefix as they are now decided about."`
	// PreviousSecretUntil is while two secrets sign.
	PreviousSecretUntil *time.Time `json:"previous_secret_until" doc:"Until then requests are also signed with the secret before; null: they are not."`
}

func showEndpoint(e webhooks.Endpoint) Endpoint {
	return Endpoint{ID: e.ID, URL: e.URL, Types: e.Types, Status: e.Status, CreatedAt: e.CreatedAt.UTC(),
		LastSuccessAt: utcOrNull(e.LastSuccessAt), FailingSince: utcOrNull(e.FailingSince),
		Breaker: e.Breaker, OpenSince: utcOrNull(e.OpenSince), NextProbeAt: utcOrNull(e.NextProbeAt), LastError: textOrNull(e.LastError),
		DisabledAt: utcOrNull(e.DisabledAt), DisabledReason: textOrNull(e.DisabledReason),
		ChannelPrefix: e.ChannelPrefix, FilterFromSeq: e.FilterFromSeq, PreviousSecretUntil: utcOrNull(e.PreviousSecretUntil)}
}

// endpointInput names an endpoint.
type endpointInput struct {
	ID string `path:"id" maxLength:"64" example:"ep_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
}

func (a *API) listEndpoints(ctx context.Context, scope tenant.Scope, in *Paging) (p page[Endpoint], err error) {
	rows, err := a.Hooks.Endpoints(ctx, scope)
	if err != nil {
		return p, err
	}
	rows, err = from(rows, "endpoints", in, oldestFirst, func(e webhooks.Endpoint) place { return place{e.CreatedAt, e.ID} })
	return pageOf(rows, in.Limit, showEndpoint, func(e webhooks.Endpoint) string { return place{e.CreatedAt, e.ID}.cursor("endpoints") }), err
}

// newEndpoint is an endpoint with the secret that is told once.
type newEndpoint struct {
	Endpoint
	Secret string `json:"secret" example:"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" doc:"What requests are signed with. It is in this answer only."`
}

func (a *API) createEndpoint(ctx context.Context, scope tenant.Scope, in *struct {
	Body struct {
		URL   string   `json:"url" maxLength:"2048" example:"https://example.com/hibari"`
		Types []string `json:"types,omitempty" maxItems:"64" example:"[\"connection.created\"]" doc:"The event types it gets; empty or absent: every type but connection.updated."`
		// ChannelPrefix leaves other channels out.
		ChannelPrefix string `json:"channel_prefix,omitempty" maxLength:"255" example:"lobby-" doc:"Only events of channels whose name begins so, and those of no channel."`
	}
}) (e newEndpoint, err error) {
	secret, made, err := a.Hooks.CreateEndpoint(ctx, scope, in.Body.URL, webhooks.Choice{Types: in.Body.Types, ChannelPrefix: in.Body.ChannelPrefix})
	if err != nil {
		return e, err
	}
	return newEndpoint{showEndpoint(made), secret}, nil
}

func (a *API) getEndpoint(ctx context.Context, scope tenant.Scope, in *endpointInput) (Endpoint, error) {
	e, err := a.Hooks.Endpoint(ctx, scope, in.ID)
	return showEndpoint(e), err
}

func (a *API) changeEndpoint(ctx context.Context, scope tenant.Scope, in *struct {
	ID   string `path:"id" maxLength:"64" example:"ep_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Body struct {
		URL    *string   `json:"url,omitempty" maxLength:"2048" example:"https://example.com/hibari"`
		Types  *[]string `json:"types,omitempty" maxItems:"64" doc:"Empty: every type but connection.updated."`
		Prefix *string   `json:"channel_prefix,omitempty" maxLength:"255" doc:"Empty: of every channel."`
		Status *string   `json:"status,omitempty" enum:"enabled,disabled"`
	}
}) (Endpoint, error) {
	change := webhooks.EndpointChange{URL: in.Body.URL, Types: in.Body.Types, Prefix: in.Body.Prefix}
	if in.Body.Status != nil {
		change.Enabled = new(*in.Body.Status == "enabled")
	}
	e, err := a.Hooks.ChangeEndpoint(ctx, scope, in.ID, change)
	return showEndpoint(e), err
}

func (a *API) deleteEndpoint(ctx context.Context, scope tenant.Scope, in *endpointInput) error {
	return a.Hooks.DeleteEndpoint(ctx, scope, in.ID)
}

func (a *API) rotateSecret(ctx context.Context, scope tenant.Scope, in *struct {
	ID   string `path:"id" maxLength:"64" example:"ep_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Body *struct {
		Overlap *int `json:"overlap_seconds,omitempty" enum:"0,86400" doc:"How long the old secret signs too. 0, for one that leaked: not at all. Absent: 86400."`
	}
}) (e newEndpoint, err error) {
	overlap := webhooks.SecretOverlap
	if in.Body != nil && in.Body.Overlap != nil {
		overlap = time.Duration(*in.Body.Overlap) * time.Second
	}
	secret, rotated, err := a.Hooks.RotateSecret(ctx, scope, in.ID, overlap)
	return newEndpoint{showEndpoint(rotated), secret}, err
}

func (a *API) endOverlap(ctx context.Context, scope tenant.Scope, in *endpointInput) error {
	return a.Hooks.EndOverlap(ctx, scope, in.ID)
}

func (a *API) testEndpoint(ctx context.Context, scope tenant.Scope, in *struct {
	ID   string `path:"id" maxLength:"64" example:"ep_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Body *struct {
		Type tenant.EventType `json:"type,omitempty" maxLength:"64" example:"connection.created" doc:"What it is an example of. Absent: a ping."`
	}
}) (d Delivery, err error) {
	as := tenant.Ping
	if in.Body != nil && in.Body.Type != "" {
		as = in.Body.Type
	}
	id, err := a.Hooks.SendExample(ctx, scope, in.ID, as)
	if err != nil {
		return d, err
	}
	return a.delivery(ctx, scope, id)
}
