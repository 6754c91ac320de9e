package webhooks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// streams serves the streams of a tenant, as /stream does after the API key.
func (w *world) streams(s tenant.Scope) string {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if err := w.hooks.Stream(rw, r, s, nil); err != nil {
			var refusal *tenant.Refusal
			if !errors.As(err, &refusal) {
				w.t.Errorf("no stream: %v", err)
				return
			}
			status := map[tenant.Code]int{tenant.BadMessage: 400, tenant.RateLimited: 429, tenant.Draining: 503}[refusal.Code]
			http.Error(rw, err.Error(), status)
		}
	}))
	w.t.Cleanup(server.Close)
	return server.URL
}

// client is a tenant's server that listens to a stream.
type client struct {
	t    *testing.T
	conn *websocket.Conn
}

func dial(t *testing.T, url string, options *websocket.DialOptions) *client {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), url, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.CloseNow() })
	conn.SetReadLimit(1 << 20)
	return &client{t, conn}
}

// next reads one frame.
func (c *client) next() ([]byte, error) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 20*time.Second)
	defer cancel()
	_, frame, err := c.conn.Read(ctx)
	return frame, err
}

// event reads the next frame that is no heartbeat, as an envelope.
func (c *client) event() tenant.Event {
	c.t.Helper()
	for {
		frame, err := c.next()
		if err != nil {
			c.t.Fatal(err)
		}
		var e tenant.Event
		if err := json.Unmarshal(frame, &e); err != nil {
			c.t.Fatalf("%v: %s", err, frame)
		}
		if e.Type != "heartbeat" {
			return e
		}
	}
}

// closed reads on until the socket is closed, and returns with what.
func (c *client) closed() websocket.CloseError {
	c.t.Helper()
	for {
		if _, err := c.next(); err != nil {
			var end websocket.CloseError
			if !errors.As(err, &end) {
				c.t.Fatalf("ended without a close frame: %v", err)
			}
			return end
		}
	}
}

func TestStreamFromNow(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s, other := w.tenant(), w.tenant()
	w.tell(s, event(tenant.ConnectionCreated, "before"))
	rec := newReceiver(t, nil)
	w.endpoint(s, rec.URL)
	c := dial(t, w.streams(s), nil)
	if hello := c.event(); hello.Type != "hello" || hello.Seq != 1 {
		t.Fatalf("first frame is %+v", hello)
	}
	w.tell(other, event(tenant.ConnectionCreated, "foreign"))
	began := time.Now()
	w.tell(s, event(tenant.ConnectionDestroyed, "after"))
	frame, err := c.next()
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 700*time.Millisecond {
		t.Errorf("took %v though woken", took)
	}
	if got := rec.wait(t, 1)[0]; got.body != string(frame) || got.event.Seq != 2 || got.event.ConnectionID != "after" {
		t.Errorf("the stream says %s, the webhook %s", frame, got.body)
	}
}

// TestStreamResumesExactly: a client that comes back with its last seq, again
// and again, sees every event once while others are being written.
func TestStreamResumesExactly(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	url := w.streams(s)
	const total = 600
	var writers sync.WaitGroup
	for range 3 {
		writers.Go(func() {
			for range total / 3 / 2 {
				w.tell(s, event(tenant.ConnectionCreated, "C"), event(tenant.ConnectionDestroyed, "C"))
			}
		})
	}
	after := int64(0)
	for after < total {
		c := dial(t, fmt.Sprintf("%s/?after=%d", url, after), nil)
		if hello := c.event(); hello.Seq != after {
			t.Fatalf("hello at %d, want %d", hello.Seq, after)
		}
		for range min(70, total-after) {
			e := c.event()
			if e.Seq != after+1 {
				t.Fatalf("seq %d after %d", e.Seq, after)
			}
			after = e.Seq
		}
		c.conn.CloseNow()
	}
	writers.Wait()
}

func TestStreamFindsEventsOfOtherProcesses(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	c := dial(t, w.streams(s), nil)
	c.event()
	// Another process writes and cannot wake us.
	elsewhere := webhooks.New(w.pool, w.store, webhooks.Config{})
	e := event(tenant.ConnectionCreated, "C")
	e.Tenant = s.Tenant()
	if err := pgx.BeginFunc(t.Context(), w.pool, func(tx pgx.Tx) error {
		return elsewhere.Append(t.Context(), tx, e)
	}); err != nil {
		t.Fatal(err)
	}
	if got := c.event(); got.Seq != 1 {
		t.Errorf("got %+v", got)
	}
}

func TestStreamOf2015(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	w.connection(s, "C1")
	w.connection(s, "C2")
	c := dial(t, w.streams(s)+"/?format=sora2015", nil)
	at := time.Date(2015, 11, 4, 1, 2, 3, 4_000_000, time.UTC)
	tell := func(kind tenant.EventType, connection, data string) {
		w.tell(s, tenant.Event{Type: kind, Channel: "sora", ConnectionID: connection, Timestamp: at, Data: json.RawMessage(data)})
	}
	// The dialect has no hello, so nothing tells when the stream stands: pings
	// are repeated until the first frame has come.
	up := make(chan struct{})
	var knocking sync.WaitGroup
	knocking.Go(func() {
		for {
			tell(tenant.ConnectionConnecting, "C0", `{"role":"sendrecv"}`)
			select {
			case <-up:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	first, err := c.next()
	if err != nil {
		t.Fatal(err)
	}
	close(up)
	knocking.Wait()
	if want := `{"channelId":"sora","clientId":"C0","type":"connecting","datetime":"2015-11-04T01:02:03.004Z","role":"sendrecv","connected":0,"minutes":0}`; string(first) != want {
		t.Errorf("got  %s\nwant %s", first, want)
	}
	tell(tenant.ChannelStarted, "", `{}`)
	tell(tenant.ConnectionConnecting, "C1", `{"role":"sendonly","channel_connections":1,"minutes":0}`)
	tell(tenant.ConnectionCreated, "C1", `{"role":"sendonly","channel_connections":1}`)
	tell(tenant.ConnectionUpdated, "C1", `{"role":"sendonly","channel_connections":1,"minutes":7}`)
	tell(tenant.ConnectionDestroyed, "C1", `{"role":"sendonly","channel_connections":0,"minutes":7,"reason":"api"}`)
	tell(tenant.ConnectionRejected, "refused at the door", `{"role":"recvonly","reason":"tenant_full"}`)
	tell(tenant.ConnectionConnecting, "C2", `{"role":"recvonly","channel_connections":2}`)
	tell(tenant.ConnectionRejected, "C2", `{"role":"recvonly","channel_connections":1,"reason":"setup_timeout"}`)
	for _, want := range []string{
		`"clientId":"C1","type":"connecting","datetime":"2015-11-04T01:02:03.004Z","role":"upstream","connected":1,"minutes":0}`,
		`"clientId":"C1","type":"connected","datetime":"2015-11-04T01:02:03.004Z","role":"upstream","connected":1,"minutes":0}`,
		`"clientId":"C1","type":"elapsedTime","datetime":"2015-11-04T01:02:03.004Z","role":"upstream","connected":1,"minutes":7}`,
		`"clientId":"C1","type":"disconnected","datetime":"2015-11-04T01:02:03.004Z","role":"upstream","connected":0,"minutes":7}`,
		`"clientId":"C2","type":"connecting","datetime":"2015-11-04T01:02:03.004Z","role":"downstream","connected":2,"minutes":0}`,
		`"clientId":"C2","type":"disconnected","datetime":"2015-11-04T01:02:03.004Z","role":"downstream","connected":1,"minutes":0}`,
	} {
		frame, err := c.next()
		for err == nil && strings.Contains(string(frame), `"C0"`) {
			frame, err = c.next()
		}
		if err != nil {
			t.Fatal(err)
		}
		if want = `{"channelId":"sora",` + want; string(frame) != want {
			t.Errorf("got  %s\nwant %s", frame, want)
		}
	}
}

func TestStreamRefusesWhatItCannotGiveExactly(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	url := w.streams(s)
	for range 5 {
		w.tell(s, event(tenant.ConnectionCreated, "C"))
	}
	w.exec(`delete from event where seq <= 2`)
	if end := dial(t, url+"/?after=1", nil).closed(); end.Code != 4410 {
		t.Errorf("after a deleted event: %v", end)
	}
	if end := dial(t, url+"/?after=6", nil).closed(); end.Code != websocket.StatusPolicyViolation {
		t.Errorf("after an event to come: %v", end)
	}
	c := dial(t, url+"/?after=2", nil)
	c.event()
	if e := c.event(); e.Seq != 3 {
		t.Errorf("after=2 begins with %d", e.Seq)
	}
	w.exec(`delete from event`)
	if end := dial(t, url+"/?after=2", nil).closed(); end.Code != 4410 {
		t.Errorf("with nothing left: %v", end)
	}
	for _, query := range []string{"after=-1", "after=x", "after=99999999999999999999", "after=1.0", "format=xml"} {
		answer, err := http.Get(url + "/?" + query)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %s", query, answer.Status)
		}
	}
}

func TestStreamEndsWithTheProcess(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	c := dial(t, w.streams(s), nil)
	c.event()
	go w.stop()
	if end := c.closed(); end.Code != websocket.StatusGoingAway {
		t.Errorf("closed with %v", end)
	}
}

// TestSlowConsumer: a client that does not read for longer than our patience
// is told where it stands, exactly, and others notice nothing.
func TestSlowConsumer(t *testing.T) {
	w := newWorld(t, webhooks.Config{Patience: 300 * time.Millisecond})
	s := w.tenant()
	url := w.streams(s)
	slow := dial(t, url, nil)
	hello := slow.event()
	fast := dial(t, url, nil)
	fast.event()
	big := event(tenant.ConnectionCreated, "C")
	big.Data = json.RawMessage(`{"metadata":"` + strings.Repeat("x", 200_000) + `"}`)
	const events = 80 // 16 MB: more than the sockets' buffers hold
	for i := range events {
		w.tell(s, big)
		if e := fast.event(); e.Seq != int64(i+1) {
			t.Fatalf("the fast one got %d", e.Seq)
		}
	}
	// Patience is counted by the server's clock; the socket is not touched until it has surely run out.
	<-time.After(time.Second)
	last := hello.Seq
	for {
		frame, err := slow.next()
		if err != nil {
			var end websocket.CloseError
			if !errors.As(err, &end) || end.Code != 4408 || end.Reason != fmt.Sprintf("slow_consumer: last seq %d; reconnect with after=%d", last, last) {
				t.Errorf("after seq %d: %v", last, err)
			}
			break
		}
		var e tenant.Event // a heartbeat has its place, too
		if err := json.Unmarshal(frame, &e); err != nil {
			t.Fatal(err)
		}
		last = e.Seq
	}
	if last == events {
		t.Error("the slow one got everything: the test did not stall it")
	}
	eventually(t, "the slow stream to be counted", func() bool { return w.hooks.Stats().SlowStreams == 1 })
	again := dial(t, fmt.Sprintf("%s/?after=%d", url, last), nil)
	again.event()
	if e := again.event(); e.Seq != last+1 {
		t.Errorf("resumed with %d after %d", e.Seq, last)
	}
}

func TestFeedEndsWithItsContext(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	feed, err := w.hooks.Feed(t.Context(), s, webhooks.FromNow)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := feed.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	w.tell(s, event(tenant.ConnectionCreated, "C"))
	events, err := feed.Next(t.Context())
	if err != nil || len(events) != 1 || feed.After() != 1 {
		t.Errorf("then %d events, %v", len(events), err)
	}
}

// A tenant may have so many streams at a node; the next is told to wait, and another
// tenant's is not. Each stream that ends makes room.
func TestStreamsOfATenantEnd(t *testing.T) {
	w := newWorld(t, webhooks.Config{Streams: 16})
	s, other := w.tenant(), w.tenant()
	url := w.streams(s)
	var first *client
	for range 16 {
		c := dial(t, url, nil)
		c.event()
		if first == nil {
			first = c
		}
	}
	_, answer, err := websocket.Dial(t.Context(), url, nil)
	if err == nil || answer == nil || answer.StatusCode != http.StatusTooManyRequests {
		t.Fatalf("stream 17: %v, %+v", err, answer)
	}
	if n := w.hooks.Stats().StreamsRefused; n != 1 {
		t.Errorf("counted %d", n)
	}
	dial(t, w.streams(other), nil).event()
	// All of them hear of an event, though few may ask the database at once.
	w.tell(s, event(tenant.ConnectionCreated, "told to all"))
	if e := first.event(); e.ConnectionID != "told to all" {
		t.Errorf("heard %+v", e)
	}
	first.conn.Close(websocket.StatusNormalClosure, "")
	deadline := time.Now().Add(20 * time.Second)
	for {
		conn, _, err := websocket.Dial(t.Context(), url, nil)
		if err == nil {
			conn.CloseNow()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no room after one has ended: %v", err)
		}
	}
}
