package webhooks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// pulse is the health of an endpoint as it was when a delivery was claimed.
type pulse struct {
	epoch        int64
	probe        bool // this delivery is the probe of an open breaker
	failingSince *time.Time
}

// watched is what this process remembers of the endpoints that have failed lately, so
// that the rows are written, and even asked, only when something changes.
type watched struct {
	now       func() time.Time // Static; time.Now outside of tests
	mu        sync.Mutex
	endpoints map[string]*endpointWatch // Guarded by mu
	pruned    time.Time                 // Guarded by mu
}

// endpointWatch is what is remembered of one.
type endpointWatch struct {
	strain strain
	seen   time.Time // the latest result
	// When a success, or a failure, was last written to the row, or found there.
	successNoted, failureNoted time.Time
}

// successNoted is how precisely the row knows of the latest success.
const successNoted = time.Minute

// watchKept is how long an endpoint without results is remembered.
const watchKept = time.Hour

// seen is what a result means to the process that has it: whether it has now seen
// enough to open the breaker, and whether the row may have to be written at all.
type seen struct{ tripped, ask bool }

// see takes a result; once for each.
func (w *watched) see(j job, o outcome) (s seen) {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.endpoints == nil {
		w.endpoints = map[string]*endpointWatch{}
	}
	w.prune(now)
	e := w.endpoints[j.endpoint]
	if e == nil {
		e = &endpointWatch{}
		w.endpoints[j.endpoint] = e
	}
	e.seen = now
	s.tripped = e.strain.add(j.pulse.epoch, j.id, o.delivered(), now)
	if o.delivered() {
		s.ask = j.pulse.probe || j.pulse.failingSince != nil || now.Sub(e.successNoted) >= successNoted
		return s
	}
	s.ask = s.tripped || o.gone() || j.pulse.probe || j.pulse.failingSince == nil || now.Sub(e.failureNoted) >= failureNoted ||
		now.Sub(*j.pulse.failingSince) >= DisableAfter-failureNoted
	return s
}

// noted remembers that the row has been brought up to date.
func (w *watched) noted(endpoint string, o outcome) {
	now := w.now()
	w.mu.Lock()
	defer w.mu.Unlock()
	e := w.endpoints[endpoint]
	switch {
	case e == nil:
	case o.delivered():
		e.successNoted, e.failureNoted = now, time.Time{}
	default:
		e.failureNoted, e.successNoted = now, time.Time{}
	}
}

// prune forgets the endpoints that nothing is heard of. mu is held.
func (w *watched) prune(now time.Time) {
	if now.Sub(w.pruned) < watchKept {
		return
	}
	w.pruned = now
	for id, e := range w.endpoints {
		if now.Sub(e.seen) >= watchKept {
			delete(w.endpoints, id)
		}
	}
}

// overloaded reports that the receiver, or what stands before it, asks for less.
func (o outcome) overloaded() bool {
	switch o.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// ended is one attempt with what came of it.
type ended struct {
	job     job
	outcome outcome
}

// verdict is what an attempt's result means for its delivery and its lane.
type verdict struct {
	tenant   tenant.ID
	endpoint string
	// hold is for how long the delivery of a failed probe waits; that was no try of it.
	hold time.Duration
	// disabled says why the endpoint has been disabled with this result; "": it has not.
	disabled string
	// breaker is the endpoint's after this result, if moved: else nothing was looked up
	// or has changed.
	breaker breaker
	moved   bool
	opened  bool // with this result
	closed  bool
	problem string
}

// health takes results, in the order in which they came, into the health of their
// endpoints. It returns a verdict for each, which counts when tx is committed:
// healthTold is for then. Nearly always it asks the database nothing. It locks
// endpoints, so it stands first in the transaction: everybody locks an endpoint
// before its deliveries.
func (w *Webhooks) health(ctx context.Context, tx pgx.Tx, results []ended) ([]verdict, error) {
	verdicts := make([]verdict, len(results))
	byEndpoint := map[string][]int{}
	var order []string
	for i, r := range results {
		verdicts[i] = verdict{tenant: r.job.tenant, endpoint: r.job.endpoint, problem: r.outcome.problem}
		if !r.outcome.seen.ask {
			continue
		}
		if byEndpoint[r.job.endpoint] == nil {
			order = append(order, r.job.endpoint)
		}
		byEndpoint[r.job.endpoint] = append(byEndpoint[r.job.endpoint], i)
	}
	slices.Sort(order) // so that two transactions never wait for each other
	for _, id := range order {
		var asked []ended
		var of []*verdict
		for _, i := range byEndpoint[id] {
			asked, of = append(asked, results[i]), append(of, &verdicts[i])
		}
		if err := w.healthOf(ctx, tx, asked, of); err != nil {
			return nil, fmt.Errorf("couldn't keep the health of %s: %w", id, err)
		}
	}
	return verdicts, nil
}

// healthOf is health for the results of one endpoint.
func (w *Webhooks) healthOf(ctx context.Context, tx pgx.Tx, results []ended, verdicts []*verdict) error {
	j, last := results[0].job, results[len(results)-1]
	defer func() { w.watched.noted(j.endpoint, last.outcome) }()
	if !slices.ContainsFunc(results, func(r ended) bool { return !r.outcome.delivered() || r.job.pulse.probe }) {
		return noteSuccess(ctx, tx, j)
	}
	b, now, err := lockBreaker(ctx, tx, j)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil // deleted or disabled: there is nothing to keep
	}
	if err != nil {
		return err
	}
	changed := false
	for i, r := range results {
		before := b
		var c consequence
		b, c = b.after(trial{
			ok: r.outcome.delivered(), gone: r.outcome.gone(), probe: r.job.pulse.probe, epoch: r.job.pulse.epoch,
			retryAfter: r.outcome.retryAfter, tripped: r.outcome.seen.tripped,
		}, now, spread())
		changed = changed || c.changed
		v := verdicts[i]
		v.hold, v.disabled, v.breaker, v.moved = c.hold, c.disable, b, c.changed
		v.opened, v.closed = before.state == Closed && b.state == Open, before.state == Open && b.state == Closed && c.disable == ""
		if c.disable != "" {
			return w.disable(ctx, tx, r, b, c.disable)
		}
	}
	if !changed {
		return nil
	}
	return storeBreaker(ctx, tx, last, b)
}

// healthTold counts and tells what has been committed.
func (w *Webhooks) healthTold(verdicts []verdict) {
	for _, v := range verdicts {
		switch {
		case v.disabled != "":
			w.counters.disabled.Add(1)
			w.log.Warn("a webhook endpoint is disabled", "tenant_id", v.tenant, "endpoint", v.endpoint, "reason", v.disabled)
			w.Wake(v.tenant)
			if w.notifier != nil {
				w.notifier.WakePostman()
			}
		case v.opened:
			w.counters.opened.Add(1)
			w.log.Info("the breaker of a webhook endpoint opens", "tenant_id", v.tenant, "endpoint", v.endpoint, "error", v.problem)
		case v.closed:
			w.log.Info("the breaker of a webhook endpoint closes", "tenant_id", v.tenant, "endpoint", v.endpoint)
			w.toClaim.ringFor(v.tenant)
		}
	}
}

// noteSuccess is after for successes that move no breaker, in one statement.
func noteSuccess(ctx context.Context, tx pgx.Tx, j job) error {
	_, err := tx.Exec(ctx, `update webhook_endpoint set last_success_at = clock_timestamp(), failing_since = null, failed_at = null
		where tenant_id = $1 and endpoint_id = $2 and (failing_since is not null or last_success_at is null
			or last_success_at < clock_timestamp() - $3::interval)`, j.tenant, j.endpoint, successNoted)
	return err
}

const breakerColumns = `breaker, breaker_until, breaker_epoch, breaker_probes, breaker_opened_at, failing_since, failed_at`

func (b *breaker) fields() []any {
	return []any{&b.state, (*zeroTime)(&b.until), &b.epoch, &b.probes, (*zeroTime)(&b.openedAt), (*zeroTime)(&b.failingSince), (*zeroTime)(&b.failedAt)}
}

// lockBreaker reads the breaker of an enabled endpoint that is about to change.
func lockBreaker(ctx context.Context, tx pgx.Tx, j job) (b breaker, now time.Time, err error) {
	err = tx.QueryRow(ctx, `select `+breakerColumns+`, clock_timestamp() from webhook_endpoint
		where tenant_id = $1 and endpoint_id = $2 and status = 'enabled' for no key update`, j.tenant, j.endpoint).
		Scan(append(b.fields(), &now)...)
	return b, now, err
}

// storeBreaker writes the breaker as it is after the last result.
func storeBreaker(ctx context.Context, tx pgx.Tx, last ended, b breaker) error {
	j := last.job
	_, err := tx.Exec(ctx, `update webhook_endpoint set breaker = $3, breaker_until = $4, breaker_epoch = $5, breaker_probes = $6,
			breaker_opened_at = $7, failing_since = $8, failed_at = $9,
			last_success_at = case when $10 = '' then clock_timestamp() else last_success_at end,
			last_error = case when $10 = '' then last_error else $10 end
		where tenant_id = $1 and endpoint_id = $2`, j.tenant, j.endpoint, b.state, timeOrNull(b.until), b.epoch, b.probes,
		timeOrNull(b.openedAt), timeOrNull(b.failingSince), timeOrNull(b.failedAt), cleanText(last.outcome.problem))
	return err
}

// zeroTime scans null as the zero time.
type zeroTime time.Time

// Scan implements sql.Scanner.
func (z *zeroTime) Scan(value any) error {
	switch v := value.(type) {
	case nil:
		*z = zeroTime{}
	case time.Time:
		*z = zeroTime(v)
	default:
		return fmt.Errorf("a time is a %T", value)
	}
	return nil
}

func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
