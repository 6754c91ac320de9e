package signaling_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// While the database is away clients are refused, and whatever the failed
// openings may have left behind is closed once it is back.
func TestLedgerAwayForTwentyTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooks()
		away := errors.New("connection refused")
		b.fail = func(entry string) error {
			if entry == "open" || b.tries["close"] <= 20 {
				return away
			}
			return nil
		}
		h := openInMemory(t, signaling.Config{Ledger: b})
		c := h.visit(t)
		c.say(knock("good"))
		if code, reason := c.farewell(); code != 4490 || !strings.HasPrefix(reason, "unavailable: ") {
			t.Errorf("closed with %d %q", code, reason)
		}
		started := time.Now()
		h.door.Drain()
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		if err := h.door.Wait(ctx); err != nil {
			t.Fatal(err)
		}
		// 7 waits double from 0.1 s to 10 s, then each has at most 10 s.
		if took := time.Since(started); took < time.Minute || took > 3*time.Minute {
			t.Errorf("the last entry was taken after %s", took)
		}
		if b.tries["close"] != 21 || h.door.Stats().Unsettled != 0 {
			t.Errorf("tries %v, stats %+v", b.tries, h.door.Stats())
		}
	})
}

func TestWaitGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBooks()
		b.fail = func(string) error { return errors.New("connection refused") }
		h := openInMemory(t, signaling.Config{Ledger: b})
		c := h.visit(t)
		c.say(knock("good"))
		c.farewell()
		h.door.Drain()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := h.door.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Wait returned %v", err)
		}
		synctest.Wait()
		if n := h.door.Stats().Unsettled; n != 0 {
			t.Errorf("%d goroutines still try", n)
		}
	})
}

// A ledger that hangs holds a client for five seconds, and the door not at all.
func TestLedgerThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{Ledger: hanging{}})
		c := h.visit(t)
		asked := time.Now()
		c.say(knock("good"))
		other := h.visit(t)
		other.say(knock("nonsense"))
		if _, reason := other.farewell(); !strings.HasPrefix(reason, "token_invalid") || time.Since(asked) != 0 {
			t.Errorf("another client was closed with %q after %s", reason, time.Since(asked))
		}
		if _, reason := c.farewell(); !strings.HasPrefix(reason, "unavailable") || time.Since(asked) != 5*time.Second {
			t.Errorf("closed with %q after %s", reason, time.Since(asked))
		}
		h.door.Drain()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if h.door.Wait(ctx) == nil {
			t.Error("the place was settled")
		}
	})
}

// hanging is a Ledger whose database answers nothing.
type hanging struct{}

func (hanging) Open(ctx context.Context, _ tenant.Opening) (tenant.Opened, error) {
	<-ctx.Done()
	return tenant.Opened{}, ctx.Err()
}

func (hanging) Connected(ctx context.Context, _ string, _ time.Duration) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hanging) Close(ctx context.Context, _ string, _ tenant.Ending) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hanging) Abandon(ctx context.Context, _ tenant.Opening, _ tenant.Ending) error {
	<-ctx.Done()
	return ctx.Err()
}

func (hanging) Look(ctx context.Context, _ tenant.Opening) (tenant.Counts, error) {
	<-ctx.Done()
	return tenant.Counts{}, ctx.Err()
}

func (hanging) Reject(ctx context.Context, _ tenant.Opening, _ *tenant.Refusal) error {
	<-ctx.Done()
	return ctx.Err()
}

// A media plane that is shutting down refuses, and the place is freed.
func TestClosedMediaPlane(t *testing.T) {
	media := sfu.New(sfu.Config{Transport: listen(t)})
	media.Close(tenant.EndShutdown)
	h := open(t, signaling.Config{Media: media})
	c := h.visit(t)
	c.say(knock("good"))
	if code, reason := c.farewell(); code != 4490 || !strings.HasPrefix(reason, "draining: ") {
		t.Errorf("closed with %d %q", code, reason)
	}
	h.books.await(t, "the place freed", func(b *books) bool { return len(b.opened) == 1 && len(b.closed) == 1 })
}

// While the database is away calls go on and end, and the ledger learns of all
// of it later, with the times when it happened.
func TestLedgerAwayDuringCalls(t *testing.T) {
	b := newBooks()
	var failing atomic.Bool
	b.fail = func(entry string) error {
		if entry == "connected" && b.tries[entry] <= 20 || entry == "close" && failing.Load() {
			return errors.New("connection refused")
		}
		return nil
	}
	h, plane := broadcast(t, signaling.Config{Ledger: b, Limits: signaling.Limits{RetryFirst: time.Millisecond, RetryMost: 5 * time.Millisecond}})
	failing.Store(true)
	up := map[string]time.Time{}
	var callers []*caller
	for range 3 {
		c := h.call(t, join("recvonly", ""), false)
		c.message(0, map[string]any{"event_type": "connection.created", "connection_id": c.id()})
		up[c.id()] = time.Now()
		callers = append(callers, c)
	}
	b.await(t, "all connected", func(b *books) bool { return len(b.connected) == 3 })
	callers[0].conn.CloseNow()
	callers[1].say(`{"type":"disconnect"}`)
	plane.Disconnect("ten_A", callers[2].id(), tenant.EndConsole)
	b.await(t, "20 failures", func(b *books) bool { return b.tries["close"] > 20 })
	if n := h.door.Stats().Unsettled; n != 3 {
		t.Errorf("%d are unsettled", n)
	}
	failing.Store(false)
	b.await(t, "all closed", func(b *books) bool { return len(b.closed) == 3 })
	b.read(func(b *books) {
		for id, at := range up {
			if off := b.connected[id].Sub(at).Abs(); off > 500*time.Millisecond {
				t.Errorf("%s connected %s off", id, off)
			}
			if b.closed[id].Duration <= 0 {
				t.Errorf("%s lasted %s", id, b.closed[id].Duration)
			}
		}
		if b.closings != 3 {
			t.Errorf("closed %d times", b.closings)
		}
	})
}

// A connection whose start the ledger could not take before its end is
// entered whole with its end, at the time when it ended: to tell its start
// afterwards would prove time that it no longer had.
func TestLedgerTakesStartAndEndTogether(t *testing.T) {
	b := newBooks()
	var away atomic.Bool
	away.Store(true)
	b.fail = func(entry string) error {
		if away.Load() && entry != "open" {
			return errors.New("connection refused")
		}
		return nil
	}
	h, _ := broadcast(t, signaling.Config{Ledger: b, Limits: signaling.Limits{RetryFirst: time.Millisecond, RetryMost: time.Millisecond}})
	c := h.call(t, join("recvonly", ""), false)
	c.message(0, map[string]any{"event_type": "connection.created"})
	c.say(`{"type":"disconnect"}`)
	c.ended()
	ended := time.Now()
	b.await(t, "200 failures", func(b *books) bool { return b.tries["close"] >= 200 })
	away.Store(false)
	b.await(t, "the end", func(b *books) bool { return len(b.closed) == 1 })
	b.read(func(b *books) {
		if _, told := b.connected[c.id()]; told {
			t.Error("its start was told after its end")
		}
		if e := b.closed[c.id()]; e.Duration <= 0 || e.Ago <= 0 || b.endedAt[c.id()].After(ended.Add(20*time.Millisecond)) {
			t.Errorf("the end is %+v, %s after it was", e, b.endedAt[c.id()].Sub(ended))
		}
	})
}
