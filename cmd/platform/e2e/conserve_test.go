package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
	"github.com/hibari/hibari/migrations/privatepg"
)

var (
	conserveFor  = flag.Duration("conserve.for", 30*time.Second, "how long TestConservation lets clients come, while things die")
	conserveSeed = flag.Uint64("conserve.seed", 0, "what its chances come from; 0: another each time")
)

// TestConservation is clients that come and go at two processes on one database, of
// which any dies at any moment, as the database does, and receivers of webhooks that
// fail in every way. In the end nothing is missing, twice or out of order: what the
// webhooks delivered, what the stream did, the events and the ledger are the same.
func TestConservation(t *testing.T) {
	c := newConservation(t)
	ctx, cancel := context.WithTimeout(t.Context(), *conserveFor)
	defer cancel()
	var working sync.WaitGroup
	for i := range 16 {
		working.Go(func() { c.runDuets(ctx, i%len(c.servers)) })
	}
	for i := range c.servers {
		working.Go(func() { c.runPassers(ctx, i) })
		working.Go(func() { c.runViewers(ctx, i) })
	}
	readers, stopReading := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	for _, h := range c.houses {
		reading.Go(func() { c.runReader(readers, h) })
	}
	c.runDeaths(ctx)
	working.Wait()

	c.allWell()
	c.settle()
	stopReading()
	reading.Wait()
	for _, h := range c.houses {
		h.check()
	}
}

// conservation is all that takes part.
type conservation struct {
	// Static.
	t       *testing.T
	cluster *privatepg.Cluster
	dir     string        // the cluster's
	pool    *pgxpool.Pool // as the owner of everything
	servers []*server
	houses  []*house
	// Owned by the test, then by runDeaths.
	letDatabase func()

	mu       sync.Mutex
	random   *rand.Rand        // Guarded by mu
	admitted map[string]string // Guarded by mu: what clients were told: their id, and whose they are
	calls    int               // Guarded by mu: attempts of clients
}

// house is a tenant with its receivers.
type house struct {
	c         *conservation
	account   account
	receivers []*badReceiver
	stream    []tenant.Event // owned by runReader, then by check
}

func newConservation(t *testing.T) *conservation {
	t.Helper()
	seed := *conserveSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-conserve.seed=%d", seed)
	c := &conservation{t: t, random: rand.New(rand.NewPCG(seed, 0)), admitted: map[string]string{}}
	c.dir = filepath.Join(t.TempDir(), "postgres")
	var err error
	if c.cluster, err = privatepg.Open(t.Context(), c.dir, slog.New(slog.NewTextHandler(io.Discard, nil))); err != nil {
		t.Fatal(err)
	}
	c.keepDatabase()
	t.Cleanup(func() { c.letDatabase(); c.cluster.Close() })
	first := newServer(t, "HIBARI_DATABASE_URL="+c.cluster.URL())
	c.servers = []*server{first, newServer(t, "HIBARI_DATABASE_URL="+c.cluster.URL(), "HIBARI_MASTER_KEY="+masterKeyOf(t, first))}
	if c.pool, err = pgxpool.New(t.Context(), c.cluster.URL()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.pool.Close)
	for _, name := range []string{"Lark", "Wren"} {
		h := &house{c: c, account: first.tenant(name, "--licence", "24")}
		c.houses = append(c.houses, h)
		for i := range 2 {
			r := newBadReceiver(c, i > 0)
			h.receivers = append(h.receivers, r)
			h.request("POST", "/v1/webhook-endpoints", map[string]any{"url": r.URL, "types": webhooks.Types}, http.StatusCreated)
		}
		asked := newDoorman(t)
		h.request("PATCH", "/v1/settings", map[string]any{"auth_url": asked}, http.StatusOK)
	}
	return c
}

// chance is a number from 0 to below n.
func (c *conservation) chance(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.IntN(n)
}

// pause waits up to most.
func (c *conservation) pause(ctx context.Context, most time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(time.Duration(c.chance(int(most)))):
	}
}

// request asks the first server's API and returns what it answers.
func (h *house) request(method, path string, body any, want int) string {
	t := h.c.t
	t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequest(method, h.c.servers[0].url+path, strings.NewReader(string(encoded)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+h.account.APIKey)
	r.Header.Set("Content-Type", "application/json")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil || w.StatusCode != want {
		t.Fatalf("%s %s answered %d %s, %v", method, path, w.StatusCode, text, err)
	}
	return string(text)
}

// runDeaths kills now a process, now the database, until ctx ends. A process comes
// back within moments, and at the end all are up.
func (c *conservation) runDeaths(ctx context.Context) {
	kills, restarts := 0, 0
	for ctx.Err() == nil {
		c.pause(ctx, 8*time.Second)
		switch c.chance(4) {
		case 0:
			c.stopDatabase()
			restarts++
		case 1: // in the middle of the outage
			c.stopDatabase()
			restarts++
			c.pause(ctx, time.Second)
			fallthrough
		default:
			s := c.servers[c.chance(len(c.servers))]
			s.kill()
			kills++
			c.pause(ctx, time.Second)
			c.restart(s)
		}
	}
	c.t.Logf("%d processes were killed, %d times the database", kills, restarts)
}

// keepDatabase starts the database again whenever it ends, until letDatabase.
func (c *conservation) keepDatabase() {
	ctx, cancel := context.WithCancel(context.Background())
	kept := make(chan struct{})
	go func() { defer close(kept); c.cluster.Run(ctx) }()
	c.letDatabase = func() { cancel(); <-kept }
}

// stopDatabase is an immediate stop; the database comes back as fast as it can.
func (c *conservation) stopDatabase() {
	c.letDatabase() // a keeper would be slower each time
	defer c.keepDatabase()
	text, err := os.ReadFile(filepath.Join(c.dir, "data", "postmaster.pid"))
	if err != nil {
		return // it is down
	}
	line, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(line)
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGQUIT)
	}
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		c.t.Errorf("couldn't stop Postgres: %v", err)
	}
}

// restart starts a process, which fails while there is no database.
func (c *conservation) restart(s *server) {
	for deadline := time.Now().Add(2 * time.Minute); ; {
		err := s.tryStart()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Errorf("a killed process does not come back: %v", err)
			return
		}
	}
}

// allWell heals the receivers and waits for the processes.
func (c *conservation) allWell() {
	for _, h := range c.houses {
		for _, r := range h.receivers {
			r.heal()
		}
	}
	for _, s := range c.servers {
		s.ready()
	}
}

// settle waits until every connection has ended in the ledger and every event is
// delivered. Retries that would be due in minutes or hours are made due now, as an
// operator could; nothing else is touched.
func (c *conservation) settle() {
	c.t.Helper()
	ctx := c.t.Context()
	var has map[string]bool
	within(c.t, 3*time.Minute, "everything has come to its end", func() bool {
		if has == nil {
			has = c.columns()
		}
		hurry := `update delivery set due = clock_timestamp() where state = 'pending' and due > clock_timestamp()`
		c.pool.Exec(ctx, hurry)
		if has["delivery.lease_until"] { // of a process that is dead
			c.pool.Exec(ctx, `update delivery set lease_until = null where lease_until > clock_timestamp()`)
		}
		if has["webhook_endpoint.breaker_until"] {
			c.pool.Exec(ctx, `update webhook_endpoint set breaker_until = clock_timestamp() where breaker_until > clock_timestamp()`)
		}
		if has["webhook_cursor.next_due"] {
			c.pool.Exec(ctx, `update webhook_cursor set next_due = clock_timestamp()`)
		}
		var open, places, behind, owed int
		err := c.pool.QueryRow(ctx, `select (select count(*) from connection where ended_at is null), (select count(*) from live_connection),
			(select count(*) from webhook_cursor w join tenant_live l using (tenant_id) where w.seq < l.event_seq),
			(select count(*) from delivery where state in ('waiting', 'pending'))`).Scan(&open, &places, &behind, &owed)
		if err != nil || open+places+behind+owed > 0 {
			c.t.Logf("%d connections open, %d places, %d tenants behind, %d deliveries owed, %v", open, places, behind, owed, err)
			time.Sleep(time.Second) // between two looks at other processes
			return false
		}
		return true
	})
	for _, h := range c.houses {
		within(c.t, patience, "the stream has all", func() bool {
			var last int64
			err := c.pool.QueryRow(ctx, `select event_seq from tenant_live where tenant_id = $1`, h.account.Tenant).Scan(&last)
			c.mu.Lock()
			defer c.mu.Unlock()
			return err == nil && int64(len(h.stream)) >= last
		})
	}
}

// columns are table.column of the schema.
func (c *conservation) columns() map[string]bool {
	rows, err := c.pool.Query(c.t.Context(), `select table_name || '.' || column_name from information_schema.columns where table_schema = 'public'`)
	if err != nil {
		return nil
	}
	has := map[string]bool{}
	defer rows.Close()
	for rows.Next() {
		var name string
		if rows.Scan(&name) == nil {
			has[name] = true
		}
	}
	return has
}
