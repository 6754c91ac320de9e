package api

import (
	"context"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// performance is how an endpoint does.
type performance struct {
	Window      string     `json:"window" example:"1h"`
	StepSeconds int        `json:"step_seconds" doc:"How long each point is."`
	At          time.Time  `json:"at"`
	LagMS       int64      `json:"lag_ms" doc:"How long the oldest delivery that may be tried now has been waiting for it; 0: none is due."`
	Backlog     int        `json:"undelivered" doc:"Events that are not delivered yet, counted up to 10,000."`
	Oldest      *time.Time `json:"oldest_undelivered_at" doc:"Since when the oldest of them is on its way."`
	Total       point      `json:"total"`
	Points      []point    `json:"points" doc:"Step by step, oldest first, those without attempts too."`
}

// point is what was attempted in some time.
type point struct {
	At        time.Time `json:"at" doc:"Its start."`
	Attempts  int64     `json:"attempts"`
	Failures  int64     `json:"failures" doc:"Of the attempts."`
	Delivered int64     `json:"delivered" doc:"Of how many deliveries the delays are; what was sent again by hand has none."`
	P50       *int64    `json:"p50_ms" doc:"From an event's being written to its delivery; null: nothing was delivered."`
	P95       *int64    `json:"p95_ms"`
	P99       *int64    `json:"p99_ms"`
	Slowest   *int64    `json:"slowest_ms"`
}

func showPoint(p webhooks.Point) point {
	shown := point{At: p.At.UTC(), Attempts: p.Attempts, Failures: p.Failures, Delivered: p.Delivered}
	if p.Delivered > 0 {
		shown.P50, shown.P95, shown.P99, shown.Slowest = new(p.P50.Milliseconds()), new(p.P95.Milliseconds()), new(p.P99.Milliseconds()), new(p.Slowest.Milliseconds())
	}
	return shown
}

func (a *API) endpointPerformance(ctx context.Context, scope tenant.Scope, in *struct {
	ID     string `path:"id" maxLength:"64" example:"ep_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Window string `query:"window" enum:"1h,24h,30d" default:"1h" doc:"Until now: an hour by minutes, a day by quarters of an hour, or 30 days of UTC."`
}) (shown performance, err error) {
	p, err := a.Hooks.Performance(ctx, scope, in.ID, webhooks.WindowNamed(in.Window))
	if err != nil {
		return shown, err
	}
	shown = performance{Window: p.Window.Name, StepSeconds: int(p.Window.Step.Seconds()), At: p.At.UTC(), LagMS: p.Lag.Milliseconds(), Backlog: p.Backlog,
		Oldest: utcOrNull(p.Oldest), Total: showPoint(p.Total)}
	for _, one := range p.Points {
		shown.Points = append(shown.Points, showPoint(one))
	}
	return shown, nil
}
