package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// account is a tenant's tenant_live row as the transaction that locked it sees it:
// how many places are taken, of how many, the peak of the hour and what the tenant
// has been told. Whoever takes places or changes the licence counts here first and
// then writes what has become of it, so that all of it is true at every commit.
type account struct {
	tenant        tenant.ID
	now           time.Time // on the database's clock, once the row was locked
	connections   int       // places taken
	licence       int       // of so many
	perChannel    int       // of which a channel may have so many
	warned        warned
	hour          time.Time // whose peak it is
	peak, peakMax int       // most places taken in it, and the licence then
	seq           int64     // of the last event
	past          *pastHour // the hour before, if it is over and not written yet
	events        []tenant.Event
	cappedUntil   *time.Time // spending has reached its cap, and nobody new comes in until then; nil: it has not
}

// pastHour is an hour that is over, as licence_peak keeps it.
type pastHour struct {
	hour          time.Time
	peak, peakMax int
	left, leftMax int
}

// lockAccountRow takes the tenant's row, the first lock of every transaction that
// changes what is live, and reads it.
const lockAccountRow = `
	select connections, max_connections, max_per_channel, threshold, low_connections, peak_hour, peak, peak_max, event_seq, spend_capped_until
	from tenant_live where tenant_id = $1 for no key update`

// lockAccount makes that statement and reads the clock when it has the lock.
func lockAccount(ctx context.Context, tx pgx.Tx, id tenant.ID) (*account, error) {
	batch := &pgx.Batch{}
	batch.Queue(lockAccountRow, id)
	batch.Queue(`select clock_timestamp()`)
	results := tx.SendBatch(ctx, batch)
	defer results.Close() // a failure has shown by then
	a, err := scanAccount(results.QueryRow(), id)
	if err != nil {
		return nil, err
	}
	if err := results.QueryRow().Scan(&a.now); err != nil {
		return nil, fmt.Errorf("couldn't read the database's clock: %w", err)
	}
	return a, results.Close()
}

// scanAccount reads the row.
func scanAccount(row pgx.Row, id tenant.ID) (*account, error) {
	a := &account{tenant: id}
	err := row.Scan(&a.connections, &a.licence, &a.perChannel, &a.warned.threshold, &a.warned.low, &a.hour, &a.peak, &a.peakMax, &a.seq, &a.cappedUntil)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, fmt.Errorf("tenant %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't lock tenant %s: %w", id, err)
	}
	return a, nil
}

// turnHour begins the peak of this hour with what is live, when the one that was
// kept so far is over. It comes before any change. A clock that was set back changes
// nothing: the hour goes on until it is over.
func (a *account) turnHour() {
	hour := a.now.UTC().Truncate(time.Hour)
	if !hour.After(a.hour) {
		return
	}
	a.past = &pastHour{hour: a.hour, peak: a.peak, peakMax: a.peakMax, left: a.connections, leftMax: a.licence}
	a.hour, a.peak, a.peakMax = hour, a.connections, a.licence
}

// take takes one place.
func (a *account) take() error {
	a.turnHour()
	a.connections++
	return a.counted()
}

// free frees some.
func (a *account) free(n int) {
	a.turnHour()
	a.connections -= n
	a.warned.low = min(a.warned.low, a.connections)
}

// limit changes the licence.
func (a *account) limit(connections, perChannel int) error {
	a.turnHour()
	a.licence, a.perChannel = connections, perChannel
	return a.counted()
}

// counted keeps the peak and tells the tenant of a threshold that it has reached.
func (a *account) counted() error {
	if a.connections > a.peak {
		a.peak, a.peakMax = a.connections, a.licence
	}
	for _, threshold := range a.warned.count(a.connections, a.licence) {
		e, err := channelEvent(a.tenant, "", tenant.LicenceThreshold, a.now,
			ThresholdData{Threshold: threshold, Connections: a.connections, MaxConnections: a.licence})
		if err != nil {
			return err
		}
		a.events = append(a.events, e)
	}
	return nil
}

// refuseCapped refuses somebody new while spending has reached its cap; nil: it has not.
func (a *account) refuseCapped() error {
	if a.cappedUntil == nil || !a.now.Before(*a.cappedUntil) {
		return nil
	}
	return spendCapped(*a.cappedUntil)
}

// tell returns the events that have come together, once.
func (a *account) tell() []tenant.Event {
	events := a.events
	a.events = nil
	return events
}

// number gives events their seq, so that write has it and the outbox need not.
func (a *account) number(events []tenant.Event) {
	for i := range events {
		a.seq++
		events[i].Seq = a.seq
	}
}

// write queues what has become of the row, and the hour that is over.
func (a *account) write(batch *pgx.Batch) {
	if p := a.past; p != nil {
		batch.Queue(`
			insert into licence_peak (tenant_id, hour, peak, max_connections, left_connections, left_max)
			values ($1, $2, $3, $4, $5, $6)`, a.tenant, p.hour, p.peak, p.peakMax, p.left, p.leftMax)
	}
	batch.Queue(`
		update tenant_live set connections = $2, max_connections = $3, max_per_channel = $4, threshold = $5, low_connections = $6,
			peak_hour = $7, peak = $8, peak_max = $9, event_seq = $10 where tenant_id = $1`,
		a.tenant, a.connections, a.licence, a.perChannel, a.warned.threshold, a.warned.low, a.hour, a.peak, a.peakMax, a.seq)
}

// save writes it at once.
func (a *account) save(ctx context.Context, tx pgx.Tx) error {
	batch := &pgx.Batch{}
	a.write(batch)
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("couldn't write the account of tenant %s: %w", a.tenant, err)
	}
	return nil
}

// freePlacesRow counts places off, in one statement for those who need not know
// more: account.free in SQL. The row is locked, so nothing comes between.
const freePlacesRow = `
	with this as materialized (
		select date_trunc('hour', clock_timestamp(), 'UTC') as hour
	), past as (
		insert into licence_peak (tenant_id, hour, peak, max_connections, left_connections, left_max)
		select tenant_id, peak_hour, peak, peak_max, connections, max_connections
		from tenant_live, this where tenant_id = $1 and peak_hour < this.hour
	)
	update tenant_live set connections = connections - $2, low_connections = least(low_connections, connections - $2),
		peak = case when peak_hour < this.hour then connections else peak end,
		peak_max = case when peak_hour < this.hour then max_connections else peak_max end,
		peak_hour = greatest(peak_hour, this.hour)
	from this where tenant_id = $1`
