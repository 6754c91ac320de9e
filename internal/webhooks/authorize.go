package webhooks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// The auth webhook: a tenant's own server is asked, before a connection opens,
// whether it may, and may set what a grant can set. Whoever cannot be asked lets
// nobody in. Each tenant has its own turns and its own circuit breaker, so that a
// server that is dead costs its own clients little and others nothing.

const (
	// authTimeout is how long a client waits for its tenant's server, its turn
	// included.
	authTimeout = 5 * time.Second
	// authConnect is how long of it the connection may take.
	authConnect = 2 * time.Second
	// maxAuthPerTenant is how many questions to one tenant's server are open at
	// once, on this node. The others wait, and hold up no other tenant.
	maxAuthPerTenant = 100
	// maxAuthWaiting is how many wait for one of these: more clients at once than
	// any licence lets in are not worth asking about.
	maxAuthWaiting = 2000
	// authIdlePerHost is how many connections to one server are kept for the next
	// question, and authIdle how many to all.
	authIdlePerHost, authIdle = 8, 1024
)

// Authorize asks a tenant's server about a client and returns what it grants.
// The error is a *tenant.Refusal: auth_rejected with the server's reason,
// auth_timeout, or auth_unavailable, which stands also for an answer that makes no
// sense. It takes 5 s at most, and none while the server is taken for dead. What came
// of it is counted and, a moment later, in the log that AuthAttempts reads.
func (w *Webhooks) Authorize(ctx context.Context, hook tenant.AuthWebhook, a tenant.Arrival) (tenant.Grant, error) {
	began := time.Now()
	v := w.authorize(ctx, hook, a)
	if ctx.Err() != nil { // nobody waits for it any longer: it says nothing about the server
		if r := v.refusal(); r != nil {
			return tenant.Grant{}, r
		}
		return v.grant, nil
	}
	took := time.Since(began)
	w.counters.authorized(v.decision, took)
	w.authLog.add(newAuthAttempt(a, v, began, took))
	line := []any{"tenant_id", a.Tenant, "connection", a.ConnectionID, "outcome", v.decision, "took", took.Round(time.Millisecond)}
	switch v.decision {
	case AuthAllowed:
		w.log.Info("auth webhook asked", line...)
		return v.grant, nil
	case AuthSaidNo:
		w.log.Info("auth webhook asked", append(line, "why", v.words)...)
	case AuthBreakerOpen:
		w.log.Debug("auth webhook not asked", line...)
	default:
		w.log.Warn("auth webhook asked", append(line, "why", v.words)...)
	}
	return tenant.Grant{}, v.refusal()
}

// authorize asks in the tenant's turn, if its circuit lets it.
func (w *Webhooks) authorize(ctx context.Context, hook tenant.AuthWebhook, a tenant.Arrival) authVerdict {
	ctx, cancel := context.WithTimeout(ctx, w.authEgress.Timeout)
	defer cancel()
	turn, ok := w.circuits.admit(a.Tenant, hook.URL, time.Now())
	if !ok {
		return notAskedAtAll
	}
	leave, err := w.authSeats.Take(ctx, a.Tenant)
	if err != nil {
		return authVerdict{decision: AuthTimedOut, class: FailedTimeout,
			words: fmt.Sprintf("%d questions to your auth webhook were open for %s already", maxAuthPerTenant, seconds(w.authEgress.Timeout))}
	}
	defer leave()
	if w.circuits.opened(a.Tenant, hook.URL, turn) { // while this one waited
		return notAskedAtAll
	}
	v := w.ask(ctx, hook, a)
	if v.class != FailedInternal && !errors.Is(ctx.Err(), context.Canceled) {
		w.circuits.settle(a.Tenant, hook.URL, time.Now(), turn, v.failed())
	}
	return v
}

// notAskedAtAll is the verdict while a server is taken for dead.
var notAskedAtAll = authVerdict{decision: AuthBreakerOpen,
	words: fmt.Sprintf("your auth webhook did not answer %d times in a row, and is asked once a second until it does", circuitFailures)}

// ask makes the request. Where no connection came about, or one that was kept turns
// out to be closed, it is made a second time, with the same id, over a new one.
func (w *Webhooks) ask(ctx context.Context, hook tenant.AuthWebhook, a tenant.Arrival) authVerdict {
	r, err := w.authRequest(ctx, hook, a)
	if err != nil {
		return authVerdict{decision: AuthOutOfReach, class: FailedInternal, words: err.Error()}
	}
	t := &asked{}
	answer, err := w.authClient.Do(r.WithContext(httptrace.WithClientTrace(ctx, t.trace())))
	if err != nil && t.again(w.authEgress.explain(err).class) && ctx.Err() == nil {
		again := r.Clone(ctx)
		if again.Body, err = r.GetBody(); err == nil {
			answer, err = w.authAnew.Do(again)
		}
	}
	if err != nil {
		return w.unanswered(err, "")
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	var v authVerdict
	switch {
	case answer.StatusCode != http.StatusOK: // whatever else it says
		v = judgeStatus(answer.StatusCode)
	case err != nil:
		v = w.unanswered(err, "its answer broke off: ")
	default:
		v = readAuthAnswer(answer.Header.Get("Content-Type"), body)
	}
	v.status, v.head = answer.StatusCode, answerHead(body, a.AccessToken)
	return v
}

// unanswered is the verdict where no whole answer came.
func (w *Webhooks) unanswered(err error, when string) authVerdict {
	f := w.authEgress.explain(err)
	switch {
	case f.class == FailedTimeout && !f.connecting:
		return authVerdict{decision: AuthTimedOut, class: f.class, words: "your auth webhook did not answer within " + seconds(w.authEgress.Timeout)}
	case f.class == FailedTooLarge:
		return authVerdict{decision: AuthBadResponse, class: f.class, words: f.words}
	}
	return authVerdict{decision: AuthOutOfReach, class: f.class, words: when + f.words}
}

// asked is how far a request came.
type asked struct {
	connected, reused, answered atomic.Bool
}

func (a *asked) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn:              func(c httptrace.GotConnInfo) { a.connected.Store(true); a.reused.Store(c.Reused) },
		GotFirstResponseByte: func() { a.answered.Store(true) },
	}
}

// again reports whether a request that failed in a way may be made once more: nobody
// can have read it.
func (a *asked) again(class ErrorClass) bool {
	switch class {
	case FailedDNS, FailedConnect, FailedTimeout, FailedReset, FailedClosed:
		return !a.connected.Load() || a.reused.Load() && !a.answered.Load() && class != FailedTimeout
	}
	return false
}
