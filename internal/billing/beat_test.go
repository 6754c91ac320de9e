package billing_test

import (
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// told returns the minutes of the connection.updated events of a connection.
func (b *bench) told(scope tenant.Scope, connectionID string) []int64 {
	b.t.Helper()
	var minutes []int64
	for _, e := range b.events(scope) {
		if e.Type == tenant.ConnectionUpdated && e.ConnectionID == connectionID {
			minutes = append(minutes, e.Data.Minutes)
		}
	}
	return minutes
}

// checkTold fails unless the minutes 1 to n have been told, each once.
func (b *bench) checkTold(scope tenant.Scope, connectionID string, n int) {
	b.t.Helper()
	told := b.told(scope, connectionID)
	if len(told) != n {
		b.t.Fatalf("told %v, want 1 to %d", told, n)
	}
	for i, minute := range told {
		if minute != int64(i)+1 {
			b.t.Fatalf("told %v, want 1 to %d", told, n)
		}
	}
}

func TestBeat(t *testing.T) {
	b := newBench(t)
	scope, other := b.newTenant(50, 50), b.newTenant(50, 50)
	id, neighbour := b.openConnected(scope, "room", 0), b.openConnected(other, "room", 0)
	setup := b.open(scope, "room", tenant.RecvOnly)
	beat := func(connected time.Duration, bytes int64) {
		t.Helper()
		b.must(b.Beat(t.Context(), b.node, []billing.Mark{
			{ConnectionID: id, Connected: connected, BytesIn: bytes, BytesOut: 2 * bytes},
			{ConnectionID: neighbour, Connected: 59 * time.Second},
			{ConnectionID: setup, Connected: time.Hour}, // a mark before its Connected was recorded
			{ConnectionID: "unknown", Connected: time.Hour},
		}))
	}
	check := func(metered time.Duration, bytes int64, told int) {
		t.Helper()
		h, err := b.Connection(t.Context(), scope, id)
		b.must(err)
		if got := h.MeteredThrough.Sub(h.ConnectedAt); got != metered || h.BytesIn != bytes || h.BytesOut != 2*bytes {
			t.Fatalf("metered %v and %d bytes, want %v and %d", got, h.BytesIn, metered, bytes)
		}
		b.checkTold(scope, id, told)
	}
	beat(59999*time.Millisecond, 10)
	check(59999*time.Millisecond, 10, 0)
	beat(60*time.Second, 20)
	check(60*time.Second, 20, 1)
	beat(60*time.Second, 20) // doubled
	check(60*time.Second, 20, 1)
	beat(30*time.Second, 5) // late
	check(60*time.Second, 20, 1)
	beat(185*time.Second, 30) // after the database was away
	check(185*time.Second, 30, 3)
	b.checkTold(other, neighbour, 0)
	b.checkTold(scope, setup, 0)
	for _, e := range b.events(scope) {
		if e.Type == tenant.ConnectionUpdated {
			h, err := b.Connection(t.Context(), scope, id)
			b.must(err)
			if want := h.ConnectedAt.Add(time.Duration(e.Data.Minutes) * time.Minute); !e.At.Equal(want) || e.Data.Connections != 2 {
				t.Fatalf("minute %d is told as %+v, want at %v", e.Data.Minutes, e, want)
			}
		}
	}
	b.must(b.Beat(t.Context(), b.newNode(), []billing.Mark{{ConnectionID: id, Connected: time.Hour}})) // not its node
	check(185*time.Second, 30, 3)
	b.must(b.Beat(t.Context(), b.node, []billing.Mark{{ConnectionID: id, Connected: 200 * time.Second}, {ConnectionID: id, Connected: 190 * time.Second}}))
	check(200*time.Second, 30, 3)
	b.must(b.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient, Duration: 200 * time.Second}))
	beat(time.Hour, 1000) // ended
	check(200*time.Second, 30, 3)
	b.must(b.Beat(t.Context(), b.node, nil))
	b.check(scope)
}

// Long after a long outage every minute has been told, in portions.
func TestMissedMinutesAreToldLater(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	id := b.openConnected(scope, "room", 0)
	mark := []billing.Mark{{ConnectionID: id, Connected: 70 * time.Minute}}
	b.must(b.Beat(t.Context(), b.node, mark))
	b.checkTold(scope, id, 30)
	b.must(b.Beat(t.Context(), b.node, mark))
	b.must(b.Beat(t.Context(), b.node, mark))
	b.checkTold(scope, id, 70)
	b.must(b.Beat(t.Context(), b.node, mark))
	b.checkTold(scope, id, 70)
	b.check(scope)
}

// Beats that come at the same time, while connections close.
func TestDoubledBeats(t *testing.T) {
	b := newBench(t)
	scope, other := b.newTenant(50, 50), b.newTenant(50, 50)
	const n = 12
	var ids []string
	for i := range n {
		ids = append(ids, b.openConnected([]tenant.Scope{scope, other}[i%2], "room", 0))
	}
	for minute := 1; minute <= 5; minute++ {
		var wg sync.WaitGroup
		for turn := range 4 {
			wg.Go(func() {
				var marks []billing.Mark
				for i := range ids { // in another order each time: locks must not depend on it
					marks = append(marks, billing.Mark{ConnectionID: ids[(i*5+turn*3)%n], Connected: time.Duration(minute) * time.Minute})
				}
				if err := b.Beat(t.Context(), b.node, marks); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			for _, id := range ids[2*(minute-1) : 2*minute] {
				if err := b.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient, Duration: time.Duration(minute) * time.Minute}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Wait()
		b.check(scope)
		b.check(other)
	}
	b.checkTold(scope, ids[10], 5)
	b.checkTold(other, ids[11], 5)
	for i, id := range ids[:10] { // each at most once, and in order, until it ended
		told := b.told([]tenant.Scope{scope, other}[i%2], id)
		if len(told) > i/2+1 || len(told) < i/2 {
			t.Fatalf("connection %d of %d minutes was told %v", i, i/2+1, told)
		}
		b.checkTold([]tenant.Scope{scope, other}[i%2], id, len(told))
	}
}

var errOutbox = errors.New("the disk is full")

// When events cannot be written, what was metered stands, and the minute is
// told by a later beat: once. A step that changes live rows does not happen at
// all without its events.
func TestEventsCannotBeWritten(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	var broken atomic.Bool
	b.Ledger = billing.NewLedger(b.pool, func(batch *pgx.Batch, events ...tenant.Event) error {
		if err := new(webhooks.Webhooks).Queue(batch, events...); err != nil {
			return err
		}
		if broken.Load() {
			return errOutbox
		}
		return nil
	}, slog.New(slog.DiscardHandler))
	id := b.openConnected(scope, "room", 0)
	setup := b.open(scope, "room", tenant.RecvOnly)

	broken.Store(true)
	if err := b.Beat(t.Context(), b.node, []billing.Mark{{ConnectionID: id, Connected: 65 * time.Second}}); !errors.Is(err, errOutbox) {
		t.Fatal(err)
	}
	for _, err := range []error{
		b.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient}),
		b.Connected(t.Context(), setup, 0),
		b.Reject(t.Context(), opening(scope, "room", tenant.SendRecv), tenant.Refuse(tenant.Banned, "banned")),
	} {
		if !errors.Is(err, errOutbox) {
			t.Fatal(err)
		}
	}
	if _, err := b.Open(t.Context(), b.node, opening(scope, "hall", tenant.SendRecv)); !errors.Is(err, errOutbox) {
		t.Fatal(err)
	}
	b.check(scope)
	if licence, err := b.Licence(t.Context(), scope); err != nil || licence.Connections != 2 {
		t.Fatal(licence, err)
	}
	h, err := b.Connection(t.Context(), scope, id)
	if err != nil || h.MeteredThrough.Sub(h.ConnectedAt) != 65*time.Second {
		t.Fatal(h, err)
	}
	b.checkTold(scope, id, 0)

	broken.Store(false)
	b.must(b.Beat(t.Context(), b.node, []billing.Mark{{ConnectionID: id, Connected: 66 * time.Second}}))
	b.checkTold(scope, id, 1)
	b.must(b.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient}))
	b.must(b.Close(t.Context(), setup, tenant.Ending{Reason: tenant.EndClient}))
	b.check(scope)
}
