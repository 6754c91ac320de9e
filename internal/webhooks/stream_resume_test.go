package webhooks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// process starts another process on the world's database.
func (w *world) process(pool *pgxpool.Pool, c webhooks.Config) *world {
	other := &world{t: w.t, pool: pool, store: w.store}
	other.start(c)
	return other
}

// frame is whatever a stream says.
type frame struct {
	tenant.Event
	RetentionFrom int64   `json:"retention_from"`
	Live          *bool   `json:"live"`
	AfterSeconds  float64 `json:"after_seconds"`
	Reason        string  `json:"reason"`
}

// frame reads one frame.
func (c *client) frame() (f frame, err error) {
	c.t.Helper()
	text, err := c.next()
	if err == nil {
		err = json.Unmarshal(text, &f)
	}
	return f, err
}

// TestStreamUnion: whatever readers do, and however the writers commit, in one
// process and in another, each reader ends with exactly the events of the ledger
// that its filter lets through, in order and none twice.
func TestStreamUnion(t *testing.T) {
	const heartbeat = time.Second
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	w := newWorld(t, webhooks.Config{Heartbeat: heartbeat})
	s := w.tenant()
	elsewhere := w.process(w.pool, webhooks.Config{Heartbeat: heartbeat})
	urls := []string{w.streams(s), elsewhere.streams(s)}

	var writers, readers sync.WaitGroup
	done := make(chan struct{}) // closed when the last writer has
	channels := []string{"a", "b", "c"}
	for n := range 4 {
		writers.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(n)))
			for round := range 16 {
				size := 1 + random.IntN(8)
				if round == 10 {
					size = 400 // bursts that leave slow ones behind
				}
				events := make([]tenant.Event, size)
				for i := range events {
					kinds := []tenant.EventType{tenant.ConnectionConnecting, tenant.ConnectionCreated, tenant.ConnectionUpdated, tenant.ConnectionDestroyed}
					events[i] = event(kinds[random.IntN(len(kinds))], fmt.Sprintf("C%d", random.IntN(5)))
					events[i].Channel, events[i].Tenant = channels[random.IntN(3)], s.Tenant()
					events[i].Data = json.RawMessage(`{"metadata":"` + strings.Repeat("x", random.IntN(1000)) + `"}`)
				}
				hooks := []*webhooks.Webhooks{w.hooks, elsewhere.hooks}[random.IntN(2)]
				roll := random.IntN(8)
				err := pgx.BeginFunc(t.Context(), w.pool, func(tx pgx.Tx) error {
					if err := hooks.Append(t.Context(), tx, events...); err != nil {
						return err
					}
					time.Sleep(time.Duration(random.IntN(4)) * time.Millisecond) // a commit that comes late: others wait for it
					if roll == 0 {
						return errRollback
					}
					return nil
				})
				if err != nil && !errors.Is(err, errRollback) {
					t.Error(err)
				}
				if roll%2 == 0 { // others are found by polling
					hooks.Wake(s.Tenant())
				}
			}
		})
	}
	filters := []webhooks.Filter{{}, {}, {Types: []string{"connection.created", "connection.destroyed"}}, {Channel: "b"}, {Connection: "C3"},
		{Types: []string{"connection.updated"}, Channel: "a", Connection: "C1"}, {Types: []string{"ping"}}}
	got := make([][]tenant.Event, len(filters))
	for n, filter := range filters {
		readers.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(100+n)))
			query := url.Values{}
			if len(filter.Types) > 0 {
				query.Set("types", strings.Join(filter.Types, ","))
			}
			query.Set("channel_id", filter.Channel)
			query.Set("connection_id", filter.Connection)
			broken := 0
			for after := int64(0); broken < 100; {
				query.Set("after", fmt.Sprint(after))
				c := dial(t, urls[random.IntN(2)]+"/?"+query.Encode(), nil)
				told := "" // nothing yet
				for range 1 + random.IntN(300) {
					if told == "heartbeat" {
						break // it has been told everything there was
					}
					f, err := c.frame()
					if end := websocket.CloseStatus(err); err != nil && (end == -1 || end == 4408) {
						broken++ // a machine this busy may take a reader for slow or dead: it comes back
						break
					}
					if err != nil {
						t.Errorf("reader %d after %d: %v", n, after, err)
						return
					}
					switch told = string(f.Type); told {
					case "hello", "heartbeat":
						if f.Seq < after {
							t.Errorf("reader %d: a %s at %d, which has %d", n, f.Type, f.Seq, after)
						}
					default:
						if f.Seq <= after {
							t.Errorf("reader %d: event %d after %d", n, f.Seq, after)
						}
						got[n] = append(got[n], f.Event)
						if random.IntN(50) == 0 {
							time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
						}
					}
					after = f.Seq
				}
				c.conn.CloseNow()
				select {
				case <-done:
					if last, err := w.hooks.LastSeq(t.Context(), s); err != nil || after == last {
						return
					}
				default:
				}
			}
		})
	}
	writers.Wait()
	close(done)
	readers.Wait()
	ledger := w.ledger(s)
	for n, filter := range filters {
		var want []tenant.Event
		for _, e := range ledger {
			if (len(filter.Types) == 0 || slices.Contains(filter.Types, string(e.Type))) && (filter.Channel == "" || e.Channel == filter.Channel) &&
				(filter.Connection == "" || e.ConnectionID == filter.Connection) {
				want = append(want, e)
			}
		}
		if !slices.EqualFunc(got[n], want, func(a, b tenant.Event) bool { return a.ID == b.ID && a.Seq == b.Seq }) {
			t.Errorf("reader %d with %+v got %d events, want %d", n, filter, len(got[n]), len(want))
		}
	}
	if stats := w.hooks.Stats(); stats.SharedReads == 0 || stats.OwnReads == 0 {
		t.Errorf("%d shared and %d own reads: the test did not do what it is for", stats.SharedReads, stats.OwnReads)
	}
	t.Logf("%d events, %+v", len(ledger), w.hooks.Stats())
}

var errRollback = errors.New("rolled back on purpose")

// ledger lists all events there are.
func (w *world) ledger(s tenant.Scope) (all []tenant.Event) {
	w.t.Helper()
	for after := int64(0); ; after = all[len(all)-1].Seq {
		events, err := w.hooks.Events(w.t.Context(), s, after, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(events) == 0 {
			return all
		}
		all = append(all, events...)
	}
}

// Fifty streams of a tenant that keep up cost the database as many reads as one.
func TestStreamsReadOnce(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	url := w.streams(s)
	clients := make([]*client, 50)
	for i := range clients {
		clients[i] = dial(t, url, nil)
		clients[i].event()
	}
	before := w.hooks.Stats()
	const events = 20
	for seq := range int64(events) {
		w.tell(s, event(tenant.ConnectionCreated, "C"))
		for i, c := range clients {
			if e := c.event(); e.Seq != seq+1 {
				t.Fatalf("client %d got %d", i, e.Seq)
			}
		}
	}
	after := w.hooks.Stats()
	if shared, own := after.SharedReads-before.SharedReads, after.OwnReads-before.OwnReads; shared > events || own != 0 {
		t.Errorf("%d shared reads and %d own ones for %d events", shared, own, events)
	}
	if told := after.StreamEvents - before.StreamEvents; told != events*int64(len(clients)) || after.Streams != int64(len(clients)) {
		t.Errorf("counted %d events on %d streams", told, after.Streams)
	}
}

// What happens in a burst is more than is kept in memory: whoever reads gets it
// all, from there or by reading for itself.
func TestStreamBurst(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	url := w.streams(s)
	var readers sync.WaitGroup
	const total = 4000
	for range 3 {
		c := dial(t, url, nil)
		c.event()
		readers.Go(func() {
			for seq := int64(1); seq <= total; seq++ {
				if e := c.event(); e.Seq != seq {
					t.Errorf("got %d instead of %d", e.Seq, seq)
					return
				}
			}
		})
	}
	burst := make([]tenant.Event, total)
	for i := range burst {
		burst[i] = event(tenant.ConnectionCreated, "C")
	}
	w.tell(s, burst...)
	readers.Wait()
}

// Frames of all lengths that are told apart in the head of a frame arrive whole.
func TestStreamFrameLengths(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	c := dial(t, w.streams(s), nil)
	c.event()
	bare := event(tenant.ConnectionCreated, "C")
	bare.Data = json.RawMessage(`{"m": ""}`) // as Postgres writes it
	bare.Timestamp = time.Date(2026, 11, 22, 9, 30, 0, 0, time.UTC)
	w.tell(s, bare)
	text, err := c.next()
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{1<<16 - 2, 1<<16 - 1, 1 << 16, 1<<16 + 1, 1 << 19} {
		bare.Data = json.RawMessage(`{"m": "` + strings.Repeat("x", length-len(text)) + `"}`)
		w.tell(s, bare)
		text, err := c.next()
		if err != nil || len(text) != length {
			t.Errorf("%d bytes, %v; want %d", len(text), err, length)
		}
	}
}

// streamsWhile serves the streams of a tenant as long as still says so.
func (w *world) streamsWhile(s tenant.Scope, still func(context.Context) error) string {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := w.hooks.Stream(rw, r, s, still); err != nil {
			w.t.Errorf("no stream: %v", err)
		}
	}))
	w.t.Cleanup(server.Close)
	return server.URL
}
