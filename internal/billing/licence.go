package billing

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Licence is how many connections a tenant has and may have at one time.
type Licence struct {
	Connections    int `json:"connections"` // now
	MaxConnections int `json:"max_connections"`
	MaxPerChannel  int `json:"max_connections_per_channel"`
}

// Licence returns the tenant's licence and how much of it is in use.
func (l *Ledger) Licence(ctx context.Context, scope tenant.Scope) (Licence, error) {
	if scope.Tenant() == "" {
		return Licence{}, tenant.ErrScope
	}
	var licence Licence
	err := l.pool.QueryRow(ctx, `
		select connections, max_connections, max_per_channel from tenant_live where tenant_id = $1`,
		scope.Tenant()).Scan(&licence.Connections, &licence.MaxConnections, &licence.MaxPerChannel)
	if errors.Is(err, pgx.ErrNoRows) {
		return Licence{}, ErrNotFound
	}
	if err != nil {
		return Licence{}, fmt.Errorf("couldn't read the licence of %s: %w", scope.Tenant(), err)
	}
	return licence, nil
}

// SetLicence changes how many connections the tenant may have at one time, in
// all and in one channel. A limit below what is live ends nobody: no more are
// let in until enough have left.
func (l *Ledger) SetLicence(ctx context.Context, scope tenant.Scope, connections, perChannel int) error {
	if scope.Tenant() == "" {
		return tenant.ErrScope
	}
	if connections < 0 || perChannel < 0 {
		return fmt.Errorf("a licence of %d connections, %d in a channel: want no less than 0", connections, perChannel)
	}
	tag, err := l.pool.Exec(ctx, `
		update tenant_live set max_connections = $2, max_per_channel = $3 where tenant_id = $1`,
		scope.Tenant(), connections, perChannel)
	if err != nil {
		return fmt.Errorf("couldn't set the licence of %s: %w", scope.Tenant(), err)
	}
	if tag.RowsAffected() == 0 {
		return ErrNotFound
	}
	l.changed(scope.Tenant())
	return nil
}
