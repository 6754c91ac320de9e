package billing_test

import (
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// TestWaitIsNotBilled has a connection connect while its tenant's row is held by
// somebody who does not change it: the wait must not be taken for time of media. The
// database's clock has to be read when the row is ours, not when it was asked for.
func TestWaitIsNotBilled(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(10, 10)
	id := b.open(scope, "lobby", tenant.SendRecv)
	b.exec(`update connection set opened_at = opened_at - interval '1 hour' where connection_id = $1`, id)

	holder, err := b.pool.Begin(t.Context())
	b.must(err)
	defer holder.Rollback(t.Context())
	_, err = holder.Exec(t.Context(), `select from tenant_live where tenant_id = $1 for no key update`, scope.Tenant())
	b.must(err)
	before := one[time.Time](b, `select clock_timestamp()`)
	connected := make(chan error, 1)
	go func() { connected <- b.Connected(t.Context(), id, 0) }()
	b.awaitLockWaiter()
	_, err = holder.Exec(t.Context(), `select pg_sleep(2)`)
	b.must(err)
	b.must(holder.Commit(t.Context()))
	b.must(<-connected)

	at := one[time.Time](b, `select connected_at from connection where connection_id = $1`, id)
	if at.Before(before.Add(-time.Second)) { // what the database's answer takes is counted, too
		t.Errorf("media connected %s before anybody said so", before.Sub(at))
	}
}
