package sfu_test

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// unread is a connection whose door reads only when the test says so.
func unread(t *testing.T) *sfu.Connection {
	t.Helper()
	c, err := newSFU(t).Join(t.Context(), request(tenant.RecvOnly))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// news is a notification about somebody else, told apart by its session.
func news(i int) sfu.Signal {
	return sfu.Signal{Kind: sfu.SignalNotify, Notify: &sfu.Notify{Subject: sfu.ConnectionInfo{ConnectionID: "other", SessionID: strconv.Itoa(i)}}}
}

func rung(c *sfu.Connection) bool {
	select {
	case <-c.Ring():
		return true
	case <-time.After(10 * time.Second):
		return false
	}
}

// Whatever is left for a door, and whenever it looks: it gets all of it, once,
// in order, and is rung for all of it.
func TestSignalsKeepTheirOrder(t *testing.T) {
	s := newSFU(t)
	rapid.Check(t, func(rt *rapid.T) {
		c, err := s.Join(t.Context(), request(tenant.RecvOnly))
		if err != nil {
			rt.Fatal(err)
		}
		defer c.Disconnect(tenant.EndAPI)
		sent, got := 0, 0
		read := func() {
			list, open := c.Take(nil)
			if !open {
				rt.Fatal("the signals ended")
			}
			for _, signal := range list {
				n := signal.SDP
				if signal.Notify != nil {
					n = signal.Notify.Subject.SessionID
				}
				if n != strconv.Itoa(got) {
					rt.Fatalf("read %q, want %d", n, got)
				}
				got++
			}
		}
		for range rapid.IntRange(1, 100).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0:
				if !c.Leave(sfu.Signal{Kind: sfu.SignalReoffer, SDP: strconv.Itoa(sent)}) {
					rt.Fatal("refused")
				}
				sent++
				<-c.Ring() // at once
				read()
				if got != sent {
					rt.Fatalf("read %d of %d when rung", got, sent)
				}
			case 1, 2:
				if !c.Leave(news(sent)) {
					rt.Fatal("refused")
				}
				sent++
			case 3:
				read()
			}
		}
		for got < sent {
			if !rung(c) {
				rt.Fatalf("never rung for the last of %d", sent-got)
			}
			read()
		}
	})
}

// News of a crowd wakes a door once, not for each of it.
func TestNewsWaitsForMore(t *testing.T) {
	c := unread(t)
	for i := range 20 {
		c.Leave(news(i))
	}
	if !rung(c) {
		t.Fatal("never rung")
	}
	if list, _ := c.Take(nil); len(list) != 20 {
		t.Errorf("rung for %d signals of 20", len(list))
	}
	select {
	case <-c.Ring():
		t.Error("rung for nothing")
	default:
	}
}

// What a client waits for is told at once, together with what came before it.
func TestUrgentSignalsDoNotWait(t *testing.T) {
	c := unread(t)
	own := news(1)
	own.Notify.Subject.ConnectionID = c.ID()
	for _, urgent := range []sfu.Signal{{Kind: sfu.SignalConnected}, {Kind: sfu.SignalReoffer}, {Kind: sfu.SignalPush}, own} {
		c.Leave(news(0))
		c.Leave(urgent)
		select {
		case <-c.Ring():
		default:
			t.Errorf("kind %d waits", urgent.Kind)
		}
		if list, _ := c.Take(nil); len(list) != 2 {
			t.Errorf("took %d signals, want 2", len(list))
		}
	}
}

// A door may leave 256 signals unread, and is rung well before; SignalEnded
// finds a place all the same, and is the last.
func TestUnreadSignalsAreBounded(t *testing.T) {
	c := unread(t)
	for i := range sfu.SignalLimit {
		if !c.Leave(news(i)) {
			t.Fatalf("signal %d was refused", i)
		}
	}
	if c.Leave(news(sfu.SignalLimit)) {
		t.Error("one too many was taken")
	}
	select {
	case <-c.Ring():
	default:
		t.Error("a door with so much unread waits for its ring")
	}
	c.Disconnect(tenant.EndAPI)
	<-c.Done()
	n := 0
	var last sfu.Signal
	for last = range c.Signals() {
		n++
	}
	if n != sfu.SignalLimit+1 || last.Kind != sfu.SignalEnded || last.Reason != tenant.EndAPI {
		t.Errorf("%d signals, the last %+v", n, last)
	}
	if !c.Leave(news(0)) {
		t.Error("a connection that has ended is to blame for nothing")
	}
	if list, open := c.Take(nil); open || len(list) != 0 {
		t.Errorf("after the end: %d signals, open %v", len(list), open)
	}
}

// What is to follow the end is started once, whether it is asked for before,
// meanwhile or after.
func TestAfterEnd(t *testing.T) {
	c := unread(t)
	var ended sync.WaitGroup
	ended.Add(100)
	for i := range 100 {
		if i == 50 {
			c.Disconnect(tenant.EndAPI)
		}
		c.AfterEnd(func() {
			<-c.Done()
			if c.Ending().Reason != tenant.EndAPI {
				t.Error("no reason yet")
			}
			ended.Done()
		})
	}
	ended.Wait()
}

// A door makes what it tells many only once, and never after a failure.
func TestMemo(t *testing.T) {
	var m sfu.Memo
	made := 0
	make := func() ([]byte, error) { made++; return []byte{byte(made)}, nil }
	for _, dialect := range []string{"a", "b", "a", "b"} {
		want := map[string]byte{"a": 1, "b": 2}[dialect]
		if got, err := m.Get(dialect, make); err != nil || got[0] != want {
			t.Errorf("%s: %v, %v", dialect, got, err)
		}
	}
}
