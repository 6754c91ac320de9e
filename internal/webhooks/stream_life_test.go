package webhooks_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// Streams go back 24 hours, say so, and never skip what is older in silence; the
// list of events goes back further.
func TestStreamRetention(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	url := w.streams(s)
	for range 40 {
		w.tell(s, event(tenant.ConnectionCreated, "C"))
	}
	w.exec(`update event set recorded_at = clock_timestamp() - interval '25 hours' where seq <= 7`)
	c := dial(t, url+"/?after=7", nil)
	hello, err := c.frame()
	if err != nil || hello.Type != "hello" || hello.Seq != 7 || hello.RetentionFrom != 8 {
		t.Errorf("hello is %+v, %v", hello, err)
	}
	if e := c.event(); e.Seq != 8 {
		t.Errorf("began with %d", e.Seq)
	}
	end := dial(t, url+"/?after=6", nil).closed()
	if end.Code != 4410 || !strings.Contains(end.Reason, "the first event here is 8;") || !strings.Contains(end.Reason, "after=7,") {
		t.Errorf("past retention: %v", end)
	}
	if events, err := w.hooks.Events(t.Context(), s, 6, 1); err != nil || len(events) != 1 || events[0].Seq != 7 {
		t.Errorf("the list has %v, %v", events, err)
	}
	// A tenant with nothing young is at its end, and can be waited at.
	quiet := w.tenant()
	w.tell(quiet, event(tenant.ConnectionCreated, "C"), event(tenant.ConnectionCreated, "C"))
	w.exec(`update event set recorded_at = clock_timestamp() - interval '25 hours' where tenant_id = $1`, quiet.Tenant())
	if hello, err := dial(t, w.streams(quiet)+"/?after=2", nil).frame(); err != nil || hello.RetentionFrom != 3 {
		t.Errorf("hello is %+v, %v", hello, err)
	}
	if end := dial(t, w.streams(quiet)+"/?after=1", nil).closed(); end.Code != 4410 {
		t.Errorf("past retention: %v", end)
	}
}

// Before it stops, the process says when each client should come back, goes on telling
// meanwhile, and lets nobody in.
func TestStreamsAreToldToGo(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	url := w.streams(s)
	clients := make([]*client, 20)
	for i := range clients {
		clients[i] = dial(t, url, nil)
		clients[i].event()
	}
	old := dial(t, url+"/?format=sora2015", nil)
	eventually(t, "all to be open", func() bool { return w.hooks.Stats().Streams == 21 })
	began := time.Now()
	w.hooks.StopStreams()
	differ := map[float64]bool{}
	for _, c := range clients {
		f, err := c.frame()
		if err != nil || f.Type != "reconnect" || f.Reason != "shutdown" || f.AfterSeconds < 0 || f.AfterSeconds > 2 {
			t.Fatalf("told %+v, %v", f, err)
		}
		differ[f.AfterSeconds] = true
	}
	if len(differ) < 2 {
		t.Errorf("all of them are to come back at once: %v", differ)
	}
	_, answer, err := websocket.Dial(t.Context(), url, nil)
	if err == nil || answer == nil || answer.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a new one: %v", err)
	}
	<-time.After(3 * time.Second) // their time is over, but the process still writes what it ends
	w.tell(s, event(tenant.ConnectionDestroyed, "C"))
	gone := make(chan error, 1)
	go func() { gone <- w.hooks.GoneStreams(t.Context()) }()
	for _, c := range clients {
		if e := c.event(); e.Seq != 1 {
			t.Errorf("then came %+v", e)
		}
		if end := c.closed(); end.Code != websocket.StatusGoingAway || end.Reason != "draining: reconnect with after=1" {
			t.Errorf("closed with %v", end)
		}
	}
	if end := old.closed(); end.Code != websocket.StatusGoingAway {
		t.Errorf("the 2015 stream: %v", end)
	}
	if err := <-gone; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < time.Second || took > 10*time.Second {
		t.Errorf("they had %v", took)
	}
}

// A node that is drained asks its streams to go, once; who comes back is served.
func TestStreamsOfADrainedNode(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	url := w.streams(s)
	c := dial(t, url, nil)
	c.event()
	w.hooks.MoveStreams()
	if f, err := c.frame(); err != nil || f.Type != "reconnect" || f.Reason != "drain" {
		t.Errorf("told %+v, %v", f, err)
	}
	again := dial(t, url, nil)
	again.event()
	w.tell(s, event(tenant.ConnectionDestroyed, "C"))
	if e := again.event(); e.Type != tenant.ConnectionDestroyed {
		t.Errorf("got %+v", e)
	}
	w.hooks.MoveStreams()
	if f, err := again.frame(); err != nil || f.Type != "reconnect" {
		t.Errorf("told %+v, %v", f, err)
	}
}

// A key that is revoked ends its streams; a database that cannot be asked does not.
func TestStreamEndsWithItsKey(t *testing.T) {
	w := newWorld(t, webhooks.Config{Heartbeat: time.Second})
	s := w.tenant()
	var asked atomic.Int64
	var verdict atomic.Pointer[error]
	url := w.streamsWhile(s, func(context.Context) error {
		asked.Add(1)
		if err := verdict.Load(); err != nil {
			return *err
		}
		return nil
	})
	c := dial(t, url, nil)
	c.event()
	away := error(&net.OpError{Op: "dial", Err: errors.New("connection refused")})
	if !tenant.DatabaseAway(away) {
		t.Fatal("the test's error is not what it should be")
	}
	verdict.Store(&away)
	eventually(t, "two questions", func() bool { return asked.Load() >= 2 })
	w.tell(s, event(tenant.ConnectionCreated, "C"))
	if e := c.event(); e.Type != tenant.ConnectionCreated {
		t.Errorf("got %+v", e)
	}
	revoked := tenant.ErrAPIKey
	verdict.Store(&revoked)
	if end := c.closed(); end.Code != websocket.StatusPolicyViolation || !strings.HasPrefix(end.Reason, "unauthorized: ") || !strings.HasSuffix(end.Reason, "last seq 1") {
		t.Errorf("closed with %v", end)
	}
}

// A client whose machine is gone, so that nothing is ever answered, is found.
func TestStreamFindsTheDead(t *testing.T) {
	w := newWorld(t, webhooks.Config{Heartbeat: 400 * time.Millisecond})
	s := w.tenant()
	url := w.streams(s)
	dial(t, url, nil) // nobody reads, so nobody answers pings
	eventually(t, "the dead to be counted", func() bool { return w.hooks.Stats().StreamsDead == 1 })
	eventually(t, "its place to be free", func() bool { return w.hooks.Stats().Streams == 0 })
}

// What a client says is thrown away, and one that does not stop has to wait.
func TestStreamClientTalks(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	c := dial(t, w.streams(s), nil)
	c.event()
	message := []byte(strings.Repeat("x", 1000))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	sent := 0
	for ; sent < 100_000; sent++ { // 100 MB
		if err := c.conn.Write(ctx, websocket.MessageText, message); err != nil {
			break
		}
	}
	if sent == 100_000 {
		t.Error("it could say all it wanted")
	}
	other := dial(t, w.streams(s), nil)
	other.event()
	large := []byte(strings.Repeat("x", 40<<10))
	if err := other.conn.Write(t.Context(), websocket.MessageText, large); err != nil {
		t.Fatal(err)
	}
	if end := other.closed(); end.Code != websocket.StatusMessageTooBig {
		t.Errorf("closed with %v", end)
	}
}

// TestStreamOutage: while the database is away, streams stay open and say that there
// may be more; then they go on, with nothing lost.
func TestStreamOutage(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	var away atomic.Bool
	config := w.pool.Config()
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if away.Load() {
			return nil, &net.OpError{Op: "dial", Err: errors.New("the database is away")}
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	config.PrepareConn = func(context.Context, *pgx.Conn) (bool, error) { return !away.Load(), nil }
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	cut := w.process(pool, webhooks.Config{Heartbeat: time.Second})
	for range 3 {
		w.tell(s, event(tenant.ConnectionCreated, "C"))
	}
	url := cut.streams(s)
	c := dial(t, url, nil)
	c.event()
	until := func(c *client, what string, ok func(frame) bool) {
		t.Helper()
		for {
			f, err := c.frame()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if ok(f) {
				return
			}
		}
	}
	live := func(want bool) func(frame) bool {
		return func(f frame) bool { return f.Type == "heartbeat" && f.Live != nil && *f.Live == want && f.Seq == 3 }
	}
	until(c, "at first", live(true))
	away.Store(true)
	until(c, "while the database is away", live(false))
	w.tell(s, event(tenant.ConnectionDestroyed, "C"), event(tenant.ConnectionDestroyed, "C")) // on another node
	if end := dial(t, url, nil).closed(); end.Code != websocket.StatusTryAgainLater {
		t.Errorf("a new stream meanwhile: %v", end)
	}
	until(c, "later", live(false))
	away.Store(false)
	for _, seq := range []int64{4, 5} {
		until(c, fmt.Sprintf("event %d", seq), func(f frame) bool {
			if f.Type != "heartbeat" && f.Seq != seq {
				t.Fatalf("got %+v", f)
			}
			return f.Seq == seq && f.Type == tenant.ConnectionDestroyed
		})
	}
}
