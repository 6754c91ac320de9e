package webhooks_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
	"github.com/hibari/hibari/migrations/dbtest"
)

var loopback = netip.MustParsePrefix("127.0.0.0/8")

// world is a database with the webhooks on it.
type world struct {
	t     *testing.T
	pool  *pgxpool.Pool
	store *tenant.Store
	hooks *webhooks.Webhooks
	stop  func() // ends Run and waits for it
	// starting, if set, is called with each process before it runs.
	starting func(*webhooks.Webhooks)
}

// newWorld starts webhooks that may reach loopback.
func newWorld(t *testing.T, c webhooks.Config) *world {
	t.Helper()
	w := &world{t: t, pool: dbtest.New(t)}
	var err error
	w.store, err = tenant.NewStore(w.pool, []byte(strings.Repeat("k", 32)), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w.start(c)
	return w
}

// start runs webhooks on the world's database, as a process does.
func (w *world) start(c webhooks.Config) {
	w.t.Helper()
	if c.EgressAllow == nil {
		c.EgressAllow = []netip.Prefix{loopback}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(w.t.Output(), nil))
	}
	w.hooks = webhooks.New(w.pool, w.store, c)
	if w.starting != nil {
		w.starting(w.hooks)
	}
	hooks := w.hooks
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		hooks.Run(ctx)
	}()
	w.stop = func() {
		cancel()
		<-ended
	}
	w.t.Cleanup(w.stop)
}

// tenant makes a tenant and returns its scope.
func (w *world) tenant() tenant.Scope {
	w.t.Helper()
	name := tenant.NewID()
	made, err := w.store.CreateTenant(w.t.Context(), tenant.NewTenant{Name: name, Email: name + "@example.com"})
	if err != nil {
		w.t.Fatal(err)
	}
	return tenant.OperatorScope(made.Tenant)
}

// endpoint adds an endpoint and returns its id and secret.
func (w *world) endpoint(s tenant.Scope, url string, types ...string) (id, secret string) {
	w.t.Helper()
	secret, e, err := w.hooks.CreateEndpoint(w.t.Context(), s, url, webhooks.Choice{Types: types})
	if err != nil {
		w.t.Fatal(err)
	}
	return e.ID, secret
}

// tell appends events in one transaction, commits and wakes.
func (w *world) tell(s tenant.Scope, events ...tenant.Event) {
	w.t.Helper()
	w.tellBy(w.hooks, s, events...)
}

// tellBy is tell in another process.
func (w *world) tellBy(hooks *webhooks.Webhooks, s tenant.Scope, events ...tenant.Event) {
	w.t.Helper()
	for i := range events {
		events[i].Tenant = s.Tenant()
	}
	err := pgx.BeginFunc(w.t.Context(), w.pool, func(tx pgx.Tx) error {
		return hooks.Append(w.t.Context(), tx, events...)
	})
	if err != nil {
		w.t.Error(err)
	}
	hooks.Wake(s.Tenant())
}

func (w *world) exec(statement string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), statement, args...); err != nil {
		w.t.Fatal(err)
	}
}

// rows counts the rows of a table or join.
func (w *world) rows(from string, args ...any) (n int) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), `select count(*) from `+from, args...).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// behind counts the tenant's events that have not been fanned out.
func (w *world) behind(s tenant.Scope) (n int) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), `select l.event_seq - c.seq from webhook_cursor c join tenant_live l using (tenant_id)
		where tenant_id = $1`, s.Tenant()).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}

// hurry makes everything due that waits for its next try.
func (w *world) hurry() {
	w.t.Helper()
	w.exec(`update delivery set due = clock_timestamp() where state = 'pending'`)
	w.nudge()
}

// nudge says that rows were changed by hand.
func (w *world) nudge() {
	w.t.Helper()
	w.exec(`update webhook_cursor set next_due = clock_timestamp()`)
}

// deliveries lists everything of an endpoint, oldest first.
func (w *world) deliveries(s tenant.Scope, endpoint string) []webhooks.Delivery {
	w.t.Helper()
	list, err := w.hooks.Deliveries(w.t.Context(), s, webhooks.DeliveryQuery{Endpoint: endpoint, Limit: 500})
	if err != nil {
		w.t.Fatal(err)
	}
	slices.SortFunc(list, func(a, b webhooks.Delivery) int { return int(a.EventSeq - b.EventSeq) })
	return list
}

// only returns the single delivery of an endpoint.
func (w *world) only(s tenant.Scope, endpoint string) webhooks.Delivery {
	w.t.Helper()
	list := w.deliveries(s, endpoint)
	if len(list) != 1 {
		w.t.Fatalf("%d deliveries, want 1", len(list))
	}
	return list[0]
}

// eventually waits until ok, and fails with what it was waiting for.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// received is one request that reached a receiver.
type received struct {
	event  tenant.Event
	body   string
	header http.Header
	at     time.Time
}

// receiver is a tenant's server.
type receiver struct {
	*httptest.Server
	mu   sync.Mutex
	list []received // Guarded by mu
}

// newReceiver answers each request with what answer says, 204 if it is nil.
func newReceiver(t *testing.T, answer func(rw http.ResponseWriter, r *http.Request, got received)) *receiver {
	rec := &receiver{}
	rec.Server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("couldn't read a request: %v", err)
		}
		got := received{body: string(body), header: r.Header.Clone(), at: time.Now()}
		if err := json.Unmarshal(body, &got.event); err != nil {
			t.Errorf("body is no envelope: %v: %s", err, body)
		}
		rec.mu.Lock()
		rec.list = append(rec.list, got)
		rec.mu.Unlock()
		if answer == nil {
			rw.WriteHeader(http.StatusNoContent)
			return
		}
		answer(rw, r, got)
	}))
	t.Cleanup(rec.Close)
	return rec
}

func (rec *receiver) got() []received {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return slices.Clone(rec.list)
}

// wait returns the requests once there are n.
func (rec *receiver) wait(t *testing.T, n int) []received {
	t.Helper()
	eventually(t, fmt.Sprintf("%d requests", n), func() bool { return len(rec.got()) >= n })
	return rec.got()
}

// status answers always the same.
func status(code int) func(http.ResponseWriter, *http.Request, received) {
	return func(rw http.ResponseWriter, _ *http.Request, _ received) { rw.WriteHeader(code) }
}

// verify checks a request with the official Standard Webhooks library.
func verify(t *testing.T, secret string, r received) {
	t.Helper()
	oracle, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := oracle.Verify([]byte(r.body), r.header); err != nil {
		t.Errorf("the official library refuses our signature: %v", err)
	}
}

// event is one of a connection.
func event(kind tenant.EventType, connection string) tenant.Event {
	return tenant.Event{Type: kind, Channel: "sora", ConnectionID: connection,
		Data: json.RawMessage(`{"role":"sendonly","channel_connections":1}`)}
}
