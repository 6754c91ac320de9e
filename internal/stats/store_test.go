package stats_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/stats"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations/dbtest"
)

// same is the id of a connection that was not entered anew.
func same(id string) string { return id }

// quiet has no connections: what is sampled is given by Ended.
type quiet struct{}

func (quiet) Readings(list []sfu.Reading, _, _ int) []sfu.Reading { return list }

// house is two tenants with rows of live connections.
type house struct {
	t            *testing.T
	pool         *pgxpool.Pool
	store        *stats.Store
	ours, theirs tenant.Scope
}

func newHouse(t *testing.T) *house {
	t.Helper()
	h := &house{t: t, pool: dbtest.New(t)}
	h.ours, h.theirs = h.tenant("ours"), h.tenant("theirs")
	h.store = h.run(quiet{})
	return h
}

// run is a process on the database, until the test ends.
func (h *house) run(source stats.Source) *stats.Store {
	h.t.Helper()
	store := stats.New(h.pool, slog.New(slog.NewTextHandler(h.t.Output(), nil)))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { store.Run(ctx, source, same) })
	h.t.Cleanup(func() { cancel(); running.Wait() })
	return store
}

func (h *house) tenant(name string) tenant.Scope {
	h.t.Helper()
	store, err := tenant.NewStore(h.pool, []byte("0123456789abcdef0123456789abcdef"), slog.New(slog.DiscardHandler))
	if err != nil {
		h.t.Fatal(err)
	}
	made, err := store.CreateTenant(h.t.Context(), tenant.NewTenant{Name: name, Email: name + "@example.com", Password: "larks sing at dawn"})
	if err != nil {
		h.t.Fatal(err)
	}
	return tenant.OperatorScope(made.Tenant)
}

// live enters a live connection in the ledger's tables.
func (h *house) live(scope tenant.Scope, channel, id string) {
	h.t.Helper()
	for _, sql := range []string{
		`insert into node (node_id, name, instance, lease_until) values ('node', 'n', 'i', clock_timestamp() + interval '1 hour') on conflict do nothing`,
		fmt.Sprintf(`insert into channel_session (tenant_id, session_id, channel_id) values ('%[1]s', 'session-%[2]s-%[1]s', '%[2]s') on conflict do nothing`, scope.Tenant(), channel),
		fmt.Sprintf(`insert into connection (tenant_id, connection_id, channel_id, session_id, node_id, role, client_id, protocol, opened_at, connected_at, metered_through)
			values ('%[1]s', '%[3]s', '%[2]s', 'session-%[2]s-%[1]s', 'node', 'recvonly', 'client-%[3]s', 'sora', clock_timestamp(), clock_timestamp(), clock_timestamp())`, scope.Tenant(), channel, id),
		fmt.Sprintf(`insert into live_connection (tenant_id, connection_id, channel_id, node_id, role) values ('%s', '%s', '%s', 'node', 'recvonly')`, scope.Tenant(), id, channel),
	} {
		if _, err := h.pool.Exec(h.t.Context(), sql); err != nil {
			h.t.Fatalf("%s: %v", sql, err)
		}
	}
}

// eventually waits for what the store does in its own time.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for !done() {
		select {
		case <-deadline.C:
			t.Fatalf("not in time: %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// reading is that of a viewer some seconds after it connected, ago.
func reading(scope tenant.Scope, id string, seconds int64, ago time.Duration) sfu.Reading {
	r := sfu.Reading{
		Tenant: scope.Tenant(), Channel: "hello", ConnectionID: id, At: time.Now().Add(-ago), Connected: time.Duration(seconds) * time.Second,
		RTT: 40 * time.Millisecond, Bandwidth: 2_000_000, Shown: sfu.LayerCounts{0, 0, 0, 1}, Target: sfu.LayerCounts{0, 0, 0, 1},
	}
	r.Out.Video = sfu.Flow{Bytes: 100_000 * seconds, Packets: 100 * seconds, Expected: 100 * seconds, Lost: seconds, Resent: seconds, NACKs: seconds, Frames: 30 * seconds, Jitter: 5 * time.Millisecond}
	r.Out.Audio = sfu.Flow{Bytes: 5_000 * seconds, Packets: 50 * seconds, Expected: 50 * seconds, Jitter: 2 * time.Millisecond}
	return r
}

func (h *house) series(scope tenant.Scope, q stats.SeriesQuery) stats.Series {
	h.t.Helper()
	if q.To.IsZero() {
		q.From, q.To = time.Now().Add(-23*time.Hour), time.Now().Add(time.Minute)
	}
	s, err := h.store.Series(h.t.Context(), scope, q)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// What was sampled is told as intervals, by its own tenant alone, also by another
// process after this one.
func TestSamplesBecomeIntervals(t *testing.T) {
	h := newHouse(t)
	for i := int64(1); i <= 6; i++ {
		h.store.Ended(reading(h.ours, "viewer", 10*i, time.Duration(6-i)*10*time.Second))
	}
	eventually(t, "six samples are written", func() bool { return h.store.Counts().Written == 6 })
	got := h.series(h.ours, stats.SeriesQuery{ConnectionID: "viewer"})
	if len(got.Intervals) != 6 || got.DataThrough.IsZero() || got.More {
		t.Fatalf("got %d intervals, data through %v, more %v", len(got.Intervals), got.DataThrough, got.More)
	}
	for i, n := range got.Intervals {
		loss, known := stats.Loss(n.Out.Video)
		if n.Span != 10*time.Second || stats.Rate(n.Out.Video.Bytes, n.Span) != 800_000 || !known || loss != 0.01 || n.Out.Video.Frames != 300 ||
			n.RTT != 40*time.Millisecond || n.Out.Audio.Jitter != 2*time.Millisecond || n.Shown.Counts() != (sfu.LayerCounts{0, 0, 0, 1}) || n.Bandwidth != 2_000_000 || n.In != (sfu.Flows{}) {
			t.Errorf("interval %d is %+v", i, n)
		}
	}
	if d := time.Until(got.DataThrough).Abs(); d > 5*time.Second {
		t.Errorf("the newest sample is off by %s", d)
	}
	// Another process reads the same; another tenant nothing.
	other := h.run(quiet{})
	again, err := other.Series(t.Context(), h.ours, stats.SeriesQuery{ConnectionID: "viewer", From: time.Now().Add(-time.Hour), To: time.Now().Add(time.Minute)})
	if err != nil || len(again.Intervals) != 6 {
		t.Errorf("another process has %d intervals (%v)", len(again.Intervals), err)
	}
	if stolen := h.series(h.theirs, stats.SeriesQuery{ConnectionID: "viewer"}); len(stolen.Intervals) != 0 || !stolen.DataThrough.IsZero() {
		t.Errorf("another tenant is shown %+v", stolen)
	}
	// By minutes: one or two, which add up to the same.
	var frames int64
	var span time.Duration
	for _, n := range h.series(h.ours, stats.SeriesQuery{ConnectionID: "viewer", Step: time.Minute}).Intervals {
		frames += n.Out.Video.Frames
		span += n.Span
	}
	if frames != 1800 || span != time.Minute {
		t.Errorf("by minutes there are %d frames in %s", frames, span)
	}
	// Page by page.
	page := h.series(h.ours, stats.SeriesQuery{ConnectionID: "viewer", Limit: 4})
	if len(page.Intervals) != 4 || !page.More {
		t.Fatalf("a page of four has %d intervals, more %v", len(page.Intervals), page.More)
	}
	rest := h.series(h.ours, stats.SeriesQuery{ConnectionID: "viewer", From: page.Intervals[3].At.Add(time.Microsecond), To: time.Now().Add(time.Minute)})
	if len(rest.Intervals) != 2 || rest.Intervals[0].Span != 10*time.Second {
		t.Errorf("after the page come %+v", rest.Intervals)
	}
}

// What a client counts is of the time since its report before, also when that came
// before the time that is asked for.
func TestReportsCountFromTheOneBefore(t *testing.T) {
	h := newHouse(t)
	for at := int64(10); at <= 130; at += 10 {
		if at == 60 || at == 120 {
			h.store.Forgive() // they come faster than a client may report
			h.store.Report(h.ours.Tenant(), "viewer", json.RawMessage(fmt.Sprintf(
				`[{"type":"inbound-rtp","kind":"video","framesDecoded":%d,"freezeCount":%d,"totalFreezesDuration":0.5}]`, 30*at, at/60)))
		}
		h.store.Sampled(reading(h.ours, "viewer", at, time.Duration(130-at)*time.Second))
	}
	eventually(t, "the samples are written", func() bool { return h.store.Counts().Written == 13 })
	for _, from := range []time.Duration{time.Hour, 30 * time.Second} {
		var last *stats.ClientInterval
		for _, n := range h.series(h.ours, stats.SeriesQuery{ConnectionID: "viewer", From: time.Now().Add(-from), To: time.Now().Add(time.Minute)}).Intervals {
			if n.Client != nil {
				last = n.Client
			}
		}
		if last == nil || last.FramesDecoded != 1800 || last.Freezes != 1 || last.Frozen != 0 || last.Span != time.Minute {
			t.Errorf("of the last %s: %+v", from, last)
		}
	}
}

// A sample that is missing makes a gap or a longer interval, and no count is lost
// or invented.
func TestGapsAreNotInvented(t *testing.T) {
	h := newHouse(t)
	for _, at := range []int64{10, 20, 40, 100, 110} { // 30 is missing; then a minute is
		h.store.Ended(reading(h.ours, "viewer", at, time.Duration(110-at)*time.Second))
	}
	h.store.Ended(reading(h.ours, "late", 500, 10*time.Second)) // its first samples were lost
	h.store.Ended(reading(h.ours, "late", 510, 0))
	eventually(t, "the samples are written", func() bool { return h.store.Counts().Written == 7 })
	var spans []time.Duration
	for _, n := range h.series(h.ours, stats.SeriesQuery{ConnectionID: "viewer"}).Intervals {
		spans = append(spans, n.Span)
	}
	if want := []time.Duration{10e9, 10e9, 20e9, 10e9}; fmt.Sprint(spans) != fmt.Sprint(want) {
		t.Errorf("the intervals are of %v, want %v", spans, want)
	}
	if late := h.series(h.ours, stats.SeriesQuery{ConnectionID: "late"}).Intervals; len(late) != 1 || late[0].Out.Video.Frames != 300 {
		t.Errorf("who was first sampled late has %+v", late)
	}
}

// The newest of each live connection, with its totals, and what its client reports.
func TestTheNewestOfLiveConnections(t *testing.T) {
	h := newHouse(t)
	for _, id := range []string{"A", "B", "C"} {
		h.live(h.ours, "hello", id)
	}
	h.live(h.ours, "elsewhere", "D")
	h.live(h.theirs, "hello", "E")
	h.store.Report(h.ours.Tenant(), "B", json.RawMessage(`[{"id":"T","type":"transport","selectedCandidatePairId":"P"},{"id":"P","type":"candidate-pair","currentRoundTripTime":0.03}]`))
	eventually(t, "the report is written", func() bool {
		list, _, err := h.store.Reports(t.Context(), h.ours, stats.Query{})
		if err != nil {
			t.Fatal(err)
		}
		return len(list) == 1 && list[0].ConnectionID == "B" && time.Since(list[0].At).Abs() < 20*time.Second && json.Valid(list[0].Stats)
	})
	for _, id := range []string{"B", "C", "E"} {
		scope := h.ours
		if id == "E" {
			scope = h.theirs
		}
		h.store.Ended(reading(scope, id, 50, 10*time.Second))
		h.store.Ended(reading(scope, id, 60, 0))
	}
	latest := func(scope tenant.Scope, q stats.Query) (list []stats.Latest, next string) {
		list, next, err := h.store.Latest(t.Context(), scope, q)
		if err != nil {
			t.Fatal(err)
		}
		return list, next
	}
	eventually(t, "the samples are written", func() bool {
		list, _ := latest(h.ours, stats.Query{Channel: "hello"})
		return len(list) == 3 && list[2].Totals.Connected == time.Minute && list[1].Totals.Connected == time.Minute
	})
	list, _ := latest(h.ours, stats.Query{Channel: "hello"})
	if list[0].ConnectionID != "A" || !list[0].At.IsZero() || list[0].Last != nil {
		t.Errorf("without a sample A is %+v", list[0])
	}
	if c := list[2]; c.ClientID != "client-C" || c.Channel != "hello" || c.Totals.Out.Video.Frames != 1800 || c.Last == nil || c.Last.Out.Video.Frames != 300 {
		t.Errorf("C is %+v", c)
	}
	if list, _ := latest(h.ours, stats.Query{ClientID: "client-D"}); len(list) != 1 || list[0].ConnectionID != "D" {
		t.Errorf("by client: %+v", list)
	}
	first, next := latest(h.ours, stats.Query{Limit: 3})
	second, end := latest(h.ours, stats.Query{Limit: 3, After: next})
	if len(first) != 3 || next != "C" || len(second) != 1 || end != "" {
		t.Errorf("pages of %d and %d, next %q", len(first), len(second), next)
	}
	for _, id := range []string{"E", "nobody"} {
		if _, _, err := h.store.Latest(t.Context(), h.ours, stats.Query{ConnectionID: id}); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
		if _, _, err := h.store.Reports(t.Context(), h.ours, stats.Query{ConnectionID: id}); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("%s: %v", id, err)
		}
	}
}
