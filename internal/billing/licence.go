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
	err := scope.In(l.pool).QueryRow(ctx, `
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
	err := scope.In(l.pool).Tx(ctx, func(tx pgx.Tx) error {
		return l.Relicense(ctx, tx, scope.Tenant(), connections, perChannel)
	})
	if err != nil {
		return fmt.Errorf("couldn't set the licence of %s: %w", scope.Tenant(), err)
	}
	l.changed(scope.Tenant())
	return nil
}

// Relicense changes how many connections a tenant may have at one time, in all and in
// one channel, in the caller's transaction, whose first lock it has to be: it takes the
// tenant_live row. A threshold that the tenant has reached so is told with it. OnChange's
// subscribers are the caller's to tell, when tx is committed.
func (l *Ledger) Relicense(ctx context.Context, tx pgx.Tx, id tenant.ID, connections, perChannel int) error {
	a, err := lockAccount(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := a.limit(connections, perChannel); err != nil {
		return err
	}
	if err := a.save(ctx, tx); err != nil {
		return err
	}
	if events := a.tell(); len(events) > 0 {
		return l.outbox(ctx, tx, events...)
	}
	return nil
}
