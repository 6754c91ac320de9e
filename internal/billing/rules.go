package billing

import (
	"context"
	"sort"
	"time"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// ruleTimes are a tenant's rules of billable time, each from a moment on, for
// connections that connect then. The first is for all times before, too.
type ruleTimes struct {
	from                 []time.Time // rising
	increments, minimums []int64     // seconds
}

// at returns the rule of a connection that connected at t.
func (r ruleTimes) at(t time.Time) rating.Rule {
	i := max(1, sort.Search(len(r.from), func(i int) bool { return r.from[i].After(t) })) - 1
	return rating.Rule{IncrementSeconds: r.increments[i], MinimumSeconds: r.minimums[i], Scope: rating.ConnectionScope}
}

// rules reads them: those of the price versions that a tenant has been billed by.
func (l *Ledger) rules(ctx context.Context, db querier, id tenant.ID) (ruleTimes, error) {
	timeline, err := readTimeline(ctx, db, id)
	if err != nil {
		return ruleTimes{}, err
	}
	return timeline.rules(), nil
}

// rules are what connections' time is billed by, from ever on.
func (t *Timeline) rules() (r ruleTimes) {
	for _, step := range t.steps {
		from := time.Unix(0, 0)
		if step.From != "" {
			from = step.From.Start(t.zone)
		}
		rule := step.Version.Rule
		r.from = append(r.from, from)
		r.increments, r.minimums = append(r.increments, rule.IncrementSeconds), append(r.minimums, rule.MinimumSeconds)
	}
	return r
}
