package webhooks_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// asking is webhooks without a database that may reach loopback: enough to ask.
func asking(log io.Writer) *webhooks.Webhooks { return askingFor(0, log) }

// askingFor is asking with another time than 5 s.
func askingFor(limit time.Duration, log io.Writer) *webhooks.Webhooks {
	return webhooks.New(nil, nil, webhooks.Config{AuthTimeout: limit, EgressAllow: []netip.Prefix{loopback}, Version: "hibari 9", NodeName: "nest", Log: slog.New(slog.NewTextHandler(log, nil))})
}

// arrival is a client that shows a token.
func arrival(t tenant.ID) tenant.Arrival {
	id := tenant.NewID()
	return tenant.Arrival{
		Opening: tenant.Opening{ConnectionID: id, Tenant: t, Channel: "room", Role: tenant.SendOnly, ClientID: "alice", Protocol: "sora",
			Metadata: json.RawMessage(`{"of":"token"}`)},
		AccessToken: "the.access.token", Said: json.RawMessage(`{"access_token":"the.access.token","age":7}`),
		Client: "Sora JavaScript SDK 2026.1.0", Environment: "Mozilla/5.0", Libwebrtc: "Shiguredo-Build M140",
		Wish: tenant.Grant{Audio: new(true), AudioCodec: "OPUS", Video: new(false), VideoCodec: "VP9", VideoBitRate: 500, BundleID: "b",
			Simulcast: new(true), DataChannels: []tenant.DataChannel{{Label: "#a", Direction: tenant.SendRecv}}},
		Counts: tenant.Counts{Connections: 3, SendOnly: 1, RecvOnly: 2},
	}
}

// The server is told all that Sora tells, and what the Event API of 2015 told,
// signed, and its settings are read.
func TestAuthWebhook(t *testing.T) {
	server := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, _ received) {
		rw.Header().Set("Content-Type", "application/json")
		io.WriteString(rw, `{"allowed":true,"video_bit_rate":300,"simulcast":false,"metadata":"hi","something":"else"}`)
	})
	var log bytes.Buffer
	hooks, a := asking(&log), arrival("ten_A")
	secret := tenant.NewWebhookSecret()
	grant, err := hooks.Authorize(t.Context(), tenant.AuthWebhook{URL: server.URL + "/may?they=1", Secret: secret}, a)
	if err != nil {
		t.Fatal(err)
	}
	if want := (tenant.Grant{VideoBitRate: 300, Simulcast: new(false), Metadata: json.RawMessage(`"hi"`)}); !reflect.DeepEqual(grant, want) {
		t.Errorf("granted %+v, want %+v", grant, want)
	}
	asked := server.got()[0]
	verify(t, secret, asked)
	var body map[string]any
	if err := json.Unmarshal([]byte(asked.body), &body); err != nil {
		t.Fatal(err)
	}
	id, at := body["id"].(string), body["timestamp"].(string)
	delete(body, "id")
	delete(body, "timestamp")
	if when, err := time.Parse("2006-01-02T15:04:05.000000Z", at); len(id) != 26 || err != nil || time.Since(when).Abs() > time.Minute {
		t.Errorf("id %q, timestamp %q", id, at)
	}
	said := map[string]any{"access_token": "the.access.token", "age": 7.0}
	want := map[string]any{
		"tenant_id": "ten_A", "version": "hibari 9", "label": "Hibari", "node_name": "nest", "role": "sendonly", "channelId": "room", "channel_id": "room",
		"clientId": a.ConnectionID, "connection_id": a.ConnectionID, "client_id": "alice", "bundle_id": "b",
		"accessToken": "the.access.token", "connected": 3.0, "metadata": said, "auth_metadata": said, "token_metadata": map[string]any{"of": "token"},
		"audio": true, "audio_codec_type": "OPUS", "video": false, "video_codec_type": "VP9", "video_bit_rate": 500.0,
		"multistream": true, "simulcast": true, "spotlight": false, "data_channel_signaling": false, "ignore_disconnect_websocket": false,
		"data_channels": []any{map[string]any{"label": "#a", "direction": "sendrecv", "ordered": true, "compress": false}},
		"whip":          false, "whep": false, "ayame": false, "e2ee": false,
		"sora_client": map[string]any{"raw": "Sora JavaScript SDK 2026.1.0", "environment": "Mozilla/5.0", "type": "Sora JavaScript SDK",
			"version": "2026.1.0", "libwebrtc": "Shiguredo-Build M140"},
		"channel_connections": 3.0, "channel_sendrecv_connections": 0.0, "channel_sendonly_connections": 1.0, "channel_recvonly_connections": 2.0,
	}
	if !reflect.DeepEqual(body, want) {
		t.Errorf("asked with\n%v\nwant\n%v", body, want)
	}
	if asked.header.Get("sora-connection-id") != a.ConnectionID || asked.header.Get("Content-Type") != "application/json" || asked.header.Get("webhook-id") != id {
		t.Errorf("headers %v", asked.header)
	}
	for _, secret := range []string{secret, "access.token", "they=1"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %q: %s", secret, &log)
		}
	}
	if !strings.Contains(log.String(), "outcome=allowed") || !strings.Contains(log.String(), "took=") || !strings.Contains(log.String(), a.ConnectionID) {
		t.Errorf("logged %q", &log)
	}
	wantDecided(t, hooks, map[webhooks.AuthDecision]int64{webhooks.AuthAllowed: 1})
}

// A client of 2015 is told of in its words, and one that said nothing has the
// token's metadata.
func TestAuthWebhookOf2015(t *testing.T) {
	server := newReceiver(t, status(http.StatusOK))
	a := arrival("ten_A")
	a.Protocol, a.Said, a.Wish = "sora2015", nil, tenant.Grant{}
	if _, err := asking(t.Output()).Authorize(t.Context(), tenant.AuthWebhook{URL: server.URL, Secret: tenant.NewWebhookSecret()}, a); err != nil {
		t.Fatal(err)
	}
	var body map[string]any
	if err := json.Unmarshal([]byte(server.got()[0].body), &body); err != nil {
		t.Fatal(err)
	}
	if body["role"] != "upstream" || body["bundle_id"] != a.ConnectionID || body["auth_metadata"] != nil || !reflect.DeepEqual(body["metadata"], map[string]any{"of": "token"}) {
		t.Errorf("asked with %v", body)
	}
}

// Only 200 lets a client in, and only an answer that makes sense; the client
// learns the server's reason, and nothing about the server.
func TestAuthWebhookAnswers(t *testing.T) {
	const kind = "application/json"
	for _, test := range []struct {
		name, kind, body string
		status           int
		code             tenant.Code           // "": let in
		decision         webhooks.AuthDecision // "": allowed, or rejected
		word, internal   string
	}{
		{name: "bare", status: 200},
		{name: "in words", status: 200, kind: "text/plain", body: "OK"},
		{name: "an empty object", status: 200, kind: kind, body: `{}`},
		{name: "allowed", status: 200, kind: kind, body: `{"allowed":true,"reason":"unread"}`},
		{name: "an object of no type", status: 200, kind: "text/plain; charset=utf-8", body: ` {"allowed":false,"reason":"NO"}`, code: tenant.AuthRejected, word: "NO"},
		{name: "no", status: 200, kind: kind, body: `{"allowed":false,"reason":"INVALID-METADATA"}`, code: tenant.AuthRejected, word: "INVALID-METADATA"},
		{name: "no in Japanese, too long", status: 200, kind: kind, body: `{"allowed":false,"reason":"` + strings.Repeat("雲", 50) + `"}`, code: tenant.AuthRejected, word: strings.Repeat("雲", 41)},
		{name: "no, with line ends", status: 200, kind: kind, body: `{"allowed":false,"reason":"A\r\nB"}`, code: tenant.AuthRejected, word: "AB"},
		{name: "no without a reason", status: 200, kind: kind, body: `{"allowed":false}`, code: tenant.AuthRejected, internal: "without a reason"},
		{name: "201", status: 201, kind: kind, body: `{"allowed":true}`, code: tenant.AuthRejected, internal: "201 Created"},
		{name: "204", status: 204, code: tenant.AuthRejected, internal: "204"},
		{name: "302", status: 302, code: tenant.AuthRejected, internal: "302"},
		{name: "401", status: 401, kind: kind, body: `{"allowed":true}`, code: tenant.AuthRejected, internal: "401"},
		{name: "500", status: 500, code: tenant.AuthUnavailable, decision: webhooks.AuthOutOfReach, internal: "500"},
		{name: "503 with a yes", status: 503, kind: kind, body: `{"allowed":true}`, code: tenant.AuthUnavailable, decision: webhooks.AuthOutOfReach, internal: "503"},
		{name: "429", status: 429, code: tenant.AuthUnavailable, decision: webhooks.AuthOutOfReach, internal: "429"},
		{name: "404", status: 404, kind: kind, body: `{"allowed":true}`, code: tenant.AuthRejected, internal: "404"},
		{name: "broken JSON", status: 200, kind: kind, body: `{"allowed":`, code: tenant.AuthUnavailable, decision: webhooks.AuthBadResponse, internal: "no JSON object"},
		{name: "a list", status: 200, kind: kind, body: `[]`, code: tenant.AuthUnavailable, decision: webhooks.AuthBadResponse, internal: "no JSON object"},
		{name: "a JSON string", status: 200, kind: "application/problem+json", body: `"no"`, code: tenant.AuthUnavailable, decision: webhooks.AuthBadResponse, internal: "no JSON object"},
		{name: "allowed in words", status: 200, kind: kind, body: `{"allowed":"false"}`, code: tenant.AuthUnavailable, decision: webhooks.AuthBadResponse, internal: "allowed must be true or false"},
		{name: "a reason that is none", status: 200, kind: kind, body: `{"allowed":false,"reason":1}`, code: tenant.AuthUnavailable, decision: webhooks.AuthBadResponse, internal: "reason must be a string"},
		{name: "a wrong grant", status: 200, kind: kind, body: `{"allowed":true,"video_bit_rate":0}`, code: tenant.AuthUnavailable, decision: webhooks.AuthBadResponse, internal: "video_bit_rate must be"},
		{name: "endless", status: 200, kind: kind, body: `{"metadata":"` + strings.Repeat("x", 64<<10) + `"}`, code: tenant.AuthUnavailable, decision: webhooks.AuthBadResponse, internal: "64 KiB"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := newReceiver(t, func(rw http.ResponseWriter, _ *http.Request, _ received) {
				if test.kind != "" {
					rw.Header().Set("Content-Type", test.kind)
				}
				rw.WriteHeader(test.status)
				io.WriteString(rw, test.body)
			})
			hooks := asking(t.Output())
			_, err := hooks.Authorize(t.Context(), tenant.AuthWebhook{URL: server.URL, Secret: tenant.NewWebhookSecret()}, arrival("ten_A"))
			if test.code == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			refusal := refusalOf(t, err, test.code)
			if refusal.Word != test.word || !strings.Contains(refusal.Internal, test.internal) {
				t.Errorf("refused with %+v", refusal)
			}
			decision := test.decision
			if decision == "" {
				decision = webhooks.AuthSaidNo
			}
			wantDecided(t, hooks, map[webhooks.AuthDecision]int64{decision: 1})
		})
	}
}

// What cannot be asked lets nobody in, and the client is not told why.
func TestAuthWebhookOutOfReach(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	plain := newReceiver(t, nil)
	for _, test := range []struct{ name, url, secret, internal string }{
		{"nobody listens", "http://" + closed, tenant.NewWebhookSecret(), "connection refused"},
		{"a private address", "http://10.0.0.1/", tenant.NewWebhookSecret(), "not public"},
		{"no such host", "http://there-is-no-such-host.invalid/", tenant.NewWebhookSecret(), "host name"},
		{"no TLS", "https" + strings.TrimPrefix(plain.URL, "http"), tenant.NewWebhookSecret(), "TLS"},
		{"no secret", plain.URL, "", "cannot be opened"},
		{"a broken secret", plain.URL, "whsec_!", "secret"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := asking(t.Output()).Authorize(t.Context(), tenant.AuthWebhook{URL: test.url, Secret: test.secret}, arrival("ten_A"))
			refusal := refusalOf(t, err, tenant.AuthUnavailable)
			if !strings.Contains(refusal.Internal, test.internal) || strings.Contains(refusal.ForClient(), test.internal) {
				t.Errorf("refused with %+v", refusal)
			}
		})
	}
	if n := len(plain.got()); n != 0 {
		t.Errorf("%d unsigned requests", n)
	}
}

// A server that hangs costs its own tenant's clients 5 s, with so many questions
// open at once, and other tenants nothing.
func TestAuthWebhookHangs(t *testing.T) {
	release := make(chan struct{})
	var open, most atomic.Int64
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		n := open.Add(1)
		defer open.Add(-1)
		for {
			seen := most.Load()
			if n <= seen || most.CompareAndSwap(seen, n) {
				break
			}
		}
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer hanging.Close()
	defer close(release)
	quick := newReceiver(t, status(http.StatusOK))
	hooks := asking(t.Output())
	var crowd sync.WaitGroup
	began := time.Now()
	for range 300 {
		crowd.Go(func() {
			_, err := hooks.Authorize(t.Context(), tenant.AuthWebhook{URL: hanging.URL, Secret: tenant.NewWebhookSecret()}, arrival("ten_A"))
			// Who has waited for a turn is not let into a server that is dead.
			var refusal *tenant.Refusal
			if !errors.As(err, &refusal) || refusal.Code != tenant.AuthTimeout && refusal.Code != tenant.AuthUnavailable {
				t.Errorf("%v, want auth_timeout", err)
			}
		})
	}
	eventually(t, "the questions", func() bool { return open.Load() == 100 })
	for range 50 {
		if _, err := hooks.Authorize(t.Context(), tenant.AuthWebhook{URL: quick.URL, Secret: tenant.NewWebhookSecret()}, arrival("ten_B")); err != nil {
			t.Error(err)
		}
	}
	// Before any is given up, which the server learns of only later.
	if n := most.Load(); n > 100 {
		t.Errorf("%d questions at once", n)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the other tenant's took %s", took)
	}
	crowd.Wait()
	if took := time.Since(began); took < 5*time.Second || took > 8*time.Second {
		t.Errorf("they waited %s, want 5 s", took)
	}
	s := hooks.Stats()
	count := func(d webhooks.AuthDecision) int64 { return s.Auth[slices.Index(webhooks.AuthDecisions[:], d)] }
	if count(webhooks.AuthTimedOut) < 100 || count(webhooks.AuthTimedOut)+count(webhooks.AuthBreakerOpen) != 300 || count(webhooks.AuthAllowed) != 50 || s.AuthOpen != 1 {
		t.Errorf("counted %+v", s)
	}
	// From now on it costs its own tenant's clients nothing, either.
	began = time.Now()
	_, err := hooks.Authorize(t.Context(), tenant.AuthWebhook{URL: hanging.URL, Secret: tenant.NewWebhookSecret()}, arrival("ten_A"))
	if refusalOf(t, err, tenant.AuthUnavailable); time.Since(began) > time.Second {
		t.Errorf("the next waited %s", time.Since(began))
	}
}

// FuzzAuthAnswer has any text answer with 200: the client is let in, or refused
// with a code of its own.
func FuzzAuthAnswer(f *testing.F) {
	f.Add("application/json", []byte(`{"allowed":false,"reason":"NO"}`))
	f.Add("application/json", []byte(`{"audio":{"bit_rate":7},"data_channels":[{"label":"#a"}]}`))
	f.Add("text/html", []byte(`<html>`))
	f.Add("application/x+json", []byte(`[`))
	f.Add("application/json", []byte(`{"allowed":true,"metadata":{"a":[1e400]},"simulcast_encodings":[{"rid":"r0"},{"rid":"r0"}]}`))
	f.Add("application/json; charset=utf-16", []byte("\xff\xfe{\x00}\x00"))
	f.Add("application/json", []byte(`{"allowed":false,"allowed":true,"reason":"\ud800"}`))
	f.Add("text/plain", []byte(`{"allowed":null,"client_id":null,"forwarding_filter":{"action":"allow"}}`))
	var answer atomic.Pointer[[2]string]
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header()["Content-Type"] = []string{strings.Map(func(r rune) rune {
			if r < ' ' || r > '~' {
				return -1
			}
			return r
		}, answer.Load()[0])}
		io.WriteString(rw, answer.Load()[1])
	}))
	f.Cleanup(server.Close)
	hooks := asking(io.Discard)
	secret := tenant.NewWebhookSecret()
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		answer.Store(&[2]string{kind, string(body)})
		_, err := hooks.Authorize(t.Context(), tenant.AuthWebhook{URL: server.URL, Secret: secret}, arrival("ten_A"))
		if err == nil {
			return
		}
		var refusal *tenant.Refusal
		if !errors.As(err, &refusal) || refusal.Code != tenant.AuthRejected && refusal.Code != tenant.AuthUnavailable {
			t.Fatalf("%q: %v", body, err)
		}
		if len(refusal.Word) > 123 || refusal.ForClient() == "" {
			t.Errorf("%q: refused with %+v", body, refusal)
		}
	})
}

// wantDecided compares what was counted, by decision; those that are not named are 0.
func wantDecided(t *testing.T, hooks *webhooks.Webhooks, want map[webhooks.AuthDecision]int64) {
	t.Helper()
	for i, d := range webhooks.AuthDecisions {
		if n := hooks.Stats().Auth[i]; n != want[d] {
			t.Errorf("%s counts %d, want %d", d, n, want[d])
		}
	}
}

// refusalOf wants a refusal of this code that tells the client something.
func refusalOf(t *testing.T, err error, code tenant.Code) *tenant.Refusal {
	t.Helper()
	var refusal *tenant.Refusal
	if !errors.As(err, &refusal) || refusal.Code != code || refusal.Detail == "" {
		t.Fatal(fmt.Errorf("%w, want %s", err, code))
	}
	return refusal
}
