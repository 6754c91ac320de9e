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
	From, To    time.Time   // From ≤ t < To, in the tenant's time zone; by channel and role the whole time asked for
	Channel     string      // ByChannel
	Role        tenant.Role // ByRole
	Connections int64       // whose media connected in this time
	Minutes     int64       // billed: minutes that started in this time
	Seconds     int64       // full seconds
	BytesIn     int64       // of a connection that crosses a boundary, spread evenly over its time
	BytesOut    int64
}

// add counts the part of a connection that lies in the row's time.
func (r *UsageRow) add(c *used) {
	r.Minutes += Minutes(c.connectedAt, c.end, r.From, r.To)
	r.Seconds += Seconds(c.connectedAt, c.end, r.From, r.To)
	r.BytesIn += bytesShare(c.bytesIn, c.connectedAt, c.end, r.From, r.To)
	r.BytesOut += bytesShare(c.bytesOut, c.connectedAt, c.end, r.From, r.To)
	if !c.connectedAt.Before(r.From) && c.connectedAt.Before(r.To) {
		r.Connections++
	}
}

// used is one connection with media, until it ended or, live, until the last
// second that was metered.
type used struct {
	channel           string
	role              tenant.Role
	connectedAt, end  time.Time
	bytesIn, bytesOut int64
}

// Usage returns what the tenant's connections used in from ≤ t < to, in order
// of time, channel or role. Times, channels and roles without use have no row.
// Live connections count up to their last metered second.
func (l *Ledger) Usage(ctx context.Context, scope tenant.Scope, from, to time.Time, by GroupBy) ([]UsageRow, error) {
	if scope.Tenant() == "" {
		return nil, tenant.ErrScope
	}
	if !from.Before(to) || to.Sub(from) > LongestUsage {
		return nil, ErrUsageQuery
	}
	zone, err := l.timeZone(ctx, scope)
	if err != nil {
		return nil, err
	}
	rows, err := newUsageRows(from, to, zone, by)
	if err != nil {
		return nil, err
	}
	segments, err := scope.In(l.pool).Query(ctx, `
		select channel_id, role, connected_at, coalesce(ended_at, metered_through, connected_at), bytes_in, bytes_out
		from connection
		where tenant_id = $1 and connected_at < $3 and (connected_at >= $2 or ended_at is null or ended_at > $2)`,
		scope.Tenant(), from, to)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the usage of %s: %w", scope.Tenant(), err)
	}
	var c used
	_, err = pgx.ForEachRow(segments, []any{&c.channel, &c.role, &c.connectedAt, &c.end, &c.bytesIn, &c.bytesOut}, func() error {
		rows.add(&c)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the usage of %s: %w", scope.Tenant(), err)
	}
	return rows.used(), nil
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
// the first connection of the group comes.
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

// add counts one connection in all rows that it touches.
func (u *usageRows) add(c *used) {
	switch u.by {
	case ByChannel:
		u.group(c.channel, UsageRow{From: u.whole.from, To: u.whole.to, Channel: c.channel}).add(c)
	case ByRole:
		u.group(string(c.role), UsageRow{From: u.whole.from, To: u.whole.to, Role: c.role}).add(c)
	default:
		first := sort.Search(len(u.rows), func(i int) bool { return u.rows[i].To.After(c.connectedAt) })
		for i := first; i < len(u.rows); i++ {
			row := &u.rows[i]
			if i > first && !row.From.Before(c.end) {
				break
			}
			row.add(c)
		}
	}
}

// group returns the row of a group, which starts as empty.
func (u *usageRows) group(key string, empty UsageRow) *UsageRow {
	i, ok := u.index[key]
	if !ok {
		i = len(u.rows)
		u.index[key] = i
		u.rows = append(u.rows, empty)
	}
	return &u.rows[i]
}

// used returns the rows with any use, sorted.
func (u *usageRows) used() []UsageRow {
	rows := slices.DeleteFunc(u.rows, func(r UsageRow) bool {
		return r.Connections == 0 && r.Minutes == 0 && r.Seconds == 0 && r.BytesIn == 0 && r.BytesOut == 0
	})
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
