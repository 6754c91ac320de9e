package billing_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// Whatever the time that is asked for, the segments' shares are the usage of that time,
// each segment is there once, and pages of any length are the whole.
func TestSegmentsAreTheUsage(t *testing.T) {
	b := newBench(t)
	start := time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(r *rapid.T) {
		scope := b.newTenant(5, 5)
		for range rapid.IntRange(1, 8).Draw(r, "connections") {
			b.segment(scope, rapid.SampledFrom([]string{"a", "b"}).Draw(r, "channel"),
				rapid.SampledFrom([]tenant.Role{tenant.SendOnly, tenant.RecvOnly}).Draw(r, "role"),
				start.Add(near(0, 72*time.Hour).Draw(r, "connected")), near(0, 50*time.Hour).Draw(r, "length"),
				rapid.Int64Range(0, 1<<50).Draw(r, "bytes"))
		}
		q := billing.SegmentQuery{
			From: start.Add(near(0, 80*time.Hour).Draw(r, "from")), Limit: rapid.IntRange(1, 3).Draw(r, "limit"),
			Channel: rapid.SampledFrom([]string{"", "", "a"}).Draw(r, "of channel"), Role: rapid.SampledFrom([]tenant.Role{"", "", tenant.RecvOnly}).Draw(r, "of role"),
		}
		q.To = q.From.Add(time.Microsecond + near(0, 100*time.Hour).Draw(r, "to"))
		if rapid.Bool().Draw(r, "rolled up") {
			b.must(b.RollUp(t.Context(), scope.Tenant()))
		}
		seen := map[string]bool{}
		sums := map[string]rating.Usage{}
		var last billing.SegmentRow
		for more := true; more; {
			rows, next, err := b.Segments(t.Context(), scope, q)
			b.must(err)
			if len(rows) > q.Limit {
				r.Fatalf("%d rows on a page of %d", len(rows), q.Limit)
			}
			for _, row := range rows {
				if seen[row.ConnectionID] || row.ConnectedAt.Before(last.ConnectedAt) {
					r.Fatalf("%s again, or out of order", row.ConnectionID)
				}
				if q.Channel != "" && row.Channel != q.Channel || q.Role != "" && row.Role != q.Role {
					r.Fatalf("%+v does not belong here", row)
				}
				seen[row.ConnectionID], last = true, row
				key := row.Channel + " " + string(row.Role)
				sums[key] = sums[key].Add(row.Share)
			}
			if more = next != nil; more {
				q.After = *next
			}
		}
		rows, err := b.Usage(t.Context(), scope, q.From, q.To, billing.ByChannel)
		b.must(err)
		for _, want := range rows {
			if q.Role != "" || q.Channel != "" && want.Channel != q.Channel {
				continue
			}
			got := sums[want.Channel+" "+string(tenant.SendOnly)].Add(sums[want.Channel+" "+string(tenant.RecvOnly)])
			if got != want.Usage {
				r.Fatalf("channel %s: the segments are %+v, the usage %+v", want.Channel, got, want.Usage)
			}
		}
	})
}

func TestSegmentsOfALiveConnection(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	id := b.openConnected(scope, "room", 0)
	b.openConnected(b.newTenant(5, 5), "room", 0)
	b.must(b.Beat(t.Context(), b.node, []billing.Mark{{ConnectionID: id, Connected: 61 * time.Second, BytesIn: 5}}))
	n := 0
	for row, err := range b.EachSegment(t.Context(), scope, billing.SegmentQuery{From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Hour)}) {
		b.must(err)
		n++
		if row.ConnectionID != id || !row.EndedAt.IsZero() || row.MeteredThrough.Sub(row.ConnectedAt) != 61*time.Second || row.Whole != row.Share ||
			row.Whole.Minutes != 2 || row.Whole.Seconds != 61 || row.Whole.BytesIn != 5 || row.Whole.Connections != 1 {
			t.Errorf("%+v", row)
		}
	}
	if n != 1 {
		t.Errorf("%d segments", n)
	}
}

// All of many are there, in order, though a page has a thousand.
func TestEachSegment(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	b.exec(`with s as (insert into channel_session (session_id, tenant_id, channel_id, ended_at) values ($1, $2, 'a', now()) returning *)
		insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol,
			opened_at, connected_at, metered_through, ended_at, end_reason)
		select $1 || i, $2, 'a', session_id, $3, 'recvonly', 'c', 'sora', at, at, at + interval '90 s', at + interval '90 s', 'client'
		from s, generate_series(1, 2500) i, lateral (select $4::timestamptz + i / 10 * interval '1 s' as at) as t`,
		tenant.NewID(), scope.Tenant(), b.node, start)
	var last string
	var n, minutes int64
	for row, err := range b.EachSegment(t.Context(), scope, billing.SegmentQuery{From: start.Add(-time.Second), To: start.Add(time.Hour)}) {
		b.must(err)
		place := fmt.Sprintf("%d %s", row.ConnectedAt.Unix(), row.ConnectionID)
		if place <= last {
			t.Fatalf("%s after %s", place, last)
		}
		last = place
		n++
		minutes += row.Share.Minutes
	}
	if n != 2500 || minutes != 5000 {
		t.Errorf("%d segments of %d minutes", n, minutes)
	}
}
