package webhooks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// delayBounds are the upper bounds of the buckets in which delays are counted; the
// last bucket has none. They are stored as an array of counts: append only.
var delayBounds = [...]time.Duration{
	5 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond, 35 * time.Millisecond, 50 * time.Millisecond, 75 * time.Millisecond,
	100 * time.Millisecond, 150 * time.Millisecond, 200 * time.Millisecond, 350 * time.Millisecond, 500 * time.Millisecond, 750 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
	10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour,
}

const delayBuckets = len(delayBounds) + 1

// delayBucket returns the bucket of a delay.
func delayBucket(d time.Duration) int {
	at, _ := slices.BinarySearch(delayBounds[:], d) // one of just a bound belongs below it
	return at
}

// minutes is what a batch of results adds to the minute, by endpoint.
type minutes map[string]*minute

type minute struct {
	tenant             tenant.ID
	endpoint           string
	attempts, failures int32
	delays             [delayBuckets]int32
	slowest            time.Duration
}

// count adds one attempt. delay is how long after its event the delivery was made,
// by the database's clock; nil: it was not, or was sent again by hand.
func (t minutes) count(r result, delay *time.Duration) {
	one := t[r.endpoint]
	if one == nil {
		one = &minute{tenant: r.tenant, endpoint: r.endpoint}
		t[r.endpoint] = one
	}
	one.attempts++
	if !r.delivered() {
		one.failures++
	}
	if delay != nil {
		d := max(0, *delay)
		one.delays[delayBucket(d)]++
		one.slowest = max(one.slowest, d)
	}
}

// write adds the minutes to the running minute and quarter. The rows are the
// tenant's holder's alone, so nobody waits for another's.
func (t minutes) write(ctx context.Context, tx pgx.Tx) error {
	if len(t) == 0 {
		return nil
	}
	var tenants, endpoints []string
	var attempts, failures, delays []int32
	var slowest []int64
	ordered := make([]*minute, 0, len(t))
	for _, one := range t {
		ordered = append(ordered, one)
	}
	slices.SortFunc(ordered, func(a, b *minute) int { return cmp.Compare(a.endpoint, b.endpoint) })
	for _, one := range ordered {
		tenants, endpoints = append(tenants, string(one.tenant)), append(endpoints, one.endpoint)
		attempts, failures = append(attempts, one.attempts), append(failures, one.failures)
		delays, slowest = append(delays, one.delays[:]...), append(slowest, one.slowest.Milliseconds())
	}
	batch := &pgx.Batch{}
	for table, step := range map[string]string{"endpoint_minute": "1 minute", "endpoint_quarter": "15 minutes"} {
		batch.Queue(fmt.Sprintf(`insert into %s as m (tenant_id, endpoint_id, at, attempts, failures, delays, slowest_ms)
			select t.tenant_id, t.endpoint_id, date_bin('%s', now(), timestamptz '2024-01-01 00:00:00+00'), t.attempts, t.failures,
				($5::int[])[(t.nr - 1) * $7 + 1 : t.nr * $7], t.slowest
			from unnest($1::text[], $2::text[], $3::int[], $4::int[], $6::bigint[]) with ordinality as t(tenant_id, endpoint_id, attempts, failures, slowest, nr)
			on conflict (tenant_id, endpoint_id, at) do update set attempts = m.attempts + excluded.attempts, failures = m.failures + excluded.failures,
				delays = array(select coalesce(a, 0) + coalesce(b, 0) from unnest(m.delays, excluded.delays) with ordinality as u(a, b, n) order by n),
				slowest_ms = greatest(m.slowest_ms, excluded.slowest_ms)`, table, step),
			tenants, endpoints, attempts, failures, delays, slowest, delayBuckets)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("couldn't count webhook attempts: %w", err)
	}
	return nil
}
