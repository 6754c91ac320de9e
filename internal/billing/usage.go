package billing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// GroupBy says what one UsageRow stands for.
type GroupBy string

// The groupings of usage. Months, days and hours are those of the tenant's time zone.
const (
	ByMonth   GroupBy = "month"
	ByDay     GroupBy = "day"
	ByHour    GroupBy = "hour"
	ByChannel GroupBy = "channel"
	ByRole    GroupBy = "role"
)

// ErrUsageQuery is returned for a usage query that cannot be answered: an
// unknown grouping, or a time that is empty or longer than 400 days.
var ErrUsageQuery = errors.New("usage can be asked by hour, day, month, channel or role, for up to 400 days")

// LongestUsage is the longest time that one usage query may cover.
const LongestUsage = 400 * 24 * time.Hour

// UsageRow is the use in one hour, day or month, or of one channel or role. Rows of adjoining
// times add up exactly, in every column.
type UsageRow struct {
	From, To time.Time   // From ≤ t < To, in the tenant's time zone; by channel and role the whole time asked for
	Channel  string      // ByChannel
	Role     tenant.Role // ByRole
	rating.Usage
}

// add counts the part of a connection that lies in from ≤ t < to and in the row's time.
func (r *UsageRow) add(m *Metered, from, to time.Time) {
	r.Usage = r.Usage.Add(m.Share(later(from, r.From), earlier(to, r.To)))
}

// UsageQuery says which usage is asked for: that of from ≤ t < to.
type UsageQuery struct {
	From, To time.Time
	By       GroupBy
	Channel  string      // "": of all channels
	Role     tenant.Role // "": of all roles
	Idle     bool        // by month, day and hour: those without use, too
}

// UsageReport is an answer about usage.
type UsageReport struct {
	From, To time.Time  // in the tenant's time zone
	Rows     []UsageRow // in order of time, channel or role; those without use only if asked for
	// DataThrough is until when everything is counted: now or, earlier, what the live
	// connection that was heard of longest ago has been metered through.
	DataThrough time.Time
}

// Usage returns what the tenant's connections used in from ≤ t < to, in order
// of time, channel or role. Times, channels and roles without use have no row.
// Live connections count up to their last metered second.
func (l *Ledger) Usage(ctx context.Context, scope tenant.Scope, from, to time.Time, by GroupBy) ([]UsageRow, error) {
	report, err := l.Report(ctx, scope, UsageQuery{From: from, To: to, By: by})
	return report.Rows, err
}

// Report is Usage with all that can be asked. Whole quarters of an hour are read from
// the roll-ups, the rest from connections, all as of one moment.
func (l *Ledger) Report(ctx context.Context, scope tenant.Scope, q UsageQuery) (UsageReport, error) {
	if scope.Tenant() == "" {
		return UsageReport{}, tenant.ErrScope
	}
	if !q.From.Before(q.To) || q.To.Sub(q.From) > LongestUsage {
		return UsageReport{}, ErrUsageQuery
	}
	zone, err := l.timeZone(ctx, scope)
	if err != nil {
		return UsageReport{}, err
	}
	rows, err := newUsageRows(q.From, q.To, zone, q.By)
	if err != nil {
		return UsageReport{}, err
	}
	through, err := l.readUsage(ctx, scope.In(l.pool), scope.Tenant(), q, rows)
	if err != nil {
		return UsageReport{}, err
	}
	return UsageReport{From: rows.whole.from, To: rows.whole.to, Rows: rows.used(q.Idle), DataThrough: through.In(zone)}, nil
}

// Used returns all that a tenant used in from ≤ t < to, and until when that is known
// (UsageReport.DataThrough). db is a transaction or what a scope may see.
func (l *Ledger) Used(ctx context.Context, db querier, id tenant.ID, from, to time.Time) (rating.Usage, time.Time, error) {
	if !from.Before(to) || to.Sub(from) > LongestUsage {
		return rating.Usage{}, time.Time{}, ErrUsageQuery
	}
	rows := &usageRows{whole: period{from, to}, rows: []UsageRow{{From: from, To: to}}}
	through, err := l.readUsage(ctx, db, id, UsageQuery{From: from, To: to}, rows)
	return rows.rows[0].Usage, through, err
}

// DataThrough returns until when the tenant's usage is known, as UsageReport has it.
func (l *Ledger) DataThrough(ctx context.Context, scope tenant.Scope) (through time.Time, err error) {
	err = scope.In(l.pool).QueryRow(ctx, `
		select least(clock_timestamp(), min(c.metered_through))
		from live_connection l join connection c using (tenant_id, connection_id)
		where l.tenant_id = $1 and c.connected_at is not null and c.ended_at is null`, scope.Tenant()).Scan(&through)
	if err != nil {
		return through, fmt.Errorf("couldn't read until when the usage of %s is known: %w", scope.Tenant(), err)
	}
	return through, nil
}

// timeZone returns the tenant's time zone.
func (l *Ledger) timeZone(ctx context.Context, scope tenant.Scope) (*time.Location, error) {
	var name string
	id := scope.Tenant()
	err := scope.In(l.pool).QueryRow(ctx, `select time_zone from tenant where tenant_id = $1`, id).Scan(&name)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't read the time zone of %s: %w", id, err)
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("couldn't load the time zone of %s: %w", id, err)
	}
	return zone, nil
}

// usageRows are the rows of one answer while they are counted. By month, day and
// hour there is one for each from the start; by channel and role they are made when
// the first use of the group comes.
type usageRows struct {
	whole period
	by    GroupBy
	rows  []UsageRow     // ByMonth, ByDay, ByHour: adjoining, in order of time
	index map[string]int // ByChannel, ByRole: where the group's row is
}

func newUsageRows(from, to time.Time, zone *time.Location, by GroupBy) (*usageRows, error) {
	u := &usageRows{whole: period{from.In(zone), to.In(zone)}, by: by, index: make(map[string]int)}
	var times []period
	switch by {
	case ByMonth:
		times = months(from, to, zone)
	case ByDay:
		times = days(from, to, zone)
	case ByHour:
		times = hours(from, to, zone)
	case ByChannel, ByRole:
	default:
		return nil, fmt.Errorf("%w: not by %q", ErrUsageQuery, by)
	}
	for _, p := range times {
		u.rows = append(u.rows, UsageRow{From: p.from, To: p.to})
	}
	return u, nil
}

// cuts are the moments where one row ends and the next begins, and both ends.
func (u *usageRows) cuts() []time.Time {
	cuts := []time.Time{u.whole.from}
	for i := range u.rows {
		cuts = append(cuts, u.rows[i].To)
	}
	return append(cuts, u.whole.to)
}

// addSlot counts what is rolled up of a slot, or by channel and role of any.
func (u *usageRows) addSlot(slot time.Time, channel string, role tenant.Role, used rating.Usage) {
	row := u.group(channel, role)
	if row == nil {
		i := sort.Search(len(u.rows), func(i int) bool { return u.rows[i].To.After(slot) })
		row = &u.rows[i]
	}
	row.Usage = row.Usage.Add(used)
}

// addPart counts the part of a connection that lies in from ≤ t < to, in all rows that
// it touches.
func (u *usageRows) addPart(channel string, role tenant.Role, m *Metered, from, to time.Time) {
	if !from.Before(to) {
		return
	}
	if row := u.group(channel, role); row != nil {
		row.add(m, from, to)
		return
	}
	start := later(from, m.ConnectedAt)
	first := sort.Search(len(u.rows), func(i int) bool { return u.rows[i].To.After(start) })
	for i := first; i < len(u.rows); i++ {
		row := &u.rows[i]
		if i > first && !row.From.Before(earlier(to, m.End)) {
			break
		}
		row.add(m, from, to)
	}
}

// group returns the row of a channel or role, which starts as empty; nil if rows are
// not by these.
func (u *usageRows) group(channel string, role tenant.Role) *UsageRow {
	key := channel
	switch u.by {
	case ByChannel:
		role = ""
	case ByRole:
		key, channel = string(role), ""
	default:
		return nil
	}
	i, ok := u.index[key]
	if !ok {
		i = len(u.rows)
		u.index[key] = i
		u.rows = append(u.rows, UsageRow{From: u.whole.from, To: u.whole.to, Channel: channel, Role: role})
	}
	return &u.rows[i]
}

// used returns the rows with any use, or all, sorted.
func (u *usageRows) used(idle bool) []UsageRow {
	rows := slices.DeleteFunc(u.rows, func(r UsageRow) bool { return !idle && r.Usage.IsZero() })
	slices.SortFunc(rows, func(a, b UsageRow) int {
		if c := a.From.Compare(b.From); c != 0 {
			return c
		}
		if c := strings.Compare(a.Channel, b.Channel); c != 0 {
			return c
		}
		return strings.Compare(string(a.Role), string(b.Role))
	})
	return rows
}
