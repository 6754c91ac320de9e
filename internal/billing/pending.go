package billing

import (
	"context"
	"errors"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

type rejectLimits struct{}

// Mark is how far one live connection has come.
type Mark struct {
	ConnectionID string
	// Connected is how long its media has been connected, on the node's
	// monotonic clock.
	Connected         time.Duration
	BytesIn, BytesOut int64
}

// GroupBy says what a UsageRow stands for.
type GroupBy string

// The groupings of usage.
const (
	ByDay     GroupBy = "day" // in the tenant's time zone
	ByHour    GroupBy = "hour"
	ByChannel GroupBy = "channel"
	ByRole    GroupBy = "role"
)

// UsageRow is the use of one day, hour, channel or role.
type UsageRow struct {
	From        time.Time   // ByDay, ByHour: the period, in the tenant's time zone
	To          time.Time   // exclusive
	Channel     string      // ByChannel
	Role        tenant.Role // ByRole
	Connections int64       // whose media connected in the period
	Minutes     int64       // billed
	Seconds     int64
	BytesIn     int64
	BytesOut    int64
}

func (l *Ledger) Open(ctx context.Context, nodeID string, o tenant.Opening) (tenant.Opened, error) {
	return tenant.Opened{}, errors.ErrUnsupported
}
func (l *Ledger) Connected(ctx context.Context, connectionID string, ago time.Duration) error {
	return errors.ErrUnsupported
}
func (l *Ledger) Close(ctx context.Context, connectionID string, e tenant.Ending) error {
	return errors.ErrUnsupported
}
func (l *Ledger) Reject(ctx context.Context, o tenant.Opening, r *tenant.Refusal) error {
	return errors.ErrUnsupported
}
func (l *Ledger) Beat(ctx context.Context, nodeID string, marks []Mark) error {
	return errors.ErrUnsupported
}
func (l *Ledger) EndNode(ctx context.Context, nodeID string) (int, error) {
	return 0, errors.ErrUnsupported
}
func (l *Ledger) Usage(ctx context.Context, scope tenant.Scope, from, to time.Time, by GroupBy) ([]UsageRow, error) {
	return nil, errors.ErrUnsupported
}
func Minutes(connectedAt, end, from, to time.Time) int64 { return 0 }
