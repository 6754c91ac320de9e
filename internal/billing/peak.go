package billing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Peak is the most connections that a tenant had at one time in an hour.
type Peak struct {
	Hour           time.Time `json:"hour"` // its start, in UTC
	Connections    int       `json:"connections"`
	MaxConnections int       `json:"max_connections"` // the licence when there were so many
}

// ErrPeakQuery is returned by Peaks for times that are empty or longer than 400 days.
var ErrPeakQuery = errors.New("peaks can be asked for up to 400 days")

// Peaks returns the tenant's peak of each hour that begins in from ≤ t < to, oldest
// first, up to the hour under way. In an hour in which nobody came there were as many
// as came with it. There are none from before the tenant's first hour.
func (l *Ledger) Peaks(ctx context.Context, scope tenant.Scope, from, to time.Time) ([]Peak, error) {
	if scope.Tenant() == "" {
		return nil, tenant.ErrScope
	}
	if !from.Before(to) || to.Sub(from) > LongestUsage {
		return nil, ErrPeakQuery
	}
	rows, err := scope.In(l.pool).Query(ctx, `
		select hour, peak, max_connections, left_connections, left_max, clock_timestamp() from licence_peak
		where tenant_id = $1 and hour < $3
			and hour >= coalesce((select max(hour) from licence_peak where tenant_id = $1 and hour <= $2), $2)
		union all
		select peak_hour, peak, peak_max, connections, max_connections, clock_timestamp() from tenant_live where tenant_id = $1
		order by 1`, scope.Tenant(), from, to)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the peaks of %s: %w", scope.Tenant(), err)
	}
	var now time.Time
	kept, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h pastHour, err error) {
		err = row.Scan(&h.hour, &h.peak, &h.peakMax, &h.left, &h.leftMax, &now)
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the peaks of %s: %w", scope.Tenant(), err)
	}
	if len(kept) == 0 {
		return nil, ErrNotFound
	}
	return everyHour(kept, from, to, now), nil
}

// everyHour fills the hours between those in which something changed, sorted: such an
// hour has what the one before it left.
func everyHour(kept []pastHour, from, to, now time.Time) (peaks []Peak) {
	for hour := kept[0].hour.UTC(); hour.Before(to) && !hour.After(now); hour = hour.Add(time.Hour) {
		p := Peak{Hour: hour, Connections: kept[0].left, MaxConnections: kept[0].leftMax}
		if kept[0].hour.Equal(hour) {
			p.Connections, p.MaxConnections = kept[0].peak, kept[0].peakMax
		}
		if len(kept) > 1 && !kept[1].hour.After(hour.Add(time.Hour)) {
			kept = kept[1:]
		}
		if !hour.Before(from) {
			peaks = append(peaks, p)
		}
	}
	return peaks
}
