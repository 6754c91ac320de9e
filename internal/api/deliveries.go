package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// Delivery is one event on its way to one endpoint.
type Delivery struct {
	ID           string           `json:"id" example:"dlv_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	EndpointID   string           `json:"endpoint_id"`
	EventID      string           `json:"event_id"`
	EventType    tenant.EventType `json:"event_type" example:"connection.created"`
	EventSeq     int64            `json:"event_seq"`
	Channel      *string          `json:"channel_id"`
	ConnectionID *string          `json:"connection_id"`
	State        string           `json:"state" enum:"waiting,pending,delivered,dead" doc:"waiting: for an earlier one of its connection; dead: every try failed."`
	Due          time.Time        `json:"due" doc:"Of the next attempt, when pending."`
	Attempts     int              `json:"attempts" doc:"How many were made."`
	Replay       int              `json:"replay" doc:"0: the first delivery; n: the n-th replay by hand."`
	CreatedAt    time.Time        `json:"created_at"`
	FinishedAt   *time.Time       `json:"finished_at" doc:"null: not delivered and not dead yet."`
	LastStatus   *int             `json:"last_status" doc:"The HTTP status of the latest attempt; null: no answer."`
	LastError    *string          `json:"last_error" doc:"What was wrong with the latest attempt."`
	LastClass    *string          `json:"last_class" doc:"The same as a class: dns, connect, tls, timeout, http_status and so on."`
	Test         bool             `json:"test" doc:"It is a test event, and event_type what it is an example of."`
}

func showDelivery(d webhooks.Delivery) Delivery {
	shown := Delivery{
		ID: d.ID, EndpointID: d.EndpointID, EventID: d.EventID, EventType: d.EventType, EventSeq: d.EventSeq,
		Channel: textOrNull(d.Channel), ConnectionID: textOrNull(d.ConnectionID), State: d.State, Due: d.Due.UTC(),
		Attempts: d.Attempts, Replay: d.Replay, CreatedAt: d.CreatedAt.UTC(), FinishedAt: utcOrNull(d.FinishedAt),
		LastError: textOrNull(d.LastError), LastClass: textOrNull(string(d.LastClass)), Test: d.Test,
	}
	if d.LastStatus != 0 {
		shown.LastStatus = &d.LastStatus
	}
	return shown
}

func (a *API) listDeliveries(ctx context.Context, scope tenant.Scope, in *struct {
	ID string `path:"id" maxLength:"64" example:"ep_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Paging
	State      string    `query:"state" enum:"waiting,pending,delivered,dead" doc:"Only those in this state."`
	Type       string    `query:"type" maxLength:"64" doc:"Only those of events of this type."`
	Channel    string    `query:"channel_id" maxLength:"255" doc:"Only those of events of this channel."`
	Connection string    `query:"connection_id" maxLength:"64" doc:"Only those of events of this connection."`
	Class      string    `query:"answer" enum:"2xx,3xx,4xx,5xx,none" doc:"Only those whose latest attempt was answered so; none: by nobody."`
	From       time.Time `query:"from" doc:"Only those made no earlier."`
	Until      time.Time `query:"until" doc:"Only those made earlier."`
}) (p page[Delivery], err error) {
	before, err := in.after("deliveries")
	if err != nil {
		return p, err
	}
	if _, err := a.Hooks.Endpoint(ctx, scope, in.ID); err != nil {
		return p, err
	}
	limit := min(in.Limit, webhooks.MaxDeliveries-1)
	rows, err := a.Hooks.Deliveries(ctx, scope, webhooks.DeliveryQuery{Endpoint: in.ID, State: in.State, Type: in.Type, Channel: in.Channel,
		Connection: in.Connection, Class: in.Class, From: in.From, Until: in.Until, Before: before, Limit: limit + 1})
	return pageOf(rows, limit, showDelivery, func(d webhooks.Delivery) string { return newCursor("deliveries", d.ID) }), err
}

// attempt is one request made for a delivery.
type attempt struct {
	Number       int       `json:"attempt" doc:"From 1."`
	At           time.Time `json:"at"`
	DurationMS   int64     `json:"duration_ms"`
	Status       *int      `json:"status" doc:"HTTP status; null: no answer."`
	Error        *string   `json:"error" doc:"null: delivered."`
	ErrorClass   *string   `json:"error_class"`
	ResponseHead string    `json:"response_head" doc:"The first 4 KiB of the answer's body."`
	Exchange     *exchange `json:"exchange" doc:"null: nothing went over the wire."`
}

// exchange is what went over the wire for an attempt.
type exchange struct {
	Remote      *string           `json:"remote_address" doc:"null: none was connected to."`
	Protocol    *string           `json:"protocol" example:"HTTP/2.0"`
	Reused      bool              `json:"connection_reused"`
	Sent        map[string]string `json:"request_headers"`
	Answer      map[string]string `json:"response_headers" doc:"Up to 8 KiB of them."`
	AnswerCut   bool              `json:"response_headers_cut" doc:"There were more."`
	AnswerBytes int64             `json:"response_bytes" doc:"How long the answer's body was; it is read up to 64 KiB."`
	Timing      timing            `json:"timing"`
}

// timing is where an attempt's time went.
type timing struct {
	DNS     float64 `json:"dns_ms"`
	Connect float64 `json:"connect_ms"`
	TLS     float64 `json:"tls_ms"`
	Wait    float64 `json:"first_byte_ms" doc:"From the request's last byte to the answer's first."`
	Total   float64 `json:"total_ms"`
}

func showExchange(x *webhooks.Exchange) *exchange {
	if x == nil {
		return nil
	}
	ms := func(us int64) float64 { return float64(us) / 1000 }
	full := func(head map[string]string) map[string]string {
		if head == nil {
			return map[string]string{}
		}
		return head
	}
	return &exchange{textOrNull(x.Remote), textOrNull(x.Protocol), x.Reused, full(x.Sent), full(x.Answer), x.AnswerCut, x.AnswerBytes,
		timing{ms(x.Timing.DNS), ms(x.Timing.Connect), ms(x.Timing.TLS), ms(x.Timing.Wait), ms(x.Timing.Total)}}
}

// wholeDelivery is a delivery with what was sent and how it went.
type wholeDelivery struct {
	Delivery
	Log   []attempt `json:"log" doc:"The attempts, first to last, as long as they are kept."`
	Event *Event    `json:"event,omitempty" doc:"What is sent; absent: no longer kept."`
}

// deliveryInput names a delivery.
type deliveryInput struct {
	ID string `path:"id" maxLength:"64" example:"dlv_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
}

func (a *API) getDelivery(ctx context.Context, scope tenant.Scope, in *deliveryInput) (d wholeDelivery, err error) {
	if d.Delivery, err = a.delivery(ctx, scope, in.ID); err != nil {
		return d, err
	}
	attempts, err := a.Hooks.Attempts(ctx, scope, in.ID)
	if err != nil {
		return d, err
	}
	d.Log = []attempt{}
	for _, one := range attempts {
		shown := attempt{one.Number, one.At.UTC(), one.DurationMS, nil, textOrNull(one.Error), textOrNull(string(one.Class)), one.ResponseHead, showExchange(one.Exchange)}
		if one.Status != 0 {
			shown.Status = &one.Status
		}
		d.Log = append(d.Log, shown)
	}
	events, err := a.Hooks.Events(ctx, scope, d.EventSeq-1, 1)
	if err == nil && len(events) == 1 && events[0].ID == d.EventID {
		posted, _, err := webhooks.Posted(events[0])
		d.Event = new(showEvent(posted))
		return d, err
	}
	return d, err
}

// delivery returns one delivery.
func (a *API) delivery(ctx context.Context, scope tenant.Scope, id string) (Delivery, error) {
	rows, err := a.Hooks.Deliveries(ctx, scope, webhooks.DeliveryQuery{ID: id, Limit: 1})
	if err != nil {
		return Delivery{}, err
	}
	if len(rows) == 0 || id == "" {
		return Delivery{}, tenant.ErrNotFound
	}
	return showDelivery(rows[0]), nil
}

func (a *API) replayDelivery(ctx context.Context, scope tenant.Scope, in *deliveryInput) (d Delivery, err error) {
	id, err := a.Hooks.Replay(ctx, scope, in.ID)
	if err != nil {
		return d, err
	}
	return a.delivery(ctx, scope, id)
}

// Event is a fact about the tenant, in the envelope of the webhooks.
type Event struct {
	ID            string           `json:"id" example:"evt_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M" doc:"The same on every attempt and replay."`
	Type          tenant.EventType `json:"type" example:"connection.created"`
	Timestamp     time.Time        `json:"timestamp" doc:"When it happened."`
	Tenant        tenant.ID        `json:"tenant_id"`
	Seq           int64            `json:"seq" doc:"Its number among the tenant's events, without gaps."`
	Channel       string           `json:"channel_id,omitempty"`
	ConnectionID  string           `json:"connection_id,omitempty"`
	ConnectionSeq int              `json:"connection_seq,omitempty" doc:"1, 2, 3 … for each connection."`
	Data          json.RawMessage  `json:"data" doc:"By type; see docs/events.md."`
}

func showEvent(e tenant.Event) Event {
	return Event{e.ID, e.Type, e.Timestamp.UTC(), e.Tenant, e.Seq, e.Channel, e.ConnectionID, e.ConnectionSeq, e.Data}
}
