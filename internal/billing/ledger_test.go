package billing_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
	"github.com/hibari/hibari/migrations/dbtest"
)

// bench is a ledger with the product's outbox on a database of its own, with one node.
type bench struct {
	*billing.Ledger
	t    testing.TB
	pool *pgxpool.Pool
	node string
}

func newBench(t testing.TB) *bench {
	t.Helper()
	pool := dbtest.New(t)
	b := &bench{billing.NewLedger(pool, new(webhooks.Webhooks).Queue, slog.New(slog.DiscardHandler)), t, pool, ""}
	b.node = b.newNode()
	return b
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	if _, err := b.pool.Exec(b.t.Context(), sql, args...); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

// one returns the single value that a query finds.
func one[T any](b *bench, sql string, args ...any) (value T) {
	b.t.Helper()
	if err := b.pool.QueryRow(b.t.Context(), sql, args...).Scan(&value); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

func (b *bench) newNode() string {
	b.t.Helper()
	id := "node_" + tenant.NewID()
	b.exec(`insert into node (node_id, name, instance, public_url, lease_until)
		values ($1, 'test', $1, 'https://' || $1 || '.example', clock_timestamp() + interval '1 hour')`, id)
	return id
}

func (b *bench) newTenant(connections, perChannel int) tenant.Scope {
	b.t.Helper()
	id := "ten_" + tenant.NewID()
	b.exec(`insert into tenant (tenant_id, name) values ($1, 'Test')`, id)
	b.exec(`insert into tenant_live (tenant_id, max_connections, max_per_channel) values ($1, $2, $3)`, id, connections, perChannel)
	return tenant.OperatorScope(tenant.ID(id))
}

func opening(scope tenant.Scope, channel string, role tenant.Role) tenant.Opening {
	return tenant.Opening{ConnectionID: tenant.NewID(), Tenant: scope.Tenant(), Channel: channel, Role: role,
		ClientID: "client", Protocol: "sora"}
}

// open opens a connection that must find a place, and returns its id.
func (b *bench) open(scope tenant.Scope, channel string, role tenant.Role) string {
	b.t.Helper()
	o := opening(scope, channel, role)
	if _, err := b.Open(b.t.Context(), b.node, o); err != nil {
		b.t.Fatal(err)
	}
	return o.ConnectionID
}

// openConnected opens a connection whose media connected ago.
func (b *bench) openConnected(scope tenant.Scope, channel string, ago time.Duration) string {
	b.t.Helper()
	id := b.open(scope, channel, tenant.SendRecv)
	b.exec(`update connection set opened_at = opened_at - $2::interval where connection_id = $1`, id, ago)
	b.must(b.Connected(b.t.Context(), id, ago))
	return id
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// awaitLockWaiter returns when a transaction of the test's database waits for
// another one's lock.
func (b *bench) awaitLockWaiter() {
	b.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !one[bool](b, `select exists (select from pg_locks l join pg_stat_activity using (pid) where datname = current_database() and not l.granted)`) {
		if time.Now().After(deadline) {
			b.t.Fatal("nobody waits for a lock")
		}
	}
}

// event is an event with the data that the tests look at.
type event struct {
	Seq          int64
	Type         tenant.EventType
	At           time.Time
	Channel      string
	ConnectionID string
	Data         data
}

type data struct {
	billing.DestroyedData
	Code      tenant.Code `json:"code"`
	Detail    string      `json:"detail"`
	Current   int         `json:"current"`
	Max       int         `json:"max"`
	SessionID string      `json:"session_id"`
	Over      int         `json:"over"`
}

// events returns the tenant's events in the order of seq.
func (b *bench) events(scope tenant.Scope) []event {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), `
		select seq, type, occurred_at, coalesce(channel_id, ''), coalesce(connection_id, ''), data
		from event where tenant_id = $1 order by seq`, scope.Tenant())
	b.must(err)
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e event, err error) {
		var text []byte
		if err := row.Scan(&e.Seq, &e.Type, &e.At, &e.Channel, &e.ConnectionID, &text); err != nil {
			return e, err
		}
		return e, json.Unmarshal(text, &e.Data)
	})
	b.must(err)
	return all
}

// story returns the types of the events about one connection and its channel.
func (b *bench) story(scope tenant.Scope) string {
	b.t.Helper()
	story := ""
	for _, e := range b.events(scope) {
		story += fmt.Sprintf("%s ", e.Type)
	}
	return story
}

// invariants are what must hold after every step: queries that find 0.
var invariants = []struct{ broken, sql string }{
	{"the tenant's counter is not its places", `select count(*) from tenant_live t where tenant_id = $1
			and connections <> (select count(*) from live_connection l where l.tenant_id = t.tenant_id)`},
	{"a channel's counters are not its places", `select count(*) from channel_live h where tenant_id = $1
			and array[connections, sendrecv, sendonly, recvonly]::bigint[] is distinct from (
				select array[count(*), count(*) filter (where role = 'sendrecv'), count(*) filter (where role = 'sendonly'), count(*) filter (where role = 'recvonly')]
				from live_connection l where l.tenant_id = h.tenant_id and l.channel_id = h.channel_id)`},
	{"an empty channel is live, or a place is in no channel", `
			select (select count(*) from channel_live where tenant_id = $1 and connections = 0)
				+ (select count(*) from live_connection l where tenant_id = $1
					and not exists (select from channel_live h where h.tenant_id = l.tenant_id and h.channel_id = l.channel_id))`},
	{"a place and an open connection are not the same thing", `select count(*) from connection c
			full join live_connection l using (tenant_id, connection_id)
			where tenant_id = $1 and (l.connection_id is null) <> (c.ended_at is not null)`},
	{"a session is open without a channel, or the other way round", `select count(*) from channel_session s
			left join channel_live h using (tenant_id, session_id)
			where tenant_id = $1 and (h.session_id is null) <> (s.ended_at is not null)`},
	{"the event numbers have gaps", `select abs(event_seq - (select count(*) from event e where e.tenant_id = t.tenant_id))
				+ abs(event_seq - (select coalesce(max(seq), 0) from event e where e.tenant_id = t.tenant_id))
			from tenant_live t where tenant_id = $1`},
	{"a connection's events are not one complete story", `select count(*) from connection c where tenant_id = $1
			and (select array_agg(type order by seq) from event e where e.connection_id = c.connection_id and type <> 'connection.updated')
				is distinct from array['connection.connecting']
					|| case when connected_at is not null then array['connection.created'] else '{}' end
					|| case when ended_at is null then '{}' when connected_at is null then array['connection.rejected'] else array['connection.destroyed'] end`},
	{"a connection ended before it was metered through", `select count(*) from connection
			where tenant_id = $1 and ended_at is distinct from metered_through and ended_at is not null and connected_at is not null`},
}

// checkInvariants asks for them in one statement, which sees one moment.
func (b *bench) checkInvariants(scope tenant.Scope) error {
	var sql []string
	for i, rule := range invariants {
		sql = append(sql, fmt.Sprintf("(%d, (%s))", i, rule.sql))
	}
	rows, err := b.pool.Query(context.Background(),
		"select rule, n from (values "+strings.Join(sql, ", ")+") as rules (rule, n) where n <> 0", scope.Tenant())
	if err != nil {
		return err
	}
	var failed error
	var rule int
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&rule, &n}, func() error {
		failed = errors.Join(failed, fmt.Errorf("%s (%d)", invariants[rule].broken, n))
		return nil
	})
	return errors.Join(err, failed)
}

func (b *bench) check(scope tenant.Scope) {
	b.t.Helper()
	b.must(b.checkInvariants(scope))
}
