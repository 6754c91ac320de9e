package stats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

const (
	// Kept is how long samples can be asked for.
	Kept = 24 * time.Hour
	// LargestSeries is how many intervals a series has at most.
	LargestSeries = 1000
	// gap is how far apart two samples may be for what lies between to be told as one
	// interval: one sample may be missing.
	gap = 25 * time.Second
	// recent is how old the newest sample of a live connection is at most, while the
	// database takes them.
	recent = time.Minute
)

// sampleColumns are those of connection_sample as s, in the order of scanSample.
var sampleColumns = func() string {
	var b strings.Builder
	b.WriteString("s.at")
	for _, c := range columns {
		b.WriteString(", s." + c.name)
	}
	return b.String()
}()

// bucketColumns make one row of the samples of one bucket. Counts never fall, so the
// largest is the newest.
var bucketColumns = func() string {
	var b strings.Builder
	b.WriteString("max(at)")
	for _, c := range columns {
		if c.state {
			fmt.Fprintf(&b, ", (array_agg(%s order by at desc) filter (where %[1]s is not null))[1]", c.name)
		} else {
			fmt.Fprintf(&b, ", max(%s)", c.name)
		}
	}
	return b.String()
}()

// scan makes what a row of figures is read into, after the other columns, and then
// puts it into the sample.
type scan struct {
	at     *time.Time
	values []*int64
}

func newScan() scan { return scan{values: make([]*int64, len(columns))} }

// into are the places for a row, others first.
func (r *scan) into(others ...any) []any {
	into := append(make([]any, 0, len(others)+1+len(r.values)), others...)
	into = append(into, &r.at)
	for i := range r.values {
		into = append(into, &r.values[i])
	}
	return into
}

// sample is what was read; false: the row had none.
func (r *scan) sample(connectionID string) (s Sample, ok bool) {
	if r.at == nil {
		return s, false
	}
	s.ConnectionID, s.At = connectionID, *r.at
	for i, v := range r.values {
		if v != nil {
			columns[i].load(&s, *v)
		}
	}
	return s, true
}

// SeriesQuery chooses intervals of one connection.
type SeriesQuery struct {
	ConnectionID string
	From, To     time.Time     // from ≤ an interval's end ≤ to
	Step         time.Duration // of an interval; 0: as sampled
	Limit        int           // at most LargestSeries; 0: that
}

// Series is a connection's media over time.
type Series struct {
	Intervals   []Interval
	More        bool      // there are later ones
	DataThrough time.Time // up to when everything is there: the connection's newest sample; zero: there is none yet
}

// Series returns what a connection of the scope's tenant did, live or ended; an
// unknown one has none.
func (s *Store) Series(ctx context.Context, scope tenant.Scope, q SeriesQuery) (series Series, err error) {
	if scope.Tenant() == "" {
		return series, tenant.ErrScope
	}
	if q.Limit <= 0 || q.Limit > LargestSeries {
		q.Limit = LargestSeries
	}
	before := gap // the interval that ends first begins there
	sql := `(select ` + sampleColumns + ` from connection_sample s
		where s.tenant_id = $1 and s.connection_id = $2 and s.at >= $3 and s.at <= $4 order by s.at limit $5)`
	args := []any{scope.Tenant(), q.ConnectionID, q.From, q.To, q.Limit + 2}
	if q.Step > 0 {
		before = q.Step + gap
		sql = `(select ` + bucketColumns + ` from connection_sample
		where tenant_id = $1 and connection_id = $2 and at >= $3 and at <= $4
		group by date_bin($6, at, 'epoch'::timestamptz) order by 1 limit $5)`
		args = append(args, q.Step)
	}
	// What the client counts begins with its report before, up to some minutes ago.
	sql = `(select ` + sampleColumns + ` from connection_sample s
		where s.tenant_id = $1 and s.connection_id = $2 and s.at < $3 and s.at > $3 - interval '5 minutes' and s.client_reports is not null
		order by s.at desc limit 1) union all ` + sql + ` order by 1`
	args[2] = q.From.Add(-before)
	rows, err := scope.In(s.pool).Query(ctx, sql, args...)
	if err != nil {
		return series, fmt.Errorf("couldn't read the statistics of connection %s: %w", q.ConnectionID, err)
	}
	row := newScan()
	var samples []Sample
	if _, err = pgx.ForEachRow(rows, row.into(), func() error {
		sample, _ := row.sample(q.ConnectionID)
		samples = append(samples, sample)
		return nil
	}); err != nil {
		return series, fmt.Errorf("couldn't read the statistics of connection %s: %w", q.ConnectionID, err)
	}
	for _, i := range intervals(samples, q.Step) {
		if i.At.Before(q.From) {
			continue
		}
		if series.More = len(series.Intervals) == q.Limit; series.More {
			break
		}
		series.Intervals = append(series.Intervals, i)
	}
	var through *time.Time
	err = scope.In(s.pool).QueryRow(ctx, `
		select max(at) from connection_sample where tenant_id = $1 and connection_id = $2`, scope.Tenant(), q.ConnectionID).Scan(&through)
	if err != nil {
		return series, fmt.Errorf("couldn't read the statistics of connection %s: %w", q.ConnectionID, err)
	}
	if through != nil {
		series.DataThrough = *through
	}
	return series, nil
}

// Query chooses among a tenant's live connections; what is "" chooses all.
type Query struct {
	Channel      string
	ClientID     string
	ConnectionID string // unknown, or not live: tenant.ErrNotFound
	After        string // the connection id that the last page ended with
	Limit        int    // at most 1000; 0: that
}

// Who is a live connection.
type Who struct {
	ConnectionID string
	Channel      string
	ClientID     string
	SessionID    string
	Role         tenant.Role
	ConnectedAt  time.Time // zero: its media has not connected
}

// Latest is the newest of a live connection.
type Latest struct {
	Who
	At     time.Time // of the sample; zero: there is none yet
	Totals Sample
	Last   *Interval // up to At; nil: there are no two samples, or one is missing between
}

// Report is what a live connection's client last said of itself.
type Report struct {
	Who
	At    time.Time       // when it came
	Stats json.RawMessage // its list of RTCStats, as it came
}

// maxPage is how many connections a page has at most.
const maxPage = 1000

// chosen are the live connections of a Query with parameters $1 to $5, one more than
// its limit.
const chosen = `
	select l.tenant_id, l.connection_id, l.channel_id, c.client_id, c.session_id, c.role, c.connected_at
	from live_connection l join connection c using (tenant_id, connection_id)
	where l.tenant_id = $1 and ($2 = '' or l.channel_id = $2) and ($3 = '' or c.client_id = $3)
		and ($4 = '' or l.connection_id = $4) and l.connection_id > $5
	order by l.connection_id limit $6`

func (q *Query) args(id tenant.ID) []any {
	if q.Limit <= 0 || q.Limit > maxPage {
		q.Limit = maxPage
	}
	return []any{id, q.Channel, q.ClientID, q.ConnectionID, q.After, q.Limit + 1}
}

// Latest returns the newest sample of each live connection of the scope's tenant that
// q chooses, by connection id. next continues the listing as Query.After; "": there
// are no more.
func (s *Store) Latest(ctx context.Context, scope tenant.Scope, q Query) (list []Latest, next string, err error) {
	if scope.Tenant() == "" {
		return nil, "", tenant.ErrScope
	}
	args := append(q.args(scope.Tenant()), recent)
	rows, err := scope.In(s.pool).Query(ctx, `
		select w.connection_id, w.channel_id, w.client_id, w.session_id, w.role, w.connected_at, `+sampleColumns+`
		from (`+chosen+`) w left join lateral (
			select * from connection_sample s
			where s.tenant_id = $1 and s.connection_id = w.connection_id and s.at > statement_timestamp() - $7::interval
			order by s.at desc limit 2) s on true
		order by w.connection_id, s.at desc`, args...)
	if err != nil {
		return nil, "", fmt.Errorf("couldn't read the newest statistics: %w", err)
	}
	var who Who
	var connected *time.Time
	row := newScan()
	if _, err = pgx.ForEachRow(rows, row.into(&who.ConnectionID, &who.Channel, &who.ClientID, &who.SessionID, &who.Role, &connected), func() error {
		sample, ok := row.sample(who.ConnectionID)
		if n := len(list); n > 0 && list[n-1].ConnectionID == who.ConnectionID {
			if newest := &list[n-1]; ok {
				if pair := intervals([]Sample{sample, newest.Totals}, 0); len(pair) > 0 {
					newest.Last = &pair[len(pair)-1]
				}
			}
			return nil
		}
		latest := Latest{Who: who, At: sample.At, Totals: sample}
		if connected != nil {
			latest.ConnectedAt = *connected
		}
		if first := intervals([]Sample{sample}, 0); ok && len(first) > 0 {
			latest.Last = &first[0]
		}
		list = append(list, latest)
		return nil
	}); err != nil {
		return nil, "", fmt.Errorf("couldn't read the newest statistics: %w", err)
	}
	list, next, err = paged(list, q, func(l Latest) string { return l.ConnectionID })
	return list, next, err
}

// Newest returns the last interval of those of the scope's tenant's connections that
// have a sample of the last minute, by connection id.
func (s *Store) Newest(ctx context.Context, scope tenant.Scope, connectionIDs []string) (map[string]Interval, error) {
	if scope.Tenant() == "" {
		return nil, tenant.ErrScope
	}
	rows, err := scope.In(s.pool).Query(ctx, `
		select w.connection_id, `+sampleColumns+`
		from unnest($2::text[]) as w (connection_id) cross join lateral (
			select * from connection_sample s
			where s.tenant_id = $1 and s.connection_id = w.connection_id and s.at > statement_timestamp() - $3::interval
			order by s.at desc limit 2) s
		order by w.connection_id, s.at`, scope.Tenant(), connectionIDs, recent)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the newest statistics: %w", err)
	}
	newest := map[string]Interval{}
	var id string
	var samples []Sample // of one connection, the older one first
	row := newScan()
	_, err = pgx.ForEachRow(rows, row.into(&id), func() error {
		sample, _ := row.sample(id)
		if len(samples) > 0 && samples[0].ConnectionID != id {
			samples = samples[:0]
		}
		samples = append(samples, sample)
		if pair := intervals(samples, 0); len(pair) > 0 {
			newest[id] = pair[len(pair)-1]
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the newest statistics: %w", err)
	}
	return newest, nil
}

// Reports returns what the clients of the scope's tenant's live connections that q
// chooses last said of themselves, by connection id: those that said anything.
func (s *Store) Reports(ctx context.Context, scope tenant.Scope, q Query) (list []Report, next string, err error) {
	if scope.Tenant() == "" {
		return nil, "", tenant.ErrScope
	}
	rows, err := scope.In(s.pool).Query(ctx, `
		select w.connection_id, w.channel_id, w.client_id, w.session_id, w.role, w.connected_at, r.at, r.report
		from (`+chosen+`) w left join client_report r on r.tenant_id = $1 and r.connection_id = w.connection_id
		order by w.connection_id`, q.args(scope.Tenant())...)
	if err != nil {
		return nil, "", fmt.Errorf("couldn't read the clients' reports: %w", err)
	}
	list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r Report, err error) {
		var connected, at *time.Time
		var report []byte
		err = row.Scan(&r.ConnectionID, &r.Channel, &r.ClientID, &r.SessionID, &r.Role, &connected, &at, &report)
		if connected != nil {
			r.ConnectedAt = *connected
		}
		if at != nil {
			r.At, r.Stats = *at, report
		}
		return r, err
	})
	if err != nil {
		return nil, "", fmt.Errorf("couldn't read the clients' reports: %w", err)
	}
	list, next, err = paged(list, q, func(r Report) string { return r.ConnectionID })
	said := list[:0]
	for _, r := range list {
		if r.Stats != nil {
			said = append(said, r)
		}
	}
	return said, next, err
}

// errNotLive is for a connection that is not there.
var errNotLive = errors.New("no such live connection")

// paged cuts off what is beyond the page.
func paged[T any](list []T, q Query, id func(T) string) (_ []T, next string, err error) {
	if q.ConnectionID != "" && len(list) == 0 {
		return nil, "", fmt.Errorf("%w: %w", errNotLive, tenant.ErrNotFound)
	}
	if len(list) > q.Limit {
		list = list[:q.Limit]
		next = id(list[q.Limit-1])
	}
	return list, next, nil
}
