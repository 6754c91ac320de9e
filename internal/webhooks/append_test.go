package webhooks_test

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// connection inserts a connection row, as the ledger does.
func (w *world) connection(s tenant.Scope, id string) {
	w.t.Helper()
	w.exec(`insert into node (node_id, name, instance, lease_until) values ('n', 'n', 'n', now()) on conflict do nothing`)
	w.exec(`insert into channel_session (session_id, tenant_id, channel_id) values ($1, $2, 'sora')`, "s"+id, s.Tenant())
	w.exec(`insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol)
		values ($1, $2, 'sora', $3, 'n', 'sendonly', '', 'sora')`, id, s.Tenant(), "s"+id)
}

func TestSeqIsGaplessUnderConcurrentAppendersAndRollbacks(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	w.connection(s, "A")
	w.connection(s, "B")
	undo := errors.New("undo")
	var wg sync.WaitGroup
	var mu sync.Mutex
	committed := 0
	for range 8 {
		wg.Go(func() {
			for i := range 20 {
				n := 1 + rand.IntN(3)
				var events []tenant.Event
				for range n {
					e := event(tenant.ConnectionUpdated, []string{"A", "B", ""}[rand.IntN(3)])
					e.Tenant = s.Tenant()
					events = append(events, e)
				}
				err := pgx.BeginFunc(t.Context(), w.pool, func(tx pgx.Tx) error {
					if err := w.hooks.Append(t.Context(), tx, events...); err != nil {
						return err
					}
					if i%5 == 4 {
						return undo
					}
					return nil
				})
				if err == nil {
					mu.Lock()
					committed += n
					mu.Unlock()
				} else if !errors.Is(err, undo) {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	last, err := w.hooks.LastSeq(t.Context(), s)
	if err != nil || last != int64(committed) {
		t.Fatalf("last seq %d, %v; want %d", last, err, committed)
	}
	events, err := w.hooks.Events(t.Context(), s, 0, 0)
	if err != nil || len(events) != committed {
		t.Fatalf("%d events, %v; want %d", len(events), err, committed)
	}
	next := map[string]int{}
	for i, e := range events {
		if e.Seq != int64(i+1) {
			t.Fatalf("event %d has seq %d", i, e.Seq)
		}
		if e.ConnectionID != "" {
			next[e.ConnectionID]++
		}
		if e.ConnectionSeq != next[e.ConnectionID] {
			t.Fatalf("connection_seq %d of %q, want %d", e.ConnectionSeq, e.ConnectionID, next[e.ConnectionID])
		}
	}
}

func TestAppendKeepsWhatItWasGiven(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	at := time.Date(2015, 11, 4, 12, 30, 0, 123456000, time.FixedZone("JST", 9*3600))
	given := tenant.Event{ID: "evt_GIVEN", Type: tenant.ChannelStarted, Timestamp: at, Channel: "sora", Data: json.RawMessage(`{"a":1}`)}
	w.tell(s, given, tenant.Event{Type: tenant.ChannelEnded, Channel: "sora"}, event(tenant.ConnectionRejected, "never opened"))
	events, err := w.hooks.Events(t.Context(), s, 0, 10)
	if err != nil || len(events) != 3 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	first, second, third := events[0], events[1], events[2]
	if first.ID != "evt_GIVEN" || !first.Timestamp.Equal(at) || first.Channel != "sora" || string(first.Data) != `{"a": 1}` {
		t.Errorf("first is %+v", first)
	}
	if !strings.HasPrefix(second.ID, "evt_") || len(second.ID) != 30 || string(second.Data) != "{}" || time.Since(second.Timestamp).Abs() > time.Minute {
		t.Errorf("second is %+v", second)
	}
	if third.ConnectionID != "never opened" || third.ConnectionSeq != 0 {
		t.Errorf("third is %+v", third)
	}
}

// TestAppendTakesHostileMetadata: Postgres refuses some legal JSON, which must
// not keep a client's connection from being opened or closed.
func TestAppendTakesHostileMetadata(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	for _, data := range []string{
		`{"a":"\u0000"}`, `{"\u0000":1}`, `{"a":"\ud800"}`, `{"a":"\\u0000"}`, "{\"a\":\"\xff\xfe\"}",
		`{"a":1e999999}`, `{"a":1e-999999}`, `{"a":12345678901234567890123456789}`,
		`{"a":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + `}`,
	} {
		e := event(tenant.ConnectionRejected, "\x00\xff")
		e.Data = json.RawMessage(data)
		w.tell(s, e)
	}
	events, err := w.hooks.Events(t.Context(), s, 0, 0)
	if err != nil || len(events) != 9 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	if got := string(events[3].Data); got != `{"a": "\\u0000"}` {
		t.Errorf("an escaped backslash became %s", got)
	}
	if got := string(events[7].Data); got != `{"a": 12345678901234567890123456789}` {
		t.Errorf("a long number became %s", got)
	}
}

func TestAppendRefusesAnUnknownTenant(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	err := pgx.BeginFunc(t.Context(), w.pool, func(tx pgx.Tx) error {
		return w.hooks.Append(t.Context(), tx, tenant.Event{Tenant: "ten_nobody", Type: tenant.Ping})
	})
	if !errors.Is(err, webhooks.ErrNotFound) {
		t.Errorf("error is %v", err)
	}
}

func TestZeroScopeOpensNothing(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	var zero tenant.Scope
	ctx := t.Context()
	for name, call := range map[string]func() error{
		"Events":    func() error { _, err := w.hooks.Events(ctx, zero, 0, 1); return err },
		"LastSeq":   func() error { _, err := w.hooks.LastSeq(ctx, zero); return err },
		"Feed":      func() error { _, err := w.hooks.Feed(ctx, zero, 0); return err },
		"Endpoints": func() error { _, err := w.hooks.Endpoints(ctx, zero); return err },
		"Endpoint":  func() error { _, err := w.hooks.Endpoint(ctx, zero, "x"); return err },
		"CreateEndpoint": func() error {
			_, _, err := w.hooks.CreateEndpoint(ctx, zero, "http://127.0.0.1", webhooks.Choice{})
			return err
		},
		"DeleteEndpoint": func() error { return w.hooks.DeleteEndpoint(ctx, zero, "x") },
		"EnableEndpoint": func() error { return w.hooks.EnableEndpoint(ctx, zero, "x") },
		"RotateSecret":   func() error { _, _, err := w.hooks.RotateSecret(ctx, zero, "x", 0); return err },
		"SendTest":       func() error { _, err := w.hooks.SendTest(ctx, zero, "x"); return err },
		"Deliveries":     func() error { _, err := w.hooks.Deliveries(ctx, zero, webhooks.DeliveryQuery{}); return err },
		"Attempts":       func() error { _, err := w.hooks.Attempts(ctx, zero, "x"); return err },
		"Replay":         func() error { _, err := w.hooks.Replay(ctx, zero, "x"); return err },
	} {
		if err := call(); !errors.Is(err, tenant.ErrScope) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
}
