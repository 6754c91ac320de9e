package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// A POST with an Idempotency-Key (draft-ietf-httpapi-idempotency-key-header) may
// be sent again, to any process, without being done twice: what it does and the
// answer to it are kept in one transaction, and who asks again is given that
// answer. A process that dies leaves neither. Only success is kept: a request
// that was refused has done nothing, and may be corrected and sent again.

const (
	idempotencyHeader = "Idempotency-Key"
	// replayedHeader marks an answer that was given before.
	replayedHeader = "Idempotency-Replayed"
	// answersKept is for how long an answer is given again.
	answersKept = 24 * time.Hour
	// maxIdempotencyKey is the longest key, in bytes.
	maxIdempotencyKey = 255
	purgeEvery        = 10 * time.Minute
	// spareShare: one in so many connections of the pool is never a request's that
	// is one transaction. Such a request may need a second connection, for what
	// counts even if it fails: if all were taken by first ones, nobody would get on.
	spareShare = 4
)

// wholesAtOnce is how many requests may be one transaction each at the same time,
// with so many connections.
func wholesAtOnce(connections int32) int32 { return max(1, connections-max(1, connections/spareShare)) }

// idempotencyKey reads the header: a string of RFC 8941 as the draft wants it,
// or the bare text that most clients send. "": there is none.
func idempotencyKey(r *http.Request) (string, error) {
	values := r.Header.Values(idempotencyHeader)
	if len(values) == 0 || r.Method != http.MethodPost {
		return "", nil
	}
	key := values[0]
	if inner, ok := strings.CutPrefix(key, `"`); ok {
		key = strings.TrimSuffix(inner, `"`)
	}
	if len(values) > 1 || key == "" || len(key) > maxIdempotencyKey || strings.ContainsFunc(key, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", invalid("header", idempotencyHeader, fmt.Sprintf("Send one key of 1 to %d visible ASCII characters, such as a UUID.", maxIdempotencyKey))
	}
	return key, nil
}

// answer is what was said, as it is kept.
type answer struct {
	Status int         `json:"s"`
	Header http.Header `json:"h"`
	Body   []byte      `json:"b"`
}

// errNotKept rolls a request back that was refused.
var errNotKept = errors.New("the request was refused")

// once answers a request that has an idempotency key.
func (a *API) once(scope tenant.Scope, key string, body []byte, w http.ResponseWriter, r *http.Request, handle http.HandlerFunc) {
	select {
	case a.wholes <- struct{}{}:
		defer func() { <-a.wholes }()
	case <-r.Context().Done():
		Fail(w, r, a.Log, fmt.Errorf("no connection for a request of one transaction: %w", r.Context().Err()))
		return
	}
	said := &recorder{header: http.Header{}}
	asked := fingerprint(r, body)
	view := scope.In(a.DB)
	err := view.Whole(r.Context(), func(ctx context.Context) error {
		known, err := a.takeKey(ctx, view, scope, key, asked)
		if err != nil {
			return err
		}
		if known != nil {
			said = known
			said.header.Set(replayedHeader, "true")
			return nil
		}
		handle(said, r.WithContext(ctx))
		if said.status/100 != 2 {
			return errNotKept
		}
		return a.keepAnswer(ctx, view, scope, key, asked, said)
	})
	if err != nil && !errors.Is(err, errNotKept) {
		Fail(w, r, a.Log, err)
		return
	}
	said.writeTo(w)
}

// fingerprint is what two requests have in common that ask for the same.
func fingerprint(r *http.Request, body []byte) []byte {
	h := sha256.New()
	for _, part := range [][]byte{[]byte(r.Method), []byte(r.URL.EscapedPath()), []byte(r.URL.RawQuery), body} {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	return h.Sum(nil)
}

// takeKey makes the key this transaction's own until it ends, and returns the
// answer that was given before; nil: none. Who finds it taken is told so rather
// than kept waiting.
func (a *API) takeKey(ctx context.Context, view tenant.Isolated, scope tenant.Scope, key string, asked []byte) (*recorder, error) {
	var free bool
	err := view.QueryRow(ctx, `select pg_try_advisory_xact_lock(hashtextextended($1, 0))`,
		"idempotency/"+string(scope.Tenant())+"/"+key).Scan(&free)
	if err != nil {
		return nil, fmt.Errorf("couldn't take an idempotency key: %w", err)
	}
	if !free {
		p := newProblem(CodeIdempotencyInProgress, "a request with this Idempotency-Key is being answered; send it again in a moment")
		p.retryAfter = 1
		return nil, p
	}
	var was, sealed []byte
	err = view.QueryRow(ctx, `select fingerprint, answer_sealed from idempotent_answer
		where tenant_id = $1 and idempotency_key = $2 and expires_at > clock_timestamp()`, scope.Tenant(), key).Scan(&was, &sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't look an idempotency key up: %w", err)
	}
	if subtle.ConstantTimeCompare(was, asked) != 1 {
		return nil, newProblem(CodeIdempotencyMismatch, "this Idempotency-Key was used for another request; every request needs a new one")
	}
	text, err := a.Tenants.Open(sealed)
	if err != nil {
		return nil, fmt.Errorf("couldn't open an answer that was kept: %w", err)
	}
	var known answer
	if err := json.Unmarshal(text, &known); err != nil {
		return nil, fmt.Errorf("couldn't read an answer that was kept: %w", err)
	}
	said := &recorder{header: known.Header, status: known.Status}
	said.body.Write(known.Body)
	return said, nil
}

// keepAnswer notes an answer, in the place of one that has expired.
func (a *API) keepAnswer(ctx context.Context, view tenant.Isolated, scope tenant.Scope, key string, asked []byte, said *recorder) error {
	text, err := json.Marshal(answer{said.status, said.header, said.body.Bytes()})
	if err != nil {
		return fmt.Errorf("couldn't write an answer down: %w", err)
	}
	sealed, err := a.Tenants.Seal(text)
	if err != nil {
		return fmt.Errorf("couldn't seal an answer: %w", err)
	}
	_, err = view.Exec(ctx, `
		insert into idempotent_answer (tenant_id, idempotency_key, fingerprint, answer_sealed, expires_at)
		values ($1, $2, $3, $4, clock_timestamp() + $5::interval)
		on conflict (tenant_id, idempotency_key) do update
		set fingerprint = excluded.fingerprint, answer_sealed = excluded.answer_sealed, expires_at = excluded.expires_at`,
		scope.Tenant(), key, asked, sealed, answersKept)
	if err != nil {
		return fmt.Errorf("couldn't keep an answer: %w", err)
	}
	return nil
}

// Run deletes the answers that have expired, until ctx ends.
func (a *API) Run(ctx context.Context) {
	tick := time.NewTicker(purgeEvery)
	defer tick.Stop()
	for {
		if _, err := a.DB.Exec(ctx, `delete from idempotent_answer where expires_at < clock_timestamp()`); err != nil && ctx.Err() == nil {
			a.Log.Warn("answers to idempotent requests are not purged", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// recorder keeps an answer until its transaction is committed. Owned by the
// request.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is as http.ResponseWriter's.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader is as http.ResponseWriter's.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

// Write is as http.ResponseWriter's.
func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

// writeTo says it at last.
func (r *recorder) writeTo(w http.ResponseWriter) {
	for name, values := range r.header {
		w.Header()[name] = values
	}
	w.WriteHeader(r.status)
	w.Write(r.body.Bytes()) // an error here is the caller's connection
}
