// Package billing knows what is live and what it costs: licence places, the
// ledger of connections, the meter and the minutes.
//
// A connection's life in the ledger:
//
//	Open ──► Connected ──► Beat … Beat ──► Close
//	  │                                      ▲
//	  └── (media never came up) ─────────────┘   EndNode: the node died
//
// Every step is one transaction that changes the rows and writes the events
// about it, so that what the tenant is told and what the tenant is billed
// cannot differ; of a crowd, one transaction takes all who wait (turn.go). Locks
// are taken in one order: the tenant_live row, the channel_live row, then
// connection rows by id. All steps that take or free a
// place hold the tenant_live row, so a tenant's channel_live and
// live_connection rows change one transaction at a time. Beat alone locks only
// connection rows.
//
// Time is the database's clock; durations come from the node's monotonic
// clock, so a step of a wall clock cannot change a bill.
package billing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
)

var (
	// ErrNotFound is returned for what does not exist or is another tenant's.
	ErrNotFound = tenant.ErrNotFound
	// ErrNodeEnded is returned by Open for a node that was stopped or whose
	// lease ran out: its places have been freed, so it may take no more.
	ErrNodeEnded = errors.New("the node's lease has ended")
	// ErrConnectionUsed is returned by Open for a connection id that was
	// opened before with another tenant or node, or that has ended.
	ErrConnectionUsed = errors.New("the connection id was used before")
)

// Outbox queues the writing of events in a batch that is sent within a transaction: it
// gives each event its ID and its tenant's next Seq. The transaction has the tenant's
// tenant_live row then.
type Outbox func(batch *pgx.Batch, events ...tenant.Event) error

// Ledger is the ledger of connections. Its methods may be called from any
// goroutine.
type Ledger struct {
	// Static
	pool  *pgxpool.Pool
	queue Outbox
	log   *slog.Logger

	openings *turns[admissionKey, *admission] // lock for themselves
	starts   *turns[tenant.ID, *start]
	ends     *turns[tenant.ID, *end]

	rejects        rejectLimits  // locks for itself
	noting         *tenant.Seats // who write that somebody was rejected: they would wait for one row
	looking        *tenant.Seats // who look at a channel
	rejectsDropped atomic.Int64
	drift          atomic.Int64 // counts that the last recount found wrong
	usageDrift     atomic.Int64 // tenants whose roll-ups the last reconciliation found wrong

	mu sync.Mutex
	// Guarded by mu
	onChange []func(tenant.ID)
	owners   map[string]tenant.ID // of connections that this process opened, until they are closed
}

// NewLedger returns the ledger of the database behind pool.
func NewLedger(pool *pgxpool.Pool, queue Outbox, log *slog.Logger) *Ledger {
	l := &Ledger{pool: pool, queue: queue, log: log, owners: map[string]tenant.ID{}}
	l.noting = tenant.NewSeats("refusals", 1, rejectBurst, noteTime)
	l.looking = tenant.NewSeats("looks at channels", looksAtOnce, looksWaiting, lookTime)
	l.openings = newTurns(l.admit, l.openAlone)
	l.openings.atOnce = make(chan struct{}, admissionsAtOnce)
	l.starts = newTurns(l.connect, l.connectAlone)
	l.ends = newTurns(l.closeAll, l.closeAlone)
	return l
}

// outbox writes events in tx at once.
func (l *Ledger) outbox(ctx context.Context, tx pgx.Tx, events ...tenant.Event) error {
	batch := &pgx.Batch{}
	if err := l.queue(batch, events...); err != nil {
		return err
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("couldn't write the events: %w", err)
	}
	return nil
}

// remember notes whose connection it is.
func (l *Ledger) remember(connectionID string, id tenant.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.owners[connectionID] = id
}

// remembered says whose connection it is, if this process opened it.
func (l *Ledger) remembered(connectionID string) (tenant.ID, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	id, ok := l.owners[connectionID]
	return id, ok
}

// forget is for connections that are closed.
func (l *Ledger) forget(connectionIDs []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range connectionIDs {
		delete(l.owners, id)
	}
}

// OnChange has f called after each commit that changed a tenant's live rows,
// licence or events. f is called without any lock held, on the goroutine of
// the change, and must not block.
func (l *Ledger) OnChange(f func(tenant.ID)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.onChange = append(l.onChange, f)
}

// changed tells the subscribers that id's rows have changed.
func (l *Ledger) changed(id tenant.ID) {
	l.mu.Lock()
	subscribers := l.onChange[:len(l.onChange):len(l.onChange)]
	l.mu.Unlock()
	for _, f := range subscribers {
		f(id)
	}
}

// since returns the moment on the database's clock that lies ago before asked:
// now is that clock, read just before the call. What passed since asked, in
// retries of the network or waiting for a lock, counts, too.
func since(now, asked time.Time, ago time.Duration) time.Time {
	return now.Add(-(max(ago, 0) + time.Since(asked)).Truncate(time.Microsecond)) // what Postgres can keep
}

// lockTenantRow takes the tenant_live row of a tenant, the first lock of every
// transaction that changes what is live, and reads the database's time.
//
// The row comes first: the columns of a statement that locks are computed before it
// waits, and a wait would be billed.
const lockTenantRow = `
	with locked as materialized (select from tenant_live where tenant_id = $1 for no key update)
	select clock_timestamp() from locked`

// lockTenant makes that one statement.
func lockTenant(ctx context.Context, tx pgx.Tx, id tenant.ID) (now time.Time, err error) {
	return scanLock(tx.QueryRow(ctx, lockTenantRow, id), id)
}

// scanLock reads what the statement says.
func scanLock(row pgx.Row, id tenant.ID) (now time.Time, err error) {
	err = row.Scan(&now)
	if errors.Is(err, pgx.ErrNoRows) {
		return now, fmt.Errorf("tenant %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return now, fmt.Errorf("couldn't lock tenant %s: %w", id, err)
	}
	return now, nil
}
