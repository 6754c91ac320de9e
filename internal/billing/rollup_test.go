package billing_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// slotKey is what a slot's contributions are added up by.
type slotKey struct {
	slot          time.Time
	channel, role string
}

// slots adds up what is rolled up of a tenant.
func (b *bench) slots(scope tenant.Scope) map[slotKey]rating.Usage {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), `
		select slot, channel_id, role, connections, seconds, minutes, billed_seconds, bytes_in, bytes_out
		from usage_slot where tenant_id = $1`, scope.Tenant())
	b.must(err)
	slots := map[slotKey]rating.Usage{}
	var k slotKey
	var u rating.Usage
	_, err = pgx.ForEachRow(rows, []any{&k.slot, &k.channel, &k.role, &u.Connections, &u.Seconds, &u.Minutes, &u.BilledSeconds, &u.BytesIn, &u.BytesOut}, func() error {
		k.slot = k.slot.UTC()
		slots[k] = slots[k].Add(u)
		return nil
	})
	b.must(err)
	return slots
}

// lock runs f in a transaction with the tenant's billing row.
func (b *bench) lock(scope tenant.Scope, f func(tx pgx.Tx, now time.Time) error) {
	b.t.Helper()
	b.must(pgx.BeginFunc(b.t.Context(), b.pool, func(tx pgx.Tx) error {
		now, err := b.LockBilling(b.t.Context(), tx, scope.Tenant())
		if err != nil {
			return err
		}
		return f(tx, now)
	}))
}

func (b *bench) roll(scope tenant.Scope) {
	b.t.Helper()
	b.lock(scope, func(tx pgx.Tx, now time.Time) error { return b.Roll(b.t.Context(), tx, scope.Tenant(), now) })
}

// recomputed adds up, by quarters, what the tenant's connections and their marks say,
// connection by connection and with the pure functions.
func (b *bench) recomputed(scope tenant.Scope) map[slotKey]rating.Usage {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), `
		select channel_id, role, connected_at, ended_at, bytes_in, bytes_out,
			(select array_agg(m.at order by m.at) from connection_mark m where m.connection_id = c.connection_id),
			(select array_agg(m.bytes_in order by m.at) from connection_mark m where m.connection_id = c.connection_id),
			(select array_agg(m.bytes_out order by m.at) from connection_mark m where m.connection_id = c.connection_id)
		from connection c where tenant_id = $1 and connected_at is not null`, scope.Tenant())
	b.must(err)
	slots := map[slotKey]rating.Usage{}
	var k slotKey
	var from, end time.Time
	var in, out int64
	var at []time.Time
	var marksIn, marksOut []int64
	_, err = pgx.ForEachRow(rows, []any{&k.channel, &k.role, &from, &end, &in, &out, &at, &marksIn, &marksOut}, func() error {
		line := billing.LineOf(from)
		for i := range at {
			line = billing.LinePoint(line, at[i], marksIn[i], marksOut[i])
		}
		line = billing.LinePoint(line, end, in, out)
		for slot := from.UTC().Truncate(15 * time.Minute); slot.Before(end) || !slot.After(from); slot = slot.Add(15 * time.Minute) {
			next := slot.Add(15 * time.Minute)
			u := rating.Usage{Seconds: billing.Seconds(from, end, slot, next), Minutes: billing.Minutes(from, end, slot, next),
				BilledSeconds: rating.StandardMinute.BilledSeconds(from, end, slot, next)}
			u.BytesIn, u.BytesOut = billing.LineShare(line, slot, next)
			if !slot.After(from) {
				u.Connections = 1
			}
			k.slot = slot
			slots[k] = slots[k].Add(u)
		}
		return nil
	})
	b.must(err)
	return slots
}

// sameSlots compares what is rolled up with what it should be.
func sameSlots(got, want map[slotKey]rating.Usage) error {
	for _, u := range []map[slotKey]rating.Usage{got, want} {
		maps.DeleteFunc(u, func(_ slotKey, u rating.Usage) bool { return u.IsZero() })
	}
	if maps.Equal(got, want) {
		return nil
	}
	for k := range want {
		if got[k] != want[k] {
			return fmt.Errorf("%v: rolled up %+v, want %+v", k, got[k], want[k])
		}
	}
	for k := range got {
		if got[k] != want[k] {
			return fmt.Errorf("%v: rolled up %+v, want %+v", k, got[k], want[k])
		}
	}
	return nil
}

// sameUsage asks for the usage of some time, of which any part may be rolled up, and
// compares it with the shares of all connections.
func (b *bench) sameUsage(t *rapid.T, scope tenant.Scope) {
	from := time.Date(2026, 6, 2, 11, 45, 0, 0, time.UTC)
	if rapid.Bool().Draw(t, "today") {
		from = time.Now().UTC().Add(-3 * time.Hour).Truncate(time.Hour)
	}
	from = from.Add(near(0, 3*time.Hour).Draw(t, "from"))
	to := from.Add(max(time.Microsecond, near(0, 5*time.Hour).Draw(t, "length")))
	ids := one[[]string](b, `select coalesce(array_agg(connection_id), '{}') from connection where tenant_id = $1`, scope.Tenant())
	all, err := b.Metered(b.t.Context(), b.pool, scope.Tenant(), ids)
	b.must(err)
	var want rating.Usage
	for _, m := range all {
		want = want.Add(m.Share(from, to))
	}
	got, through, err := b.Used(b.t.Context(), scope.In(b.pool), scope.Tenant(), from, to)
	if err != nil || got != want || through.After(time.Now().Add(time.Minute)) {
		t.Fatalf("used %+v, want %+v, through %v (%v)", got, want, through, err)
	}
	by := rapid.SampledFrom([]billing.GroupBy{billing.ByHour, billing.ByDay, billing.ByMonth, billing.ByChannel, billing.ByRole}).Draw(t, "by")
	rows, err := b.Usage(b.t.Context(), scope, from, to, by)
	b.must(err)
	var sum rating.Usage
	for _, row := range rows {
		sum = sum.Add(row.Usage)
		var alone rating.Usage
		report, err := b.Report(b.t.Context(), scope, billing.UsageQuery{From: row.From, To: row.To, By: billing.ByRole, Channel: row.Channel, Role: row.Role})
		b.must(err)
		for _, part := range report.Rows {
			alone = alone.Add(part.Usage)
		}
		if alone != row.Usage {
			t.Fatalf("by %s: %+v, and alone %+v", by, row, alone)
		}
	}
	if sum != want {
		t.Fatalf("by %s: %+v add up to %+v, want %+v", by, rows, sum, want)
	}
}

// Connections that come, are metered and go while they are rolled up at any moments are
// rolled up once each, as their rows say, and a quarter that was rolled up of a live one
// never changes.
func TestRollUpsAreTheSegments(t *testing.T) {
	b := newBench(t)
	rapid.Check(t, func(t *rapid.T) {
		scope := b.newTenant(1000, 1000)
		type one struct {
			id      string
			metered time.Duration
			in      int64
			ended   bool
		}
		var all []*one
		some := func(t *rapid.T) *one {
			live := slices.DeleteFunc(slices.Clone(all), func(c *one) bool { return c.ended })
			if len(live) == 0 {
				t.Skip("nothing is live")
			}
			return rapid.SampledFrom(live).Draw(t, "connection")
		}
		step := func(t *rapid.T, c *one) {
			c.metered += near(0, 2*time.Hour).Draw(t, "passed")
			c.in += rapid.SampledFrom([]int64{0, 1, 1_000_003, 1 << 50}).Draw(t, "bytes")
		}
		ended := 0
		t.Repeat(map[string]func(*rapid.T){
			"connect": func(t *rapid.T) {
				c := &one{metered: near(0, 3*time.Hour).Draw(t, "ago")}
				c.id = b.openConnected(scope, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "channel"), c.metered)
				all = append(all, c)
			},
			"history": func(t *rapid.T) {
				at := time.Date(2026, 6, 2, 11, 45, 0, 0, time.UTC).Add(near(0, time.Hour).Draw(t, "at"))
				b.segment(scope, "a", tenant.SendOnly, at, near(0, 2*time.Hour).Draw(t, "length"), rapid.SampledFrom([]int64{0, 7, 1 << 55}).Draw(t, "bytes"))
				ended++
			},
			"beat": func(t *rapid.T) {
				c := some(t)
				step(t, c)
				b.must(b.Beat(b.t.Context(), b.node, []billing.Mark{{ConnectionID: c.id, Connected: c.metered, BytesIn: c.in, BytesOut: c.in / 3}}))
			},
			"close": func(t *rapid.T) {
				c := some(t)
				if rapid.Bool().Draw(t, "later") {
					step(t, c)
				}
				b.must(b.Close(b.t.Context(), c.id, tenant.Ending{Duration: c.metered, BytesIn: c.in, BytesOut: c.in / 3, Reason: tenant.EndClient}))
				c.ended = true
			},
			"roll": func(t *rapid.T) {
				b.roll(scope)
				if drifts, err := b.Reconcile(b.t.Context()); err != nil || len(drifts) > 0 {
					t.Fatal(drifts, err)
				}
			},
			"usage": func(t *rapid.T) { b.sameUsage(t, scope) },
		})
		early := b.slots(scope)
		for _, c := range all {
			b.must(b.Close(b.t.Context(), c.id, tenant.Ending{Duration: c.metered + time.Second, BytesIn: c.in, BytesOut: c.in / 3, Reason: tenant.EndClient}))
		}
		b.must(b.RollUp(b.t.Context(), scope.Tenant()))
		got := b.slots(scope)
		if err := sameSlots(got, b.recomputed(scope)); err != nil {
			t.Fatal(err)
		}
		var sum, partial rating.Usage
		for _, u := range got {
			sum = sum.Add(u)
		}
		for _, u := range early {
			partial = partial.Add(u)
		}
		if sum.Connections != int64(len(all)+ended) || partial.Seconds > sum.Seconds || partial.BytesIn > sum.BytesIn {
			t.Fatalf("%+v of %d connections, %+v before the end", sum, len(all)+ended, partial)
		}
		if drifts, err := b.Reconcile(b.t.Context()); err != nil || len(drifts) > 0 {
			t.Fatal(drifts, err)
		}
		b.roll(scope)
		if again := b.slots(scope); !maps.Equal(again, got) {
			t.Fatalf("a second roll made %v of %v", again, got)
		}
	})
}

// Slots sums what was recorded in a time, and the stamps only rise, whatever the clock.
func TestSlots(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	noon := time.Date(2026, 6, 2, 12, 0, 0, 0, time.UTC)
	b.segment(scope, "a", tenant.SendOnly, noon.Add(-30*time.Second), 90*time.Second, 900)
	sum := func(from, to, recordedFrom, recordedBefore time.Time) (u rating.Usage) {
		b.lock(scope, func(tx pgx.Tx, _ time.Time) (err error) {
			u, err = b.Slots(t.Context(), tx, scope.Tenant(), from, to, recordedFrom, recordedBefore)
			return err
		})
		return u
	}
	var first, cutoff time.Time
	b.lock(scope, func(tx pgx.Tx, now time.Time) error {
		first = now
		b.must(b.Roll(t.Context(), tx, scope.Tenant(), now))
		var err error
		cutoff, err = b.LockBilling(t.Context(), tx, scope.Tenant())
		return err
	})
	if !cutoff.After(first) {
		t.Fatalf("stamped %v after %v", cutoff, first)
	}
	before := rating.Usage{Connections: 1, Seconds: 30, Minutes: 1, BilledSeconds: 60, BytesIn: 300, BytesOut: 900}
	after := rating.Usage{Seconds: 60, Minutes: 1, BilledSeconds: 60, BytesIn: 600, BytesOut: 1800}
	none := time.Time{}
	for _, test := range []struct {
		from, to, recordedFrom, recordedBefore time.Time
		want                                   rating.Usage
	}{
		{noon.Add(-time.Hour), noon, none, none, before},
		{noon, noon.Add(time.Hour), none, cutoff, after},
		{noon.Add(-15 * time.Minute), noon.Add(15 * time.Minute), first, cutoff, before.Add(after)},
		{noon.Add(-time.Hour), noon.Add(time.Hour), none, first, rating.Usage{}},
		{noon.Add(-time.Hour), noon.Add(time.Hour), cutoff, none, rating.Usage{}},
		{noon.Add(15 * time.Minute), noon.Add(time.Hour), none, none, rating.Usage{}},
	} {
		if got := sum(test.from, test.to, test.recordedFrom, test.recordedBefore); got != test.want {
			t.Errorf("%+v: %+v", test, got)
		}
	}

	// A fact that comes late has the old slot and a new moment, also when the clock is set back.
	b.exec(`update billing_account set recorded_at = recorded_at + interval '1 hour' where tenant_id = $1`, scope.Tenant())
	b.lock(scope, func(tx pgx.Tx, now time.Time) error {
		cutoff = now
		return nil
	})
	if cutoff.Before(time.Now().Add(50 * time.Minute)) {
		t.Fatalf("the stamp fell back to %v", cutoff)
	}
	b.segment(scope, "a", tenant.SendOnly, noon, time.Second, 0)
	b.roll(scope)
	if got, want := sum(noon, noon.Add(time.Hour), cutoff, none), (rating.Usage{Connections: 1, Seconds: 1, Minutes: 1, BilledSeconds: 60}); got != want {
		t.Errorf("late: %+v, want %+v", got, want)
	}
	if got := sum(noon, noon.Add(time.Hour), none, cutoff); got != after {
		t.Errorf("before: %+v, want %+v", got, after)
	}
	b.lock(scope, func(tx pgx.Tx, _ time.Time) error {
		if _, err := b.Slots(t.Context(), tx, scope.Tenant(), noon.Add(time.Minute), noon.Add(time.Hour), none, none); err == nil {
			t.Error("a part of a quarter had an answer")
		}
		return nil
	})
}

// What is due is rolled up by whoever comes first, also if several come at once: what
// ended before this quarter, many that ended since, and live ones up to the quarter.
func TestRollDue(t *testing.T) {
	b := newBench(t)
	old, live, recent := b.newTenant(5, 5), b.newTenant(5, 5), b.newTenant(5, 5)
	b.roll(old) // its first: there is a billing row from now on
	b.segment(old, "a", tenant.SendOnly, time.Now().Add(-2*time.Hour), time.Hour, 900)
	id := b.openConnected(live, "room", time.Hour)
	b.must(b.Beat(t.Context(), b.node, []billing.Mark{{ConnectionID: id, Connected: time.Hour, BytesIn: 3600}}))
	b.segment(recent, "a", tenant.SendOnly, time.Now(), 0, 0)

	b.lock(old, func(pgx.Tx, time.Time) error { // somebody else closes a period of it
		b.must(b.RollDue(t.Context()))
		return nil
	})
	if got := b.slots(old); len(got) > 0 {
		t.Errorf("rolled up %v of a tenant whose billing was locked", got)
	}
	whole := func(scope tenant.Scope) (sum rating.Usage) {
		for _, u := range b.slots(scope) {
			sum = sum.Add(u)
		}
		return sum
	}
	until := one[time.Time](b, `select at from connection_mark where connection_id = $1`, id)
	from := one[time.Time](b, `select connected_at from connection where connection_id = $1`, id)
	if seconds := int64(until.Sub(from) / time.Second); whole(live).Seconds != seconds || whole(live).BytesIn < seconds-1 || whole(live).BytesIn > seconds+1 {
		t.Errorf("rolled up %+v of a live connection after %d s", whole(live), seconds)
	}

	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if err := b.RollDue(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	b.must(b.RollDue(t.Context()))
	if got, want := whole(old), (rating.Usage{Connections: 1, Seconds: 3600, Minutes: 60, BilledSeconds: 3600, BytesIn: 900, BytesOut: 2700}); got != want {
		t.Errorf("rolled up %+v, want %+v", got, want)
	}
	if n := one[int](b, `select count(*) from connection where rolled_at is null`); n > 2 {
		t.Errorf("%d connections are not rolled up to their end", n)
	}
}

// Reconcile finds what was changed by hand, and nothing else.
func TestReconcile(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	b.segment(scope, "a", tenant.SendOnly, time.Now().Add(-2*time.Hour), time.Hour, 900)
	b.roll(scope)
	check := func(want ...billing.UsageDrift) {
		t.Helper()
		if drifts, err := b.Reconcile(t.Context()); err != nil || !slices.Equal(drifts, want) {
			t.Errorf("%+v (%v), want %+v", drifts, err, want)
		}
	}
	check()
	right := rating.Usage{Connections: 1, Seconds: 3600, Minutes: 60, BilledSeconds: 3600, BytesIn: 900, BytesOut: 2700}
	b.exec(`insert into usage_slot (tenant_id, slot, channel_id, role, recorded_at, connections, seconds, minutes, billed_seconds, bytes_in, bytes_out)
		select tenant_id, slot, channel_id, role, recorded_at, 0, 0, 1, 0, 0, 0 from usage_slot limit 1`)
	wrong := right
	wrong.Minutes++
	check(billing.UsageDrift{Tenant: scope.Tenant(), RolledUp: wrong, Segments: right})
	for _, sql := range []string{`update usage_slot set minutes = 0`, `delete from usage_slot`, `update connection_mark set bytes_in = 0`} {
		if _, err := b.pool.Exec(t.Context(), sql); err == nil {
			t.Errorf("a worker could %s", sql)
		}
	}
}

// A connection's billed time is by the price version in force when it connected, whatever
// comes after; the standard minutes beside it are always the same.
func TestRollUpsByTheRuleOfThePlan(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	b.exec(`update tenant set time_zone = 'UTC' where tenant_id = $1`, scope.Tenant())
	b.exec(`insert into plan (plan_id, name, currency, created_by) values ('seconds', 'By the second', 'JPY', 'test')`)
	b.exec(`insert into plan_version (plan_id, number, valid_from, prices, created_by) values
		('seconds', 1, '2026-06-02', '{"currency": "JPY", "rule": {"increment_seconds": 1, "minimum_seconds": 0, "scope": "connection"}, "components": []}', 'test'),
		('seconds', 2, '2026-06-03', '{"currency": "JPY", "rule": {"increment_seconds": 6, "minimum_seconds": 30, "scope": "connection"}, "components": []}', 'test')`)
	b.exec(`insert into tenant_plan (tenant_id, from_day, plan_id, created_by) values ($1, '2026-06-02', 'seconds', 'test')`, scope.Tenant())
	second, third := time.Date(2026, 6, 2, 0, 0, 0, 0, time.UTC), time.Date(2026, 6, 3, 0, 0, 0, 0, time.UTC)
	b.segment(scope, "before", tenant.SendOnly, second.Add(-time.Second), 61*time.Second, 0)
	b.segment(scope, "by seconds", tenant.SendOnly, second, 61*time.Second, 0)
	b.segment(scope, "across", tenant.SendOnly, third.Add(-time.Second), 61*time.Second, 0)
	b.segment(scope, "by sixes", tenant.SendOnly, third, 61*time.Second, 0)
	b.segment(scope, "at least", tenant.SendOnly, third, 7*time.Second, 0)
	want := map[string]int64{"before": 120, "by seconds": 61, "across": 61, "by sixes": 66, "at least": 30}
	for range 2 { // from the connections, and then from the roll-ups
		rows, err := b.Usage(t.Context(), scope, second.Add(-time.Hour), third.Add(time.Hour), billing.ByChannel)
		b.must(err)
		got := map[string]int64{}
		for _, row := range rows {
			got[row.Channel] = row.BilledSeconds
			if minutes := int64(2); row.Minutes != minutes && row.Channel != "at least" {
				t.Errorf("%s has %d minutes", row.Channel, row.Minutes)
			}
		}
		if !maps.Equal(got, want) {
			t.Errorf("billed %v, want %v", got, want)
		}
		b.roll(scope)
	}
	if drifts, err := b.Reconcile(t.Context()); err != nil || len(drifts) > 0 {
		t.Error(drifts, err)
	}
	// What is rolled up stays by its rule.
	b.exec(`update tenant set time_zone = 'Pacific/Kiritimati' where tenant_id = $1`, scope.Tenant())
	ids := one[[]string](b, `select array_agg(connection_id order by channel_id) from connection where tenant_id = $1`, scope.Tenant())
	all, err := b.Metered(t.Context(), b.pool, scope.Tenant(), ids)
	b.must(err)
	if rule := all[ids[2]].Rule; rule != rating.StandardMinute {
		t.Errorf("the rule of the first became %+v", rule)
	}
}
