package webhooks

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
)

// How what came of questions to auth webhooks gets into the database: behind the
// clients, in batches, and not at all when there is no room.
const (
	authLogRoom  = 4096                   // entries that wait to be written
	authLogBatch = 500                    // entries in one statement
	authLogPause = 250 * time.Millisecond // how long an entry waits for company
	authLogTime  = 5 * time.Second        // for one statement
)

// AuthAttempt is one question to an auth webhook.
type AuthAttempt struct {
	ID           string       `json:"id"`
	At           time.Time    `json:"at"` // when the client came
	ConnectionID string       `json:"connection_id"`
	Channel      string       `json:"channel_id"`
	ClientID     string       `json:"client_id"`
	Role         tenant.Role  `json:"role"`
	Protocol     string       `json:"protocol"`
	Test         bool         `json:"test"` // a member tried the webhook; nobody came
	Decision     AuthDecision `json:"decision"`
	Status       int          `json:"status,omitempty"`      // HTTP status; 0: no answer
	DurationMS   int64        `json:"duration_ms"`           // the turn's wait included
	Reason       string       `json:"reason,omitempty"`      // why the client was kept out, in words
	ErrorClass   ErrorClass   `json:"error_class,omitempty"` // of a failure; "": it was answered
	AnswerHead   string       `json:"answer_head,omitempty"` // the answer's first 4 KiB, without token and metadata
}

// authEntry is one on its way into the log.
type authEntry struct {
	tenant tenant.ID
	AuthAttempt
}

func newAuthAttempt(a tenant.Arrival, v authVerdict, at time.Time, took time.Duration) authEntry {
	return authEntry{a.Tenant, AuthAttempt{
		ID: "aut_" + tenant.NewID(), At: at, ConnectionID: a.ConnectionID, Channel: tenant.Printable(a.Channel, tenant.MaxNameBytes),
		ClientID: tenant.Printable(a.ClientID, tenant.MaxNameBytes), Role: a.Role, Protocol: a.Protocol, Test: a.Test,
		Decision: v.decision, Status: v.status, DurationMS: took.Milliseconds(),
		Reason: withoutToken(cleanText(v.words), a.AccessToken), ErrorClass: v.class, AnswerHead: v.head,
	}}
}

// authLog takes entries without ever holding anybody up.
type authLog struct {
	// Static.
	pool    *pgxpool.Pool // nil: nothing is kept
	waiting chan authEntry

	dropped atomic.Int64
}

func newAuthLog(pool *pgxpool.Pool) *authLog {
	return &authLog{pool: pool, waiting: make(chan authEntry, authLogRoom)}
}

// add never blocks: what finds no room is counted and gone.
func (l *authLog) add(e authEntry) {
	select {
	case l.waiting <- e:
	default:
		l.dropped.Add(1)
	}
}

// runAuthLog writes entries until ctx ends, and then those that wait. While the
// database is away they wait, as long as there is room.
func (w *Webhooks) runAuthLog(ctx context.Context) {
	l := w.authLog
	var batch []authEntry
	pause := time.NewTimer(authLogPause)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			if batch = l.take(batch); len(batch) > 0 && l.write(context.WithoutCancel(ctx), batch) != nil {
				l.dropped.Add(int64(len(batch)))
			}
			return
		case <-pause.C:
		}
		for batch = l.take(batch); len(batch) > 0; batch = l.take(batch[:0]) {
			err := l.write(ctx, batch)
			if err != nil && tenant.DatabaseAway(err) || ctx.Err() != nil {
				break // again after a pause
			}
			if err != nil {
				w.log.Error("auth webhook decisions not logged", "entries", len(batch), "error", err)
				l.dropped.Add(int64(len(batch)))
			}
		}
		pause.Reset(authLogPause)
	}
}

// take fills a batch with what waits.
func (l *authLog) take(batch []authEntry) []authEntry {
	for len(batch) < authLogBatch {
		select {
		case e := <-l.waiting:
			batch = append(batch, e)
		default:
			return batch
		}
	}
	return batch
}

// write writes a batch in one statement. (COPY does not go with row level security.)
func (l *authLog) write(ctx context.Context, batch []authEntry) error {
	ctx, cancel := context.WithTimeout(ctx, authLogTime)
	defer cancel()
	n := len(batch)
	tenants, ids, ats, connections := make([]string, n), make([]string, n), make([]time.Time, n), make([]string, n)
	channels, clients, roles, protocols := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	tests, decisions, statuses, durations := make([]bool, n), make([]string, n), make([]int32, n), make([]int64, n)
	reasons, classes, heads := make([]string, n), make([]string, n), make([]string, n)
	for i, e := range batch {
		tenants[i], ids[i], ats[i], connections[i] = string(e.tenant), e.ID, e.At, e.ConnectionID
		channels[i], clients[i], roles[i], protocols[i] = e.Channel, e.ClientID, string(e.Role), e.Protocol
		tests[i], decisions[i], statuses[i], durations[i] = e.Test, string(e.Decision), int32(e.Status), e.DurationMS
		reasons[i], classes[i], heads[i] = e.Reason, string(e.ErrorClass), e.AnswerHead
	}
	_, err := l.pool.Exec(ctx, `
		insert into auth_attempt (tenant_id, auth_attempt_id, at, connection_id, channel_id, client_id, role, protocol, test,
			decision, status, duration_ms, reason, error_class, answer_head)
		select * from unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::bool[],
			$10::text[], $11::int[], $12::bigint[], $13::text[], $14::text[], $15::text[])
		on conflict do nothing`, // a write that was given up may have been made all the same
		tenants, ids, ats, connections, channels, clients, roles, protocols, tests, decisions, statuses, durations, reasons, classes, heads)
	if err != nil {
		return fmt.Errorf("couldn't log questions to auth webhooks: %w", err)
	}
	return nil
}
