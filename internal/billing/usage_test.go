package billing_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// segment writes an ended connection straight into the history.
func (b *bench) segment(scope tenant.Scope, channel string, role tenant.Role, connectedAt time.Time, length time.Duration, bytesIn int64) {
	b.t.Helper()
	id := tenant.NewID()
	b.exec(`with s as (insert into channel_session (session_id, tenant_id, channel_id, ended_at) values ($1, $2, $3, $4) returning *)
		insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol,
			opened_at, connected_at, metered_through, ended_at, end_reason, bytes_in, bytes_out)
		select $1, $2, $3, session_id, $5, $6, 'c', 'sora', $7, $7, $4, $4, 'client', $8::bigint, $8::bigint * 3 from s`,
		id, scope.Tenant(), channel, connectedAt.Add(length), b.node, role, connectedAt, bytesIn)
}

func TestUsageByDay(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(300, 150) // Asia/Tokyo
	tokyo, err := time.LoadLocation("Asia/Tokyo")
	b.must(err)
	midnight := time.Date(2026, 6, 2, 0, 0, 0, 0, tokyo)
	b.segment(scope, "a", tenant.SendOnly, midnight.Add(-90*time.Second), 180*time.Second, 1000)
	b.segment(scope, "b", tenant.RecvOnly, midnight.Add(8*time.Hour+59*time.Minute+30*time.Second), time.Second, 7)
	b.segment(b.newTenant(1, 1), "a", tenant.SendOnly, midnight, time.Hour, 5)

	from, to := midnight.AddDate(0, 0, -1), midnight.AddDate(0, 0, 2)
	check := func(by billing.GroupBy, want ...billing.UsageRow) {
		t.Helper()
		rows, err := b.Usage(t.Context(), scope, from, to, by)
		b.must(err)
		if len(rows) != len(want) {
			t.Fatalf("by %s: %+v, want %+v", by, rows, want)
		}
		for i, got := range rows {
			if !got.From.Equal(want[i].From) || !got.To.Equal(want[i].To) {
				t.Fatalf("by %s: %v to %v, want %v to %v", by, got.From, got.To, want[i].From, want[i].To)
			}
			got.From, got.To, want[i].From, want[i].To = time.Time{}, time.Time{}, time.Time{}, time.Time{}
			want[i].BilledSeconds = 60 * want[i].Minutes
			if got != want[i] {
				t.Fatalf("by %s: %+v, want %+v", by, got, want[i])
			}
		}
	}
	check(billing.ByDay,
		billing.UsageRow{From: from, To: midnight, Usage: rating.Usage{Connections: 1, Minutes: 2, Seconds: 90, BytesIn: 500, BytesOut: 1500}},
		billing.UsageRow{From: midnight, To: midnight.AddDate(0, 0, 1), Usage: rating.Usage{Connections: 1, Minutes: 2, Seconds: 91, BytesIn: 507, BytesOut: 1521}})
	check(billing.ByMonth, billing.UsageRow{From: from, To: to, Usage: rating.Usage{Connections: 2, Minutes: 4, Seconds: 181, BytesIn: 1007, BytesOut: 3021}})
	check(billing.ByHour,
		billing.UsageRow{From: midnight.Add(-time.Hour), To: midnight, Usage: rating.Usage{Connections: 1, Minutes: 2, Seconds: 90, BytesIn: 500, BytesOut: 1500}},
		billing.UsageRow{From: midnight, To: midnight.Add(time.Hour), Usage: rating.Usage{Minutes: 1, Seconds: 90, BytesIn: 500, BytesOut: 1500}},
		billing.UsageRow{From: midnight.Add(8 * time.Hour), To: midnight.Add(9 * time.Hour), Usage: rating.Usage{Connections: 1, Minutes: 1, Seconds: 1, BytesIn: 7, BytesOut: 21}})
	check(billing.ByChannel,
		billing.UsageRow{From: from, To: to, Channel: "a", Usage: rating.Usage{Connections: 1, Minutes: 3, Seconds: 180, BytesIn: 1000, BytesOut: 3000}},
		billing.UsageRow{From: from, To: to, Channel: "b", Usage: rating.Usage{Connections: 1, Minutes: 1, Seconds: 1, BytesIn: 7, BytesOut: 21}})
	check(billing.ByRole,
		billing.UsageRow{From: from, To: to, Role: tenant.RecvOnly, Usage: rating.Usage{Connections: 1, Minutes: 1, Seconds: 1, BytesIn: 7, BytesOut: 21}},
		billing.UsageRow{From: from, To: to, Role: tenant.SendOnly, Usage: rating.Usage{Connections: 1, Minutes: 3, Seconds: 180, BytesIn: 1000, BytesOut: 3000}})

	for _, query := range []struct {
		from, to time.Time
		by       billing.GroupBy
	}{{from, to, "week"}, {to, from, billing.ByDay}, {from, from, billing.ByDay}, {from, from.AddDate(2, 0, 0), billing.ByDay}} {
		if _, err := b.Usage(t.Context(), scope, query.from, query.to, query.by); !errors.Is(err, billing.ErrUsageQuery) {
			t.Errorf("%+v: %v", query, err)
		}
	}
}

func TestUsageOfALiveConnection(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	id := b.openConnected(scope, "room", 0)
	b.must(b.Beat(t.Context(), b.node, []billing.Mark{{ConnectionID: id, Connected: 61 * time.Second, BytesIn: 5}}))
	rows, err := b.Usage(t.Context(), scope, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), billing.ByChannel)
	if err != nil || len(rows) != 1 || rows[0].Minutes != 2 || rows[0].Seconds != 61 || rows[0].BytesIn != 5 || rows[0].Connections != 1 {
		t.Fatal(rows, err)
	}
}

// Whatever the time zone, the time and the cut, each grouping adds up to the
// same sums, days are days of the tenant's calendar, and nothing is lost at a
// boundary.
func TestUsageAddsUp(t *testing.T) {
	b := newBench(t)
	zones := []string{"Asia/Tokyo", "UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo",
		"America/Havana", "Pacific/Apia", "Africa/Cairo", "Asia/Kathmandu"}
	// Days on which some of these clocks are set, or that do not exist there.
	starts := []time.Time{time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC), time.Date(2026, 10, 31, 0, 0, 0, 0, time.UTC),
		time.Date(2018, 11, 3, 0, 0, 0, 0, time.UTC), time.Date(2011, 12, 28, 0, 0, 0, 0, time.UTC), time.Date(2026, 4, 3, 0, 0, 0, 0, time.UTC)}
	rapid.Check(t, func(r *rapid.T) {
		scope := b.newTenant(5, 5)
		name := rapid.SampledFrom(zones).Draw(r, "zone")
		b.exec(`update tenant set time_zone = $2 where tenant_id = $1`, scope.Tenant(), name)
		zone, err := time.LoadLocation(name)
		b.must(err)
		start := rapid.SampledFrom(starts).Draw(r, "start")
		var minutes, seconds, bytes int64
		n := rapid.IntRange(1, 6).Draw(r, "connections")
		for range n {
			length := near(0, 50*time.Hour).Draw(r, "length")
			size := rapid.SampledFrom([]int64{0, 1, 12345, 1 << 60}).Draw(r, "bytes") / 4
			channel, role := rapid.SampledFrom([]string{"a", "b"}).Draw(r, "channel"), rapid.SampledFrom([]tenant.Role{tenant.SendOnly, tenant.RecvOnly}).Draw(r, "role")
			b.segment(scope, channel, role, start.Add(near(0, 72*time.Hour).Draw(r, "connected")), length, size)
			minutes += max(1, int64((length+time.Minute-1)/time.Minute))
			seconds += int64(length / time.Second)
			bytes += size
		}
		from, to := start.Add(-near(0, 30*time.Hour).Draw(r, "before")), start.Add(150*time.Hour)
		for _, by := range []billing.GroupBy{billing.ByMonth, billing.ByDay, billing.ByHour, billing.ByChannel, billing.ByRole} {
			rows, err := b.Usage(t.Context(), scope, from, to, by)
			b.must(err)
			var sum billing.UsageRow
			for i, row := range rows {
				sum.Connections += row.Connections
				sum.Minutes += row.Minutes
				sum.Seconds += row.Seconds
				sum.BytesIn += row.BytesIn
				sum.BytesOut += row.BytesOut
				if name := map[billing.GroupBy]string{billing.ByDay: time.DateOnly, billing.ByMonth: "2006-01"}[by]; name != "" {
					last := row.To.Add(-time.Microsecond).In(zone)
					if row.From.In(zone).Format(name) != last.Format(name) ||
						row.To.Before(to) && row.To.In(zone).Format(name) == last.Format(name) {
						r.Fatalf("a %s from %v to %v", by, row.From, row.To)
					}
				}
				if timed := by != billing.ByChannel && by != billing.ByRole; timed && i > 0 && row.From.Before(rows[i-1].To) {
					r.Fatalf("%v begins before %v ends", row.From, rows[i-1].To)
				}
			}
			if sum.Connections != int64(n) || sum.Minutes != minutes || sum.Seconds != seconds || sum.BytesIn != bytes || sum.BytesOut != 3*bytes {
				r.Fatalf("by %s: %+v, want %d connections, %d minutes, %d seconds, %d bytes in", by, sum, n, minutes, seconds, bytes)
			}
		}
	})
}
