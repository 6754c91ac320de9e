package api

import (
	"context"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// Replay is a range of events on its way to one endpoint once more.
type Replay struct {
	ID         string     `json:"id" example:"rpl_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	EndpointID string     `json:"endpoint_id"`
	State      string     `json:"state" enum:"running,done,cancelled"`
	FromSeq    int64      `json:"from_seq" doc:"The first event of the range."`
	ToSeq      int64      `json:"to_seq" doc:"The last; less than from_seq: there is none."`
	States     []string   `json:"states" doc:"The states of events that were chosen."`
	Types      []string   `json:"types" doc:"The types that were chosen; empty: any."`
	Seq        int64      `json:"seq" doc:"The events up to it have been looked at."`
	Queued     int64      `json:"queued" doc:"How many deliveries were made for it."`
	Delivered  int64      `json:"delivered" doc:"How many of them were delivered."`
	Dead       int64      `json:"dead" doc:"How many of them are dead."`
	CreatedAt  time.Time  `json:"created_at"`
	FinishedAt *time.Time `json:"finished_at" doc:"null: it runs."`
}

func showReplay(r webhooks.Replay) Replay {
	return Replay{r.ID, r.EndpointID, r.State, r.FromSeq, r.ToSeq, r.States, r.Types, r.Seq, r.Queued, r.Delivered, r.Dead,
		r.CreatedAt.UTC(), utcOrNull(r.FinishedAt)}
}

// rangeInput chooses events of an endpoint.
type rangeInput struct {
	ID   string `path:"id" maxLength:"64" example:"ep_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Body struct {
		From    *time.Time `json:"from,omitempty" example:"2026-11-22T09:00:00Z" doc:"Events written from then on; absent: from the oldest kept."`
		To      *time.Time `json:"to,omitempty" example:"2026-11-22T10:00:00Z" doc:"Events written before then; absent: to the newest."`
		FromSeq int64      `json:"from_seq,omitempty" minimum:"0" doc:"The first event's seq; 0 or absent: the oldest kept."`
		ToSeq   int64      `json:"to_seq,omitempty" minimum:"0" doc:"The last event's seq; 0 or absent: the newest."`
		States  []string   `json:"states,omitempty" maxItems:"3" example:"[\"dead\",\"missed\"]" doc:"dead: never delivered, and given up; missed: never meant for the endpoint, because it was disabled or was not there; delivered: at least once. Absent: dead and missed."`
		Types   []string   `json:"types,omitempty" maxItems:"64" example:"[\"connection.destroyed\"]" doc:"Only these types; absent: any, but of the missed ones those that the endpoint gets."`
	}
}

func (in *rangeInput) of() webhooks.Range {
	r := webhooks.Range{FromSeq: in.Body.FromSeq, ToSeq: in.Body.ToSeq, States: in.Body.States, Types: in.Body.Types}
	if in.Body.From != nil {
		r.From = *in.Body.From
	}
	if in.Body.To != nil {
		r.To = *in.Body.To
	}
	return r
}

// replayPreview is what a replay would send.
type replayPreview struct {
	FromSeq int64            `json:"from_seq"`
	ToSeq   int64            `json:"to_seq"`
	Counts  map[string]int64 `json:"counts" doc:"By state, of the states chosen."`
	Total   int64            `json:"total"`
	Partial bool             `json:"partial" doc:"The range is so long that only its first 100,000 events were counted."`
}

func (a *API) previewReplay(ctx context.Context, scope tenant.Scope, in *rangeInput) (p replayPreview, err error) {
	found, err := a.Hooks.PreviewReplay(ctx, scope, in.ID, in.of())
	return replayPreview{found.FromSeq, found.ToSeq, found.Counts, found.Total(), found.Partial}, err
}

func (a *API) replayRange(ctx context.Context, scope tenant.Scope, in *rangeInput) (Replay, error) {
	r, err := a.Hooks.ReplayRange(ctx, scope, in.ID, in.of())
	return showReplay(r), err
}

// replays is the list of an endpoint's replays, which has an end.
type replays struct {
	Items []Replay `json:"items"`
	Next  *string  `json:"next" doc:"Always null: there are no more than 100."`
}

func (a *API) listReplays(ctx context.Context, scope tenant.Scope, in *endpointInput) (l replays, err error) {
	if _, err := a.Hooks.Endpoint(ctx, scope, in.ID); err != nil {
		return l, err
	}
	rows, err := a.Hooks.Replays(ctx, scope, in.ID, webhooks.MaxReplayList)
	l.Items = []Replay{}
	for _, r := range rows {
		l.Items = append(l.Items, showReplay(r))
	}
	return l, err
}

// replayInput names a replay.
type replayInput struct {
	ID string `path:"id" maxLength:"64" example:"rpl_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
}

func (a *API) getReplay(ctx context.Context, scope tenant.Scope, in *replayInput) (Replay, error) {
	r, err := a.Hooks.FindReplay(ctx, scope, in.ID)
	return showReplay(r), err
}

func (a *API) cancelReplay(ctx context.Context, scope tenant.Scope, in *replayInput) (Replay, error) {
	r, err := a.Hooks.CancelReplay(ctx, scope, in.ID)
	return showReplay(r), err
}
