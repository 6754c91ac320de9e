package stats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/sfu"
)

const (
	// parts is in how many parts a node's connections are sampled, one after the
	// other, so that neither the node nor the database has all to do at once.
	parts    = 5
	partStep = SampleInterval / parts
	// writeAtOnce is how many samples one statement writes at most, and
	// reportsAtOnce how many clients' reports.
	writeAtOnce   = 1000
	reportsAtOnce = 200
	// writeTimeout is how long a statement may take; lastWrite is for those after
	// the node has stopped.
	writeTimeout = 5 * time.Second
	lastWrite    = time.Second
	// sweepInterval is how often reports are looked for that are too old.
	sweepInterval = time.Minute
)

// Source has the connections to sample: *sfu.SFU.
type Source interface {
	// Readings appends the readings of one of several parts of all connections.
	Readings(list []sfu.Reading, part, parts int) []sfu.Reading
}

// Store keeps the samples and reports of this node's connections, and reads those of
// all nodes. Its methods may be called from any goroutine.
type Store struct {
	// Static
	pool    *pgxpool.Pool
	log     *slog.Logger
	backlog backlog       // locks for itself
	reports reports       // likewise
	wake    chan struct{} // holds one token: there is something to write
	written atomic.Int64
	failed  atomic.Int64
}

// New returns the store of the database behind pool. Run has it work.
func New(pool *pgxpool.Pool, log *slog.Logger) *Store {
	return &Store{pool: pool, log: log, wake: make(chan struct{}, 1)}
}

// Counts are the store's figures since the process's start.
type Counts struct {
	Written int64 // samples
	Dropped int64 // samples that the database could not be given in time
	Waiting int   // samples that it is to be given, now
	Failed  int64 // statements
	Reports ReportCounts
}

// Counts returns the figures.
func (s *Store) Counts() Counts {
	c := Counts{Written: s.written.Load(), Failed: s.failed.Load(), Reports: s.reports.counted()}
	c.Waiting, c.Dropped = s.backlog.size()
	return c
}

// Run samples the connections of source until ctx ends, and writes what it has.
// ledgerID is the id by which the ledger knows a connection of the media plane.
func (s *Store) Run(ctx context.Context, source Source, ledgerID func(mediaID string) string) {
	var writing sync.WaitGroup
	writing.Go(func() { s.runWriting(ctx, ledgerID) })
	defer writing.Wait()
	tick := time.NewTicker(partStep)
	defer tick.Stop()
	var list []sfu.Reading
	for part := 0; ; part = (part + 1) % parts {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		list = source.Readings(list[:0], part, parts)
		for i := range list {
			s.add(&list[i])
		}
		s.stir()
	}
}

// Ended takes the last reading of a connection. It does not wait.
func (s *Store) Ended(r sfu.Reading) {
	s.add(&r)
	s.reports.forget(r.Tenant, r.ConnectionID)
}

// add takes a reading. The sample keeps the media plane's id of the connection until
// it is written.
func (s *Store) add(r *sfu.Reading) {
	sample := newSample(r, r.ConnectionID)
	sample.Client = s.reports.news(r.Tenant, r.ConnectionID)
	s.backlog.add(sample)
}

// stir has what waits be written.
func (s *Store) stir() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// runWriting writes until ctx ends, and then once more what there is.
func (s *Store) runWriting(ctx context.Context, ledgerID func(string) string) {
	sweep := time.NewTicker(sweepInterval)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrite)
			defer cancel()
			s.flush(last, ledgerID)
			return
		case <-s.wake:
			s.flush(ctx, ledgerID)
		case now := <-sweep.C:
			s.reports.sweep(now)
			s.forgetReports(ctx)
		}
	}
}

// flush writes what waits, until nothing does or the database takes no more.
func (s *Store) flush(ctx context.Context, ledgerID func(string) string) {
	for ctx.Err() == nil {
		samples := s.backlog.take(writeAtOnce)
		if len(samples) == 0 {
			break
		}
		if err := s.write(ctx, samples, ledgerID); err != nil {
			s.backlog.giveBack(samples)
			s.complain(ctx, err)
			return
		}
		s.written.Add(int64(len(samples)))
	}
	for ctx.Err() == nil {
		reports := s.reports.take(reportsAtOnce)
		if len(reports) == 0 {
			return
		}
		if err := s.writeReports(ctx, reports, ledgerID); err != nil {
			s.reports.lost(len(reports))
			s.complain(ctx, err)
			return
		}
	}
}

func (s *Store) complain(ctx context.Context, err error) {
	s.failed.Add(1)
	if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
		s.log.Warn("couldn't write statistics; they wait", "err", err)
	}
}

// insertSamples writes samples: their ages in µs, for the time is the database's.
// Who is sampled has been admitted, and the rows are gone in a day, so no foreign key
// is paid for.
var insertSamples = func() string {
	var names, values, arrays strings.Builder
	for i, c := range columns {
		kind := ""
		if !c.wide {
			kind = "::integer"
		}
		fmt.Fprintf(&names, ", %s", c.name)
		fmt.Fprintf(&values, ", nullif(%s, 0)%s", c.name, kind)
		fmt.Fprintf(&arrays, ", $%d::bigint[]", 4+i)
	}
	return `insert into connection_sample (tenant_id, connection_id, at` + names.String() + `)
		select tenant_id, connection_id, clock_timestamp() - age * interval '1 microsecond'` + values.String() + `
		from unnest($1::text[], $2::text[], $3::bigint[]` + arrays.String() + `) as s (tenant_id, connection_id, age` + names.String() + `)
		on conflict do nothing`
}()

// write writes samples in one statement.
func (s *Store) write(ctx context.Context, samples []Sample, ledgerID func(string) string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	n := len(samples)
	tenants, ids, ages := make([]string, n), make([]string, n), make([]int64, n)
	figures := make([]int64, n*len(columns))
	args := make([]any, 0, 3+len(columns))
	args = append(args, tenants, ids, ages)
	for c := range columns {
		column := figures[c*n : (c+1)*n]
		for i := range samples {
			column[i] = columns[c].stored(&samples[i])
		}
		args = append(args, column)
	}
	for i := range samples {
		tenants[i], ids[i] = string(samples[i].tenant), ledgerID(samples[i].ConnectionID)
		ages[i] = time.Since(samples[i].taken).Microseconds()
	}
	if _, err := s.pool.Exec(ctx, insertSamples, args...); err != nil {
		return fmt.Errorf("couldn't write %d samples: %w", n, err)
	}
	return nil
}

// writeReports writes clients' reports, each in the place of its last.
func (s *Store) writeReports(ctx context.Context, list []unwritten, ledgerID func(string) string) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	n := len(list)
	tenants, ids, ages, raws := make([]string, n), make([]string, n), make([]int64, n), make([][]byte, n)
	for i, r := range list {
		tenants[i], ids[i], raws[i] = string(r.tenant), ledgerID(r.connectionID), r.raw
		ages[i] = time.Since(r.at).Microseconds()
	}
	if _, err := s.pool.Exec(ctx, `
		insert into client_report as r (tenant_id, connection_id, at, report)
		select tenant_id, connection_id, clock_timestamp() - age * interval '1 microsecond', report
		from unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[]) as n (tenant_id, connection_id, age, report)
		order by tenant_id, connection_id
		on conflict (tenant_id, connection_id) do update set at = excluded.at, report = excluded.report`,
		tenants, ids, ages, raws); err != nil {
		return fmt.Errorf("couldn't write %d reports: %w", n, err)
	}
	return nil
}

// forgetReports deletes reports of clients that have gone.
func (s *Store) forgetReports(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if _, err := s.pool.Exec(ctx, `delete from client_report where at < clock_timestamp() - $1::interval`, reportKept); err != nil {
		s.complain(ctx, fmt.Errorf("couldn't delete old reports: %w", err))
	}
}
