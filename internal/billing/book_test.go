package billing_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// identity is a node as the book knows it.
type identity struct{ id atomic.Value }

func (i *identity) ID() string { return i.id.Load().(string) }

// bookBench is a node's book on a line that the test can break. The bench itself
// has a line of its own, as another node has.
type bookBench struct {
	*bench
	line *line
	book *billing.Book
	here *identity

	spoolAt string // the file of its spool

	mu    sync.Mutex
	ended map[string]string // guarded by mu: media that the book ended, and why
}

func newBookBench(t testing.TB) *bookBench {
	t.Helper()
	b := &bookBench{bench: newBench(t), line: newLine(), here: &identity{}, ended: map[string]string{}}
	b.here.id.Store(b.node)
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	ledger := billing.NewLedger(b.line.over(t, b.pool), new(webhooks.Webhooks).Queue, log)
	book, err := billing.NewBook(ledger, b.here, log)
	b.must(err)
	b.book, b.spoolAt = book, filepath.Join(t.TempDir(), "owed.jsonl")
	spool, err := billing.OpenSpool(b.spoolAt, log)
	b.must(err)
	b.book.Keep(spool)
	b.book.HandleEnd(func(_ tenant.ID, id, reason string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.ended[id] = reason
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { book.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait(); b.line.mend(); book.Stop() })
	return b
}

// enter opens a connection through the book.
func (b *bookBench) enter(o tenant.Opening) (tenant.Opened, error) {
	ctx, cancel := context.WithTimeout(b.t.Context(), 5*time.Second) // as a door does
	defer cancel()
	return b.book.Open(ctx, o)
}

// entered opens a connection that must be let in.
func (b *bookBench) entered(scope tenant.Scope, channel string) string {
	b.t.Helper()
	o := opening(scope, channel, tenant.SendRecv)
	_, err := b.enter(o)
	b.must(err)
	return o.ConnectionID
}

func (b *bookBench) eventually(what string, f func() bool) {
	b.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !f() {
		if time.Now().After(deadline) {
			b.t.Fatal("not within 30 s:", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// knows waits until the book has read the licence of the tenant.
func (b *bookBench) knows(scope tenant.Scope) {
	b.t.Helper()
	b.eventually("the book knows the tenant", func() bool { return b.book.Knows(scope.Tenant()) })
}

// settled mends the line and waits until everything is written.
func (b *bookBench) settled() {
	b.t.Helper()
	b.line.mend()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	b.must(b.book.Flush(ctx))
}

func refusal(err error) tenant.Code {
	var r *tenant.Refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

// TestAdmitsWhileAway takes the database away in each manner: who comes to a live
// channel is let in, soon and then at once, and everything is written with its true
// time when it is back.
func TestAdmitsWhileAway(t *testing.T) {
	for name, breakIt := range map[string]func(*line){"down": (*line).sever, "hangs": (*line).stall, "deaf": (*line).deafen} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBookBench(t)
			scope, stranger := b.newTenant(5, 4), b.newTenant(5, 5)
			first := b.entered(scope, "room")
			b.must(b.book.Connected(t.Context(), first, 0))
			b.entered(scope, "hall")
			b.knows(scope)
			breakIt(b.line)

			begun := time.Now()
			second := b.entered(scope, "room")
			opened := time.Now()
			if took := opened.Sub(begun); took > 4*time.Second { // 3, and what a busy machine adds
				t.Errorf("the first to come waited %s", took)
			}
			for _, o := range []tenant.Opening{opening(scope, "new", tenant.SendRecv), opening(stranger, "room", tenant.SendRecv)} {
				if _, err := b.enter(o); refusal(err) != tenant.Unavailable {
					t.Errorf("a new channel was answered %v", err)
				}
			}
			third, fourth := b.entered(scope, "room"), b.entered(scope, "hall")
			if _, err := b.enter(opening(scope, "hall", tenant.SendRecv)); refusal(err) != tenant.TenantFull {
				t.Error("one too many was answered", err)
			}
			b.must(b.book.Connected(t.Context(), second, 0))
			b.must(b.book.Close(t.Context(), first, tenant.Ending{Reason: tenant.EndClient, Duration: time.Since(begun)}))
			fifth := b.entered(scope, "room") // the freed place
			b.must(b.book.Close(t.Context(), second, tenant.Ending{Reason: tenant.EndClient, Duration: time.Since(opened)}))
			if took := time.Since(opened); took > time.Second {
				t.Errorf("the others waited %s", took)
			}
			gone := time.Now()
			counts, err := b.book.Look(t.Context(), opening(scope, "room", tenant.SendRecv))
			if b.must(err); counts.Connections != 2 {
				t.Error("the room is seen with", counts)
			}
			if s := b.book.Stats(); s.Owed != 4 || !s.Away || s.Admitted != 4 || s.TurnedAway < 2 {
				t.Errorf("%+v", s)
			}

			b.settled()
			b.eventually("the book is at rest", func() bool { s := b.book.Stats(); return s.Owed == 0 && s.Entries == 0 && !s.Away })
			b.check(scope)
			rows, _, err := b.Live(t.Context(), scope, billing.LiveQuery{})
			b.must(err)
			live := map[string]bool{}
			for _, r := range rows {
				live[r.ConnectionID] = true
			}
			if len(live) != 4 || !live[third] || !live[fourth] || !live[fifth] {
				t.Error("live are", live)
			}
			h, err := b.Connection(t.Context(), scope, second)
			b.must(err)
			for what, off := range map[string]time.Duration{"opened": h.OpenedAt.Sub(opened), "connected": h.ConnectedAt.Sub(opened), "ended": h.EndedAt.Sub(gone)} {
				if off.Abs() > time.Second {
					t.Errorf("%s %s off", what, off)
				}
			}
			if peak := b.mostConnections(scope); peak != 5 {
				t.Errorf("the events tell of %d connections at once", peak)
			}
			next := b.entered(scope, "new")
			b.must(b.book.Close(t.Context(), next, tenant.Ending{Reason: tenant.EndClient}))
			b.check(scope)
		})
	}
}

// mostConnections is how many connections the events tell of at one time.
func (b *bench) mostConnections(scope tenant.Scope) (most int) {
	now := 0
	for _, e := range b.events(scope) {
		switch e.Type {
		case tenant.ConnectionConnecting:
			now++
		case tenant.ConnectionDestroyed, tenant.ConnectionRejected:
			now--
		}
		most = max(most, now)
	}
	return most
}

// TestOverUse: another node, which has its database, admits to the last place
// while this one is cut off, and this one does too. Both were served, so both are
// written, nobody is ended, and it is told.
func TestOverUse(t *testing.T) {
	t.Parallel()
	b := newBookBench(t)
	scope := b.newTenant(3, 3)
	b.entered(scope, "room")
	b.knows(scope)
	b.line.sever()
	b.entered(scope, "room")
	other := b.newNode()
	for range 2 {
		_, err := b.Open(t.Context(), other, opening(scope, "elsewhere", tenant.SendRecv))
		b.must(err)
	}
	b.entered(scope, "room")
	b.settled()
	b.check(scope)
	licence, err := b.Licence(t.Context(), scope)
	if b.must(err); licence.Connections != 5 {
		t.Fatal(licence)
	}
	told := 0
	for _, e := range b.events(scope) {
		if e.Type == tenant.LicenceThreshold && e.Data.Over > 0 {
			told = max(told, e.Data.Over)
		}
	}
	if told != 2 {
		t.Errorf("the tenant was told of %d too many", told)
	}
	if s := b.book.Stats(); s.OverUse != 2 || len(b.ended) != 0 {
		t.Errorf("%+v, ended %v", s, b.ended)
	}
	if _, err := b.enter(opening(scope, "room", tenant.SendRecv)); refusal(err) != tenant.TenantFull {
		t.Error("one more was answered", err)
	}
}

// TestRefusedAfterAnAnswerWasLost: an opening whose commit was not heard of is
// refused from the book, so its place must be freed.
func TestRefusedAfterAnAnswerWasLost(t *testing.T) {
	t.Parallel()
	b := newBookBench(t)
	scope := b.newTenant(3, 3)
	b.entered(scope, "room")
	b.knows(scope)
	b.line.deafen()
	if _, err := b.enter(opening(scope, "new", tenant.SendRecv)); refusal(err) != tenant.Unavailable {
		t.Fatal(err)
	}
	b.settled()
	b.check(scope)
	if licence, err := b.Licence(t.Context(), scope); err != nil || licence.Connections != 1 {
		t.Fatal(licence, err)
	}
}

// TestTakenForDead: another node ends this one's connections in the ledger. When it
// is back it enters them anew, the oldest first, as long as there are places.
func TestTakenForDead(t *testing.T) {
	t.Parallel()
	b := newBookBench(t)
	scope := b.newTenant(6, 6)
	var ids []string
	for range 3 {
		ids = append(ids, b.entered(scope, "room"))
	}
	waiting := b.entered(scope, "hall") // its media comes up later
	for _, id := range ids {
		b.must(b.book.Connected(t.Context(), id, 0))
	}
	time.Sleep(time.Millisecond)
	b.must(b.book.Beat(t.Context(), []billing.Mark{{ConnectionID: ids[0], Connected: time.Millisecond, BytesOut: 100}}))
	b.knows(scope)
	b.line.sever()
	begun := time.Now()
	owed, gone, moved := b.entered(scope, "room"), b.entered(scope, "room"), waiting
	b.must(b.book.Connected(t.Context(), owed, 0))
	b.must(b.book.Connected(t.Context(), gone, 0))
	time.Sleep(20 * time.Millisecond)
	b.must(b.book.Close(t.Context(), gone, tenant.Ending{Reason: tenant.EndClient, Duration: time.Since(begun)}))

	b.exec(`update node set state = 'lost', ended_at = clock_timestamp() where node_id = $1`, b.node)
	ended, err := b.EndNode(t.Context(), b.node)
	if b.must(err); ended != 4 {
		t.Fatal("ended", ended)
	}
	other := b.newNode() // where the hall begins anew, and the licence shrinks
	_, err = b.Open(t.Context(), other, opening(scope, "hall", tenant.SendRecv))
	b.must(err)
	b.must(b.SetLicence(t.Context(), scope, 3, 3))
	b.line.mend()
	b.here.id.Store(b.newNode())
	b.book.Stir()
	b.eventually("it is back", func() bool { return b.book.Stats().Readmitted == 2 })
	b.settled()
	b.check(scope)

	b.mu.Lock()
	if len(b.ended) != 3 || b.ended[ids[2]] != "no_place" || b.ended[owed] != "no_place" || b.ended[moved] != "no_place" {
		t.Errorf("ended were %v", b.ended)
	}
	b.mu.Unlock()
	rows, _, err := b.Live(t.Context(), scope, billing.LiveQuery{Channel: "room"})
	if b.must(err); len(rows) != 2 {
		t.Fatal("live are", rows)
	}
	anew := map[string]string{} // by the media plane's id
	for _, r := range rows {
		id := b.book.MediaID(r.ConnectionID)
		if id == r.ConnectionID || r.ConnectedAt.Before(begun) {
			t.Errorf("%s is live as %s since %s", id, r.ConnectionID, r.ConnectedAt)
		}
		anew[id] = r.ConnectionID
	}
	if anew[ids[0]] == "" || anew[ids[1]] == "" {
		t.Fatal("live are", anew)
	}
	for _, e := range b.events(scope) {
		if (e.Type == tenant.ConnectionCreated || e.Type == tenant.ConnectionConnecting) && e.ConnectionID == anew[ids[0]] && e.Data.Previous != ids[0] {
			t.Errorf("%s continues %q", e.Type, e.Data.Previous)
		}
	}
	// What was never in the ledger is in it as it was.
	for id, reason := range map[string]string{gone: "client", owed: "no_place", ids[0]: "node_lost"} {
		h, err := b.Connection(t.Context(), scope, id)
		if b.must(err); h.EndReason != reason || h.ConnectedAt.IsZero() {
			t.Errorf("%s ended as %+v", id, h)
		}
		if id == ids[0] && h.EndedAt.Sub(h.ConnectedAt) != time.Millisecond {
			t.Error("beyond the last proven second it was billed for", h.EndedAt.Sub(h.ConnectedAt))
		}
	}
	for _, id := range []string{ids[0], anew[ids[0]]} {
		if h, err := b.Current(t.Context(), scope, id); err != nil || h.ConnectionID != anew[ids[0]] {
			t.Errorf("%s is now %s, %v", id, h.ConnectionID, err)
		}
	}
	// The new one costs from its beginning, in time and bytes.
	live := time.Since(begun) + time.Second // of the media, since before
	b.must(b.book.Beat(t.Context(), []billing.Mark{{ConnectionID: ids[0], Connected: live, BytesOut: 150}}))
	h, err := b.Connection(t.Context(), scope, anew[ids[0]])
	if b.must(err); h.BytesOut != 50 || h.MeteredThrough.Sub(h.ConnectedAt) >= live || h.MeteredThrough.Equal(h.ConnectedAt) {
		t.Errorf("%d bytes, %s of %s", h.BytesOut, h.MeteredThrough.Sub(h.ConnectedAt), live)
	}
	for _, id := range append(ids, owed, moved, waiting) {
		b.must(b.book.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient, Duration: live, BytesOut: 160}))
	}
	h, err = b.Connection(t.Context(), scope, anew[ids[0]])
	if b.must(err); h.EndReason != "client" || h.BytesOut != 60 {
		t.Errorf("%+v", h)
	}
	b.check(scope)
	if licence, err := b.Licence(t.Context(), scope); err != nil || licence.Connections != 1 {
		t.Fatal(licence, err)
	}
}

// TestOwesNoMore: what is kept in memory is bounded.
func TestOwesNoMore(t *testing.T) {
	t.Parallel()
	b := newBookBench(t)
	scope := b.newTenant(2*billing.OwedMost, 2*billing.OwedMost)
	b.entered(scope, "room")
	b.knows(scope)
	b.line.sever()
	for range billing.OwedMost { // each leaves at once, and is owed all the same
		id := b.entered(scope, "room")
		b.must(b.book.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient}))
	}
	if _, err := b.enter(opening(scope, "room", tenant.SendRecv)); refusal(err) != tenant.Unavailable {
		t.Fatal("one more was answered", err)
	}
	if s := b.book.Stats(); s.Owed != billing.OwedMost || s.Entries != 2*billing.OwedMost {
		t.Fatalf("%+v", s)
	}
}
