package webhooks_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// logged returns the newest entries of a tenant's log, once there are n.
func (w *world) logged(s tenant.Scope, n int) []webhooks.AuthAttempt {
	w.t.Helper()
	var list []webhooks.AuthAttempt
	eventually(w.t, fmt.Sprintf("%d entries of the log", n), func() bool {
		var err error
		if list, err = w.hooks.AuthAttempts(w.t.Context(), s, webhooks.AuthQuery{Limit: 1000}); err != nil {
			w.t.Fatal(err)
		}
		return len(list) >= n
	})
	return list
}

// Every question is in its tenant's log, and nobody else's: with what came of it, and
// neither token nor metadata, whatever the answer repeats.
func TestAuthLog(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s, other := w.tenant(), w.tenant()
	answer := newReceiver(t, func(rw http.ResponseWriter, r *http.Request, _ received) {
		switch r.URL.Path {
		case "/yes":
			rw.Header().Set("Content-Type", "application/json")
			io.WriteString(rw, `{"allowed":true,"metadata":{"secret":"of the client"},"client_id":"the.access.token"}`)
		case "/no":
			io.WriteString(rw, `{"allowed":false,"reason":"NO the.access.token"}`)
		case "/broken":
			io.WriteString(rw, `{"allowed":`)
		case "/down":
			rw.WriteHeader(http.StatusBadGateway)
			io.WriteString(rw, "<h1>Bad gateway</h1>")
		case "/forbidden":
			rw.WriteHeader(http.StatusForbidden)
		}
	})
	began := time.Now()
	for _, path := range []string{"/yes", "/no", "/broken", "/down", "/forbidden"} {
		w.hooks.Authorize(t.Context(), tenant.AuthWebhook{URL: answer.URL + path, Secret: secretForAll}, arrival(s.Tenant()))
	}
	w.hooks.Authorize(t.Context(), tenant.AuthWebhook{URL: "http://127.0.0.1:1/", Secret: secretForAll}, arrival(s.Tenant()))
	w.hooks.Authorize(t.Context(), tenant.AuthWebhook{URL: answer.URL + "/yes", Secret: secretForAll}, arrival(other.Tenant()))
	list := w.logged(s, 6)
	if len(list) != 6 || len(w.logged(other, 1)) != 1 {
		t.Fatalf("%d entries", len(list))
	}
	for i, want := range []webhooks.AuthAttempt{
		{Decision: webhooks.AuthOutOfReach, ErrorClass: webhooks.FailedConnect, Reason: "connection refused"},
		{Decision: webhooks.AuthSaidNo, Status: 403, Reason: "your auth webhook answered 403 Forbidden; 200 lets a client in"},
		{Decision: webhooks.AuthOutOfReach, Status: 502, ErrorClass: webhooks.FailedHTTPStatus, AnswerHead: "<h1>Bad gateway</h1>",
			Reason: "your auth webhook answered 502 Bad Gateway; 200 lets a client in"},
		{Decision: webhooks.AuthBadResponse, Status: 200, ErrorClass: webhooks.FailedAnswer, Reason: "your auth webhook's answer is no JSON object", AnswerHead: `{"allowed":`},
		{Decision: webhooks.AuthSaidNo, Status: 200, Reason: "NO [not kept]", AnswerHead: `{"allowed":false,"reason":"NO [not kept]"}`},
		{Decision: webhooks.AuthAllowed, Status: 200, AnswerHead: `{"allowed":true,"client_id":"[not kept]","metadata":"[not kept]"}`},
	} {
		got := list[i]
		if got.At.Before(began.Add(-time.Second)) || got.At.After(time.Now()) || !strings.HasPrefix(got.ID, "aut_") || len(got.ConnectionID) != 26 || got.DurationMS < 0 || got.DurationMS > 5000 {
			t.Errorf("%+v", got)
		}
		want.ID, want.At, want.ConnectionID, want.DurationMS = got.ID, got.At, got.ConnectionID, got.DurationMS
		want.Channel, want.ClientID, want.Role, want.Protocol = "room", "alice", tenant.SendOnly, "sora"
		if got != want {
			t.Errorf("logged %+v\nwant %+v", got, want)
		}
	}

	// Filters, pages, one alone.
	find := func(q webhooks.AuthQuery) (ids []string) {
		t.Helper()
		found, err := w.hooks.AuthAttempts(t.Context(), s, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range found {
			ids = append(ids, a.ID)
		}
		return ids
	}
	for name, c := range map[string]struct {
		q    webhooks.AuthQuery
		want int
	}{
		"decision": {webhooks.AuthQuery{Decision: webhooks.AuthSaidNo}, 2}, "channel": {webhooks.AuthQuery{Channel: "room"}, 6},
		"another channel": {webhooks.AuthQuery{Channel: "hall"}, 0}, "client": {webhooks.AuthQuery{ClientID: "alice"}, 6},
		"connection": {webhooks.AuthQuery{ConnectionID: list[2].ConnectionID}, 1}, "status": {webhooks.AuthQuery{Status: 200}, 3},
		"from": {webhooks.AuthQuery{From: list[1].At}, 2}, "until": {webhooks.AuthQuery{Until: list[1].At}, 4}, "limit": {webhooks.AuthQuery{Limit: 4}, 4},
	} {
		if got := find(c.q); len(got) != c.want {
			t.Errorf("%s finds %d, want %d", name, len(got), c.want)
		}
	}
	if rest := find(webhooks.AuthQuery{Before: list[3].AuthPlace()}); len(rest) != 2 || rest[0] != list[4].ID {
		t.Errorf("after the fourth come %v", rest)
	}
	for _, wrong := range []webhooks.AuthQuery{{Decision: "maybe"}, {Before: "x"}, {Before: "y/z"}} {
		var field *tenant.FieldError
		if _, err := w.hooks.AuthAttempts(t.Context(), s, wrong); !errors.As(err, &field) {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	if one, err := w.hooks.AuthAttempt(t.Context(), s, list[2].ID); err != nil || one != list[2] {
		t.Errorf("one alone is %+v, %v", one, err)
	}
	if _, err := w.hooks.AuthAttempt(t.Context(), other, list[2].ID); !errors.Is(err, webhooks.ErrNotFound) {
		t.Errorf("another's is %v", err)
	}

	whole, spans, cut, err := w.hooks.AuthSummary(t.Context(), s, time.Now().Add(-time.Hour), time.Now().Add(time.Minute), 61)
	if err != nil || cut || len(spans) != 61 || whole.Count() != 6 || whole.Failed() != 3 || whole.Decisions[webhooks.AuthSaidNo] != 2 || whole.P99 < whole.P50 {
		t.Errorf("in all %+v, %v, %v", whole, cut, err)
	}
	sum := int64(0)
	for _, one := range spans {
		sum += one.Count()
	}
	if sum != 6 || spans[0].Count() != 0 {
		t.Errorf("the stretches have %d", sum)
	}
	if empty, _, _, err := w.hooks.AuthSummary(t.Context(), w.tenant(), time.Now().Add(-time.Hour), time.Now(), 10); err != nil || empty.Count() != 0 || empty.P50 != 0 {
		t.Errorf("of nobody %+v, %v", empty, err)
	}
}

// A log that cannot be written holds up no client: what it has no room for is
// counted, and the rest is written when it can be.
func TestAuthLogWithoutADatabase(t *testing.T) {
	w := newWorld(t, webhooks.Config{})
	s := w.tenant()
	hook := tenant.AuthWebhook{URL: "http://127.0.0.1:1/", Secret: secretForAll} // soon taken for dead: then it costs nothing
	// The table is somebody else's until this transaction ends.
	lock, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), `lock table auth_attempt in share mode`); err != nil {
		t.Fatal(err)
	}
	const many = 5600 // more than the log has room for, with what is being written
	began := time.Now()
	var crowd sync.WaitGroup
	for range 20 {
		crowd.Go(func() {
			for range many / 20 {
				if _, err := w.hooks.Authorize(t.Context(), hook, arrival(s.Tenant())); err == nil {
					t.Error("a client came in")
				}
			}
		})
	}
	crowd.Wait()
	took := time.Since(began)
	eventually(t, "some to find no room", func() bool { return w.hooks.Stats().AuthUnsaid > 0 })
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	dropped := int(w.hooks.Stats().AuthUnsaid)
	var kept int
	eventually(t, "the rest to be written", func() bool {
		if err := w.pool.QueryRow(t.Context(), `select count(*) from auth_attempt where tenant_id = $1`, s.Tenant()).Scan(&kept); err != nil {
			t.Fatal(err)
		}
		return kept+int(w.hooks.Stats().AuthUnsaid) >= many
	})
	if kept+int(w.hooks.Stats().AuthUnsaid) != many || dropped > many-4096 {
		t.Errorf("%d of %d are kept, %d dropped", kept, many, dropped)
	}
	if took > 4*time.Second {
		t.Errorf("%d questions took %s", many, took)
	}
}
