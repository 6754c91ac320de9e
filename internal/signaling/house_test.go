package signaling_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// keys is a Verifier for tokens that are plain words: "good", or the code of
// the refusal they meet. "good" ones are of ten_A.
type keys struct {
	claim tenant.Claim // of good tokens, beyond the tenant
}

func (k keys) Verify(_ context.Context, w tenant.TokenWish) (tenant.Claim, string, error) {
	claim := k.claim
	claim.Tenant = "ten_A"
	token, _ := w.Token.(string)
	switch code := tenant.Code(token); code {
	case "good":
		return claim, strings.TrimSuffix(w.Channel, "@ten_A"), nil
	case tenant.TokenExpired, tenant.Unavailable:
		return tenant.Claim{}, "", tenant.Refuse(code, "hint for %s", code)
	case tenant.ChannelDenied, tenant.RoleDenied, tenant.Banned, tenant.TenantSuspended:
		return claim, "", tenant.Refuse(code, "hint for %s", code)
	case "broken":
		return tenant.Claim{}, "", errors.New("secret: keys can't be read")
	}
	return tenant.Claim{}, "", tenant.Refuse(tenant.TokenInvalid, "send a token")
}

// books is a Ledger in memory that records what it is told, and fails when told
// to.
type books struct {
	mu        sync.Mutex
	fail      func(entry string) error // "open", "connected", "close" or "reject"; called with mu held
	opened    map[string]tenant.Opening
	connected map[string]time.Time
	closed    map[string]tenant.Ending
	closings  int                  // successful Close calls, repeated ones included
	endedAt   map[string]time.Time // of what was closed
	rejected  []tenant.Refusal
	tries     map[string]int
	changed   chan struct{} // closed and replaced at each entry
}

func newBooks() *books {
	return &books{
		opened: map[string]tenant.Opening{}, connected: map[string]time.Time{}, closed: map[string]tenant.Ending{}, endedAt: map[string]time.Time{},
		tries: map[string]int{}, changed: make(chan struct{}),
	}
}

// enter runs an entry unless it is to fail.
func (b *books) enter(entry string, f func() error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.changed)
	b.changed = make(chan struct{})
	b.tries[entry]++
	if b.fail != nil {
		if err := b.fail(entry); err != nil {
			return err
		}
	}
	return f()
}

func (b *books) Open(_ context.Context, o tenant.Opening) (opened tenant.Opened, err error) {
	err = b.enter("open", func() error {
		b.opened[o.ConnectionID] = o
		opened = tenant.Opened{SessionID: "SESSION-" + o.Channel, Counts: tenant.Counts{Connections: len(b.opened) - len(b.closed)}}
		return nil
	})
	return opened, err
}

func (b *books) Connected(_ context.Context, id string, ago time.Duration) error {
	return b.enter("connected", func() error {
		if _, ok := b.opened[id]; !ok {
			return tenant.ErrNotFound
		}
		b.connected[id] = time.Now().Add(-ago)
		return nil
	})
}

func (b *books) Close(_ context.Context, id string, e tenant.Ending) error {
	return b.enter("close", func() error {
		b.closings++
		if _, ok := b.opened[id]; !ok {
			return fmt.Errorf("connection %s: %w", id, tenant.ErrNotFound)
		}
		if _, ok := b.closed[id]; !ok {
			b.closed[id] = e
			b.endedAt[id] = time.Now().Add(-e.Ago)
		}
		return nil
	})
}

func (b *books) Abandon(ctx context.Context, o tenant.Opening, e tenant.Ending) error {
	return b.Close(ctx, o.ConnectionID, e)
}

func (b *books) Reject(_ context.Context, _ tenant.Opening, r *tenant.Refusal) error {
	return b.enter("reject", func() error { b.rejected = append(b.rejected, *r); return nil })
}

func (b *books) Look(_ context.Context, o tenant.Opening) (c tenant.Counts, err error) {
	err = b.enter("look", func() error {
		c.Connections = len(b.opened) - len(b.closed)
		return nil
	})
	return c, err
}

// await waits until the books satisfy a condition.
func (b *books) await(t testing.TB, what string, condition func(*books) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		b.mu.Lock()
		ok, changed := condition(b), b.changed
		b.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			b.mu.Lock()
			defer b.mu.Unlock()
			t.Fatalf("the ledger never had %s: opened %d, connected %d, closed %v, tries %v", what, len(b.opened), len(b.connected), b.closed, b.tries)
		}
	}
}

// read looks into the books.
func (b *books) read(f func(*books)) { b.mu.Lock(); defer b.mu.Unlock(); f(b) }

// noMedia is for tests that nobody gets as far as media in.
type noMedia struct{ signaling.Media }

func (noMedia) Overloaded() bool { return false }

// house is a door on a real HTTP server.
type house struct {
	door  *signaling.Door
	books *books
	url   string
	dial  func(ctx context.Context, network, address string) (net.Conn, error) // nil: TCP
	http  *http.Client
}

// open starts a house on TCP. The door settles all connections before the test ends.
func open(t testing.TB, c signaling.Config) *house {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return openOn(t, c, listener, nil)
}

// openInMemory starts a house without sockets, for a synctest bubble.
func openInMemory(t *testing.T, c signaling.Config) *house {
	t.Helper()
	listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	return openOn(t, c, listener, listener.dial)
}

func openOn(t testing.TB, c signaling.Config, listener net.Listener, dial func(context.Context, string, string) (net.Conn, error)) *house {
	t.Helper()
	h := &house{url: "http://" + listener.Addr().String() + "/signaling", dial: dial}
	if c.Verifier == nil {
		c.Verifier = keys{}
	}
	if c.Ledger == nil {
		c.Ledger = newBooks()
	}
	if c.Media == nil {
		c.Media = noMedia{}
	}
	h.books, _ = c.Ledger.(*books)
	h.door = signaling.New(c)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /signaling", h.door.Signaling)
	mux.HandleFunc("/whip/", h.door.WHIP)
	mux.HandleFunc("/whep/", h.door.WHEP)
	mux.HandleFunc("GET /ayame", h.door.Ayame)
	server := &http.Server{Handler: mux}
	transport := &http.Transport{DialContext: dial}
	h.http = &http.Client{Transport: transport}
	served := make(chan struct{})
	go func() { defer close(served); server.Serve(listener) }()
	t.Cleanup(func() {
		h.door.Drain()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := h.door.Wait(ctx); err != nil {
			t.Error(err)
		}
		server.Close()
		transport.CloseIdleConnections()
		<-served
	})
	return h
}

// pipes is a listener in memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.once.Do(func() { close(p.closed) }); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 7} }

// client is a WebSocket client of a house.
type client struct {
	t    testing.TB
	conn *websocket.Conn
}

// visit opens a WebSocket.
func (h *house) visit(t testing.TB) *client {
	t.Helper()
	conn, _, err := websocket.Dial(context.Background(), h.url, &websocket.DialOptions{HTTPClient: h.http})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(-1)
	t.Cleanup(func() { conn.CloseNow() })
	return &client{t, conn}
}

// say sends text as it is.
func (c *client) say(text string) {
	c.t.Helper()
	if err := c.conn.Write(context.Background(), websocket.MessageText, []byte(text)); err != nil {
		c.t.Fatalf("couldn't say %.80s: %v", text, err)
	}
}

// hear returns the next message, as text and decoded.
func (c *client) hear() (string, map[string]any) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, data, err := c.conn.Read(ctx)
	if err != nil {
		c.t.Fatalf("heard nothing: %v", err)
	}
	var m map[string]any
	if err := json.Unmarshal(data, &m); err != nil {
		c.t.Fatalf("heard %q: %v", data, err)
	}
	return string(data), m
}

// farewell reads until the server closes, and returns how.
func (c *client) farewell() (int, string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		_, _, err := c.conn.Read(ctx)
		var bye websocket.CloseError
		if errors.As(err, &bye) {
			return int(bye.Code), bye.Reason
		}
		if err != nil {
			c.t.Fatalf("the server left without a close frame: %v", err)
		}
	}
}

// knock is a connect in today's dialect with a token.
func knock(token string) string {
	return `{"type":"connect","role":"recvonly","channel_id":"room","metadata":{"access_token":"` + token + `"}}`
}
