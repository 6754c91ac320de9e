package webhooks_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// ask is one question about a client of a tenant.
func ask(t *testing.T, hooks *webhooks.Webhooks, id tenant.ID, url string) (*tenant.Refusal, time.Duration) {
	t.Helper()
	began := time.Now()
	_, err := hooks.Authorize(t.Context(), tenant.AuthWebhook{URL: url, Secret: secretForAll}, arrival(id))
	took := time.Since(began)
	if err == nil {
		return nil, took
	}
	var refusal *tenant.Refusal
	if !errors.As(err, &refusal) {
		t.Errorf("%v is no refusal", err)
		return tenant.Refuse(tenant.Unavailable, "none"), took
	}
	return refusal, took
}

var secretForAll = tenant.NewWebhookSecret()

func decisions(hooks *webhooks.Webhooks, d webhooks.AuthDecision) int64 {
	return hooks.Stats().Auth[slices.Index(webhooks.AuthDecisions[:], d)]
}

// Whatever does harm to a delivery lets nobody in, within the time there is, by a code and in words
// that only the tenant is told.
func TestHostileAuthServers(t *testing.T) {
	codes := map[string]tenant.Code{"timeout": tenant.AuthTimeout}
	decided := map[string]webhooks.AuthDecision{"timeout": webhooks.AuthTimedOut, "too_large": webhooks.AuthBadResponse}
	list := receivers(t)
	type answer struct {
		hooks   *webhooks.Webhooks
		refusal *tenant.Refusal
		took    time.Duration
	}
	answers := make([]answer, len(list))
	var all sync.WaitGroup
	for i, r := range list {
		scheme := "http://"
		if r.tls {
			scheme = "https://"
		}
		at := scheme + startTCP(t, r.serve) + "/auth"
		all.Go(func() {
			a := &answers[i]
			a.hooks = askingFor(time.Second, io.Discard)
			a.refusal, a.took = ask(t, a.hooks, "ten_A", at)
		})
	}
	all.Wait()
	for i, r := range list {
		t.Run(r.name, func(t *testing.T) {
			hooks, refusal, took := answers[i].hooks, answers[i].refusal, answers[i].took
			if took > 2*time.Second {
				t.Errorf("it took %s", took)
			}
			code, decision := codes[r.class], decided[r.class]
			switch {
			case r.name == "lies about JSON":
				code, decision = tenant.AuthUnavailable, webhooks.AuthBadResponse
			case r.name == "a handshake that hangs": // no connection came about
				code, decision = tenant.AuthUnavailable, webhooks.AuthOutOfReach
			case r.name == "switches protocols":
				code, decision = tenant.AuthRejected, webhooks.AuthSaidNo
			case r.class == "":
				if refusal != nil {
					t.Errorf("refused: %+v", refusal)
				}
				wantDecided(t, hooks, map[webhooks.AuthDecision]int64{webhooks.AuthAllowed: 1})
				return
			}
			if code == "" {
				code = tenant.AuthUnavailable
			}
			if decision == "" {
				decision = webhooks.AuthOutOfReach
			}
			if refusal == nil || refusal.Code != code || refusal.Internal == "" || strings.Contains(refusal.ForClient(), refusal.Internal) {
				t.Errorf("refused with %+v, want %s", refusal, code)
			}
			wantDecided(t, hooks, map[webhooks.AuthDecision]int64{decision: 1})
		})
	}
}

// Where no connection comes about it is tried once more, and no more often; a request
// that was written is not sent again, but for one over a kept connection that was
// closed meanwhile. The second has the same id.
func TestAuthWebhookRetries(t *testing.T) {
	t.Run("closed before the request", func(t *testing.T) {
		var came atomic.Int32
		at := startTCP(t, func(c net.Conn) { came.Add(1); readRequest(c) })
		if r, _ := ask(t, asking(t.Output()), "ten_A", "http://"+at+"/"); r == nil || r.Code != tenant.AuthUnavailable || came.Load() != 1 {
			t.Errorf("%+v after %d requests", r, came.Load())
		}
	})
	t.Run("a handshake that fails at first", func(t *testing.T) {
		var came atomic.Int32
		at := startTCP(t, func(c net.Conn) { came.Add(1); c.Read(make([]byte, 16<<10)) })
		if r, _ := ask(t, asking(t.Output()), "ten_A", "https://"+at+"/"); r == nil || r.Code != tenant.AuthUnavailable || came.Load() != 2 {
			t.Errorf("%+v after %d connections", r, came.Load())
		}
	})
	t.Run("a kept connection", func(t *testing.T) {
		var mu sync.Mutex
		var ids []string
		var first atomic.Bool
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			ids = append(ids, r.Header.Get("webhook-id"))
			n := len(ids)
			mu.Unlock()
			if n == 2 && first.CompareAndSwap(false, true) { // it has the request, and goes
				c, _, err := w.(http.Hijacker).Hijack()
				if err == nil {
					c.Close()
				}
			}
		}))
		server.Start()
		t.Cleanup(server.Close)
		hooks := asking(t.Output())
		for range 2 {
			if r, _ := ask(t, hooks, "ten_A", server.URL); r != nil {
				t.Errorf("refused: %+v", r)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		if len(ids) != 3 || ids[1] != ids[2] || ids[0] == ids[1] {
			t.Errorf("asked with %v", ids)
		}
	})
}

// A server that is dead is taken for that after five questions: its clients are
// refused at once, and it is asked once a second until it answers. Other tenants
// notice nothing, nor does it when its URL changes.
func TestAuthWebhookBreaker(t *testing.T) {
	var well atomic.Bool
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		io.Copy(io.Discard, r.Body)
		if !well.Load() {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(server.Close)
	hooks := asking(t.Output())
	for range webhooks.CircuitFailures {
		if r, _ := ask(t, hooks, "ten_A", server.URL); r == nil || r.Code != tenant.AuthUnavailable {
			t.Fatalf("refused with %+v", r)
		}
	}
	began := time.Now()
	for range 200 {
		if r, _ := ask(t, hooks, "ten_A", server.URL); r == nil || r.Code != tenant.AuthUnavailable || !strings.Contains(r.Internal, "once a second") {
			t.Fatalf("refused with %+v", r)
		}
	}
	took := time.Since(began)
	if n, most := asked.Load(), int32(webhooks.CircuitFailures+1+took/time.Second); n > most || took > 2*time.Second {
		t.Errorf("it was asked %d times in %s", n, took)
	}
	if s := hooks.Stats(); s.AuthOpen != 1 || decisions(hooks, webhooks.AuthBreakerOpen) < 198 {
		t.Errorf("counted %+v", s)
	}
	if r, _ := ask(t, hooks, "ten_B", server.URL); r == nil || strings.Contains(r.Internal, "once a second") {
		t.Errorf("another tenant with the same server: %+v", r)
	}
	well.Store(true)
	if r, _ := ask(t, hooks, "ten_A", server.URL+"/new"); r != nil {
		t.Errorf("with another URL: %+v", r)
	}
	eventually(t, "it is asked again", func() bool { r, _ := ask(t, hooks, "ten_A", server.URL); return r == nil })
	for range 50 {
		if r, _ := ask(t, hooks, "ten_A", server.URL); r != nil {
			t.Errorf("when it is well: %+v", r)
		}
	}
	if s := hooks.Stats(); s.AuthOpen != 0 {
		t.Errorf("%d circuits are open", s.AuthOpen)
	}
}

// A rejection is an answer: however many there are, the server goes on being asked.
func TestAuthWebhookThatRejectsAll(t *testing.T) {
	server := newReceiver(t, status(http.StatusForbidden))
	hooks := asking(t.Output())
	for range 3 * webhooks.CircuitFailures {
		if r, _ := ask(t, hooks, "ten_A", server.URL); r == nil || r.Code != tenant.AuthRejected {
			t.Fatalf("refused with %+v", r)
		}
	}
	if n := len(server.got()); n != 3*webhooks.CircuitFailures {
		t.Errorf("it was asked %d times", n)
	}
}

// While one tenant's server hangs with all its clients, another tenant's clients come
// in as quickly as before.
func TestAuthWebhookOfANeighbour(t *testing.T) {
	hanging := "http://" + startTCP(t, hang)
	quick := newReceiver(t, status(http.StatusOK))
	hooks := askingFor(time.Second, io.Discard)
	measure := func() time.Duration {
		var all []time.Duration
		for range 200 {
			r, took := ask(t, hooks, "ten_B", quick.URL)
			if r != nil {
				t.Fatalf("refused: %+v", r)
			}
			all = append(all, took)
		}
		slices.Sort(all)
		return all[len(all)*95/100]
	}
	before := measure()
	var crowd sync.WaitGroup
	for range 500 {
		crowd.Go(func() {
			if r, _ := ask(t, hooks, "ten_A", hanging); r == nil {
				t.Error("a client came in")
			}
		})
	}
	during := measure()
	if during > 10*before+50*time.Millisecond {
		t.Errorf("p95 was %s, and is %s", before, during)
	}
	crowd.Wait()
}

// What the log keeps of an answer has neither the client's token nor metadata.
func TestAnswerHead(t *testing.T) {
	const token = "eyJhbGciOiJIUzI1NiJ9.secret.part"
	for body, want := range map[string]string{
		"":                                   "",
		"OK":                                 "OK",
		"no " + token + " here":              "no [not kept] here",
		`{"allowed":true,"metadata":"mine"}`: `{"allowed":true,"metadata":"[not kept]"}`,
		`{"event_metadata":{"a":1},"x":["` + token + `"],"signaling_notify_metadata_ext":[1]}`: `{"event_metadata":"[not kept]","signaling_notify_metadata_ext":"[not kept]","x":["[not kept]"]}`,
		`{"a":{"Metadata":1,"api_token":"y","password":"z"}}`:                                  `{"a":{"Metadata":"[not kept]","api_token":"[not kept]","password":"[not kept]"}}`,
		`{"allowed":true,"metadata":{"x":"mine`:                                                `{"allowed":true,"[not kept]`,
		`[{"metadata":1}]`:                                                                     `[{"metadata":"[not kept]"}]`,
		"\x00a\xffb":                                                                           "ab",
		`{"n":12345678901234567890}`:                                                           `{"n":12345678901234567890}`,
	} {
		if got := webhooks.AnswerHead([]byte(body), token); got != want {
			t.Errorf("%s\nis kept as %q\nwant %q", body, got, want)
		}
	}
	if long := webhooks.AnswerHead([]byte(strings.Repeat("雲", 5000)), token); len(long) > 4096 || len(long) < 4090 {
		t.Errorf("%d bytes are kept", len(long))
	}
}

// FuzzAnswerHead has any text be an answer: what is kept is short, text that Postgres
// takes, and without the token.
func FuzzAnswerHead(f *testing.F) {
	f.Add([]byte(`{"metadata":"mine","x":"tokentoken"}`), "tokentoken")
	f.Add([]byte(`{"a":[[[[`), "12345678")
	f.Add([]byte("\xff\x00"), "")
	f.Fuzz(func(t *testing.T, body []byte, token string) {
		head := webhooks.AnswerHead(body, token)
		if len(head) > 4096 || strings.ContainsRune(head, 0) || strings.ToValidUTF8(head, "") != head {
			t.Errorf("%q is kept as %q", body, head)
		}
		plain := len(token) >= 8 && strings.Trim(token, "abcdefghijklmnopqrstuvwxyz0123456789.") == "" // as tokens are
		if plain && strings.Contains(head, token) {
			t.Errorf("%q is kept as %q", body, head)
		}
	})
}
