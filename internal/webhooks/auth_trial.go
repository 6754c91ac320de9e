package webhooks

import (
	"context"
	"encoding/json"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// AuthTrial is what came of a test question, and what would come of such an answer.
type AuthTrial struct {
	AuthAttempt
	// Grant is what a client would be granted, as the JSON of a tenant.Grant; nil: it
	// would not come in.
	Grant json.RawMessage
	// Refusal is what it would be told, as a close of its WebSocket has it; "": it would
	// come in.
	Refusal string
}

// AskTest asks a tenant's server about a client that is not there, also while it is
// taken for dead, and says what would come of the answer. It is in the log as a test.
// An answer closes the circuit; none does not open it. The error is a *tenant.Refusal,
// rate_limited, if too many questions are open.
func (w *Webhooks) AskTest(ctx context.Context, s tenant.Scope, hook tenant.AuthWebhook) (AuthTrial, error) {
	t, err := tenantOf(s)
	if err != nil {
		return AuthTrial{}, err
	}
	leave, err := w.authTests.Take(ctx, t)
	if err != nil {
		return AuthTrial{}, err
	}
	defer leave()
	select {
	case w.authTrials <- struct{}{}:
		defer func() { <-w.authTrials }()
	default:
		return AuthTrial{}, tenant.Refuse(tenant.RateLimited, "this node asks %d test questions already; try again in a few seconds", maxAuthTrials)
	}
	a := tenant.Arrival{
		Opening: tenant.Opening{ConnectionID: tenant.NewID(), Tenant: t, Channel: "test", Role: tenant.SendRecv, ClientID: "hibari-test", Protocol: "sora"},
		Said:    json.RawMessage(`{"test":true}`),
		Client:  "Hibari test question", Test: true,
		Wish: tenant.Grant{Audio: new(true), AudioCodec: "OPUS", Video: new(true), VideoCodec: "VP9"},
	}
	asking, cancel := context.WithTimeout(ctx, w.authEgress.Timeout)
	defer cancel()
	began := time.Now()
	v := w.ask(asking, hook, a)
	took := time.Since(began)
	if err := ctx.Err(); err != nil {
		return AuthTrial{}, err
	}
	if !v.failed() {
		w.circuits.settle(t, hook.URL, time.Now(), 0, false)
	}
	entry := newAuthAttempt(a, v, began, took)
	w.authLog.add(entry)
	trial := AuthTrial{AuthAttempt: entry.AuthAttempt}
	if r := v.refusal(); r != nil {
		trial.Refusal = r.ForClient()
		return trial, nil
	}
	trial.Grant, err = json.Marshal(v.grant)
	return trial, err
}

// How many test questions are open at once on a node, of one tenant and of all: each
// may hold a request for 5 s.
const (
	maxAuthTests  = 2
	maxAuthTrials = 4
)
