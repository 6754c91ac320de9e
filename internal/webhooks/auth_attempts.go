package webhooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// AuthQuery selects questions to the auth webhook, newest first.
type AuthQuery struct {
	ID           string       // "": any; else this one alone
	Decision     AuthDecision // "": any
	Channel      string       // "": of every channel; likewise the next two
	ConnectionID string
	ClientID     string
	Status       int       // 0: any
	From, Until  time.Time // when the client came; zero: without that end
	Before       string    // as AuthPlace wrote it: only older ones; "": from the newest
	Limit        int       // 0: 50; at most MaxAuthAttempts
}

// MaxAuthAttempts is the most that one call of AuthAttempts returns.
const MaxAuthAttempts = 1001

// AuthPlace is where an attempt stands in the list, for AuthQuery.Before.
func (a AuthAttempt) AuthPlace() string {
	return a.At.UTC().Format(time.RFC3339Nano) + "/" + a.ID
}

// AuthAttempts lists what came of questions to the tenant's auth webhook. They are
// kept for 14 days. The error is a *tenant.FieldError for a query that makes no sense.
func (w *Webhooks) AuthAttempts(ctx context.Context, s tenant.Scope, q AuthQuery) ([]AuthAttempt, error) {
	t, err := tenantOf(s)
	if err != nil {
		return nil, err
	}
	if q.Limit <= 0 {
		q.Limit = usualDeliveries
	}
	if q.Decision != "" && !slices.Contains(AuthDecisions[:], q.Decision) {
		return nil, &tenant.FieldError{Field: "decision", Problem: "is none of allowed, rejected, timeout, unavailable, bad_response and breaker_open"}
	}
	var before *time.Time
	id := ""
	if q.Before != "" {
		at, rest, err := splitPlace(q.Before)
		if err != nil {
			return nil, &tenant.FieldError{Field: "before", Problem: "is not where a page ended"}
		}
		before, id = &at, rest
	}
	rows, err := s.In(w.pool).Query(ctx, `
		select auth_attempt_id, at, connection_id, channel_id, client_id, role, protocol, test, decision, status, duration_ms, reason, error_class, answer_head
		from auth_attempt
		where tenant_id = $1 and ($2 = '' or auth_attempt_id = $2) and ($3 = '' or decision = $3) and ($4 = '' or channel_id = $4)
			and ($5 = '' or connection_id = $5) and ($6 = '' or client_id = $6) and ($7 = 0 or status = $7)
			and ($8::timestamptz is null or at >= $8) and ($9::timestamptz is null or at < $9)
			and ($10::timestamptz is null or (at, auth_attempt_id) < ($10, $11))
		order by at desc, auth_attempt_id desc limit $12`,
		t, q.ID, q.Decision, q.Channel, q.ConnectionID, q.ClientID, q.Status, timeOrNil(q.From), timeOrNil(q.Until), before, id, min(q.Limit, MaxAuthAttempts))
	if err != nil {
		return nil, fmt.Errorf("couldn't list questions to the auth webhook: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (a AuthAttempt, err error) {
		return a, row.Scan(&a.ID, &a.At, &a.ConnectionID, &a.Channel, &a.ClientID, &a.Role, &a.Protocol, &a.Test, &a.Decision,
			&a.Status, &a.DurationMS, &a.Reason, &a.ErrorClass, &a.AnswerHead)
	})
}

// AuthAttempt returns one. ErrNotFound.
func (w *Webhooks) AuthAttempt(ctx context.Context, s tenant.Scope, id string) (AuthAttempt, error) {
	if id == "" {
		return AuthAttempt{}, ErrNotFound
	}
	list, err := w.AuthAttempts(ctx, s, AuthQuery{ID: id, Limit: 1})
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return AuthAttempt{}, err
	}
	return list[0], nil
}

func splitPlace(place string) (at time.Time, id string, err error) {
	for i := range place {
		if place[i] == '/' {
			at, err = time.Parse(time.RFC3339Nano, place[:i])
			return at, place[i+1:], err
		}
	}
	return at, "", errors.New("no slash")
}

func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// authSummed is how many of the newest questions of a span are looked at for its
// figures.
const authSummed = 100_000

// AuthSpan is what came of the questions of a stretch of time.
type AuthSpan struct {
	From          time.Time
	Decisions     map[AuthDecision]int64 // none that has none
	P50, P95, P99 float64                // ms, of those that were asked; 0 without any
}

// Count is how many questions there were.
func (s AuthSpan) Count() (n int64) {
	for _, m := range s.Decisions {
		n += m
	}
	return n
}

// Kept is the number of those that kept a client out without its tenant's word.
func (s AuthSpan) Failed() int64 {
	return s.Count() - s.Decisions[AuthAllowed] - s.Decisions[AuthSaidNo]
}

// AuthSummary returns the figures of the time from until now, as a whole and in n
// stretches, oldest first; tries by members are left out. It looks at the newest
// 100,000 questions of that time; cut says that there were more.
func (w *Webhooks) AuthSummary(ctx context.Context, s tenant.Scope, from, until time.Time, n int) (whole AuthSpan, spans []AuthSpan, cut bool, err error) {
	t, err := tenantOf(s)
	if err != nil {
		return whole, nil, false, err
	}
	length := until.Sub(from) / time.Duration(n)
	spans = make([]AuthSpan, n)
	for i := range spans {
		spans[i] = AuthSpan{From: from.Add(time.Duration(i) * length), Decisions: map[AuthDecision]int64{}}
	}
	whole = AuthSpan{From: from, Decisions: map[AuthDecision]int64{}}
	rows, err := s.In(w.pool).Query(ctx, `
		with newest as (
			select floor(extract(epoch from at - $2) / $4)::int as span, decision, duration_ms from auth_attempt
			where tenant_id = $1 and at >= $2 and at < $3 and not test order by at desc limit $5)
		select span, coalesce(decision, ''), count(*),
			coalesce(percentile_cont(array[0.5, 0.95, 0.99]) within group (order by duration_ms) filter (where decision <> 'breaker_open'), array[0, 0, 0])
		from newest group by grouping sets ((span, decision), (span), ())`,
		t, from, until, length.Seconds(), authSummed)
	if err != nil {
		return whole, nil, false, fmt.Errorf("couldn't sum questions to the auth webhook: %w", err)
	}
	var at *int
	var decision AuthDecision
	var count int64
	var latency []float64
	_, err = pgx.ForEachRow(rows, []any{&at, &decision, &count, &latency}, func() error {
		switch {
		case at == nil:
			cut = count == authSummed
			whole.P50, whole.P95, whole.P99 = latency[0], latency[1], latency[2]
		case decision == "":
			one := &spans[min(max(*at, 0), n-1)]
			one.P50, one.P95, one.P99 = latency[0], latency[1], latency[2]
		default:
			spans[min(max(*at, 0), n-1)].Decisions[decision] += count
			whole.Decisions[decision] += count
		}
		return nil
	})
	if err != nil {
		return whole, nil, false, fmt.Errorf("couldn't sum questions to the auth webhook: %w", err)
	}
	return whole, spans, cut, nil
}

// AuthTaken reports whether the tenant's auth webhook is taken for dead by this
// process.
func (w *Webhooks) AuthTaken(s tenant.Scope) bool { return w.circuits.isOpen(s.Tenant()) }
