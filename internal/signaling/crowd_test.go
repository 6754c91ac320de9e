package signaling_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/signaling"
)

// Many come and go at once: everybody is told of every one of them, once, and in
// the order in which it happened, which the counts tell.
func TestCrowdIsToldInOrder(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{})
	watcher := h.call(t, join("recvonly", ""), false)
	watcher.message(0, map[string]any{"event_type": "connection.created"})
	const crowd = 8
	var callers []*caller
	for range crowd {
		callers = append(callers, h.call(t, join("recvonly", ""), false))
	}
	for _, c := range callers {
		c.message(0, map[string]any{"event_type": "connection.created", "connection_id": c.id()})
		c.say(`{"type":"disconnect"}`)
	}
	events := func() (list []map[string]any) {
		for _, m := range watcher.heard {
			if m["type"] == "notify" {
				list = append(list, m)
			}
		}
		return list
	}
	watcher.await("all coming and going", func() bool { return len(events()) == 1+2*crowd })
	watcher.note(func() {
		there := map[any]bool{}
		for i, m := range events() {
			id, came := m["connection_id"], m["event_type"] == "connection.created"
			if there[id] == came {
				t.Errorf("%d: %v about %v", i, m["event_type"], id)
			}
			there[id] = came
			now := 0.0
			for _, is := range there {
				if is {
					now++
				}
			}
			if m["channel_connections"] != now || m["channel_recvonly_connections"] != now {
				t.Errorf("%d: %v of %v counts %v, want %v", i, m["event_type"], id, m["channel_connections"], now)
			}
			if _, ok := m["data"]; ok != (i == 0) {
				t.Errorf("%d: data is %v", i, m["data"])
			}
		}
	})
}

// A message's frame is what RFC 6455 §5.2 says, whatever its length and whatever
// it is appended to.
func TestFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(65000, 66000)).Draw(t, "length")
		payload := []byte(`"` + strings.Repeat("x", n) + `"`)
		before := bytes.Repeat([]byte{'b'}, rapid.IntRange(0, 20).Draw(t, "before"))
		b, err := signaling.AppendMessage(bytes.Clone(before), strings.Repeat("x", n))
		if err != nil || !bytes.HasPrefix(b, before) {
			t.Fatal("what was there before is gone", err)
		}
		b = b[len(before):]
		if b[0] != 0x81 { // final, text
			t.Fatalf("begins with %x", b[0])
		}
		length, rest := int(b[1]), b[2:] // without the mask's bit
		switch length {
		case 126:
			length, rest = int(binary.BigEndian.Uint16(rest)), rest[2:]
			if length < 126 {
				t.Fatal("not the shortest form")
			}
		case 127:
			length, rest = int(binary.BigEndian.Uint64(rest)), rest[8:]
			if length < 1<<16 {
				t.Fatal("not the shortest form")
			}
		}
		if length != len(payload) || !bytes.Equal(rest, payload) {
			t.Fatalf("length %d of %d, %d bytes follow", length, len(payload), len(rest))
		}
	})
}

// A media plane that cannot carry more lets nobody in, and no place is taken.
func TestOverloadedMediaPlane(t *testing.T) {
	plane := &loaded{SFU: newPlane(t)}
	plane.overloaded.Store(true)
	h := open(t, signaling.Config{Media: plane})
	c := h.visit(t)
	c.say(knock("good"))
	code, reason := c.farewell()
	if code != 4490 || !strings.HasPrefix(reason, "unavailable: this node's media plane is at its limit") || !strings.HasSuffix(reason, "another node") {
		t.Errorf("closed with %d %q", code, reason)
	}
	h.books.read(func(b *books) {
		if len(b.opened) != 0 {
			t.Error("a place was taken")
		}
	})
	plane.overloaded.Store(false)
	again := h.visit(t)
	again.say(knock("good"))
	if _, m := again.hear(); m["type"] != "offer" {
		t.Errorf("heard %v", m)
	}
}

// loaded is a media plane that says itself how much it can carry.
type loaded struct {
	*sfu.SFU
	overloaded atomic.Bool
}

func (l *loaded) Overloaded() bool { return l.overloaded.Load() }

// A client costs two goroutines, and they end with it.
func TestGoroutinesPerViewer(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{})
	h.visit(t).farewellAfter(`{`) // what is there once, is there now
	before := runtime.NumGoroutine()
	const viewers = 50
	clients := visitors(t, h, viewers)
	settled(t, "two goroutines a viewer", func(n int) bool { return n <= before+2*viewers+3 })
	for _, c := range clients {
		c.conn.CloseNow()
	}
	settled(t, "none once they have left", func(n int) bool { return n <= before+3 })
}

// farewellAfter says something that ends the connection, and waits for that.
func (c *client) farewellAfter(text string) {
	c.t.Helper()
	c.say(text)
	c.farewell()
}

// visitors are viewers with an offer. Their end of the socket has no goroutine.
func visitors(t testing.TB, h *house, n int) (clients []*client) {
	t.Helper()
	for range n {
		conn, _, err := websocket.Dial(context.Background(), h.url, &websocket.DialOptions{HTTPClient: h.http})
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadLimit(-1)
		t.Cleanup(func() { conn.CloseNow() })
		c := &client{t, conn}
		c.say(join("recvonly", ""))
		c.hear()
		clients = append(clients, c)
	}
	return clients
}

// settled waits for a number of goroutines.
func settled(t *testing.T, what string, ok func(int) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(runtime.NumGoroutine()); runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("never %s: %d goroutines\n%s", what, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// BenchmarkViewer tells what a viewer with an offer costs, its own end of the
// socket included: CPU and memory to come in, and what stays.
func BenchmarkViewer(b *testing.B) {
	h, _ := broadcast(b, signaling.Config{})
	visitors(b, h, 1)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	goroutines := runtime.NumGoroutine()
	b.ReportAllocs()
	b.ResetTimer()
	clients := visitors(b, h, b.N)
	b.StopTimer()
	runtime.GC()
	runtime.ReadMemStats(&after)
	n := float64(b.N)
	b.ReportMetric(float64(runtime.NumGoroutine()-goroutines)/n, "goroutines/viewer")
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/n, "heap-B/viewer")
	b.ReportMetric(float64(int64(after.StackInuse)-int64(before.StackInuse))/n, "stack-B/viewer")
	for _, c := range clients {
		c.conn.CloseNow()
	}
}
