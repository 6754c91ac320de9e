package billing_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// A count that somebody changed by hand is found, told, and left as it is.
func TestRecount(t *testing.T) {
	b := newBench(t)
	var log bytes.Buffer
	b.Ledger = billing.NewLedger(b.pool, new(webhooks.Webhooks).Queue, slog.New(slog.NewTextHandler(&log, nil)))
	right, scope := b.newTenant(5, 5), b.newTenant(5, 5)
	b.open(right, "room", tenant.SendOnly)
	b.open(scope, "room", tenant.SendOnly)
	b.open(scope, "hall", tenant.RecvOnly)
	gone := b.open(scope, "hall", tenant.RecvOnly)
	id := scope.Tenant()
	found := func(want ...billing.Drift) {
		t.Helper()
		drifts, err := b.Recount(t.Context())
		if err != nil || !slices.Equal(drifts, want) {
			t.Fatalf("found %+v, %v, want %+v", drifts, err, want)
		}
	}
	found()
	b.exec(`update tenant_live set connections = 4 where tenant_id = $1`, id)
	found(billing.Drift{Tenant: id, Counted: 4, Places: 3})
	b.exec(`update channel_live set sendonly = 0, recvonly = 1 where tenant_id = $1 and channel_id = 'room'`, id)
	found(billing.Drift{Tenant: id, Counted: 4, Places: 3}, billing.Drift{Tenant: id, Channel: "room", Counted: 1, Places: 1})
	b.exec(`delete from live_connection where connection_id = $1`, gone)
	b.exec(`delete from channel_live where tenant_id = $1 and channel_id = 'room'`, id)
	want := []billing.Drift{{Tenant: id, Counted: 4, Places: 2},
		{Tenant: id, Channel: "hall", Counted: 2, Places: 1}, {Tenant: id, Channel: "room", Counted: 0, Places: 1}}
	found(want...)
	found(want...) // nothing was repaired

	b.RecountOnce(t.Context())
	if n := b.Drift(); n != 3 || !strings.Contains(log.String(), "counted=4 places=2") {
		t.Errorf("%d counts are wrong, and the log says: %s", n, log.String())
	}
	b.exec(`delete from live_connection where tenant_id = $1`, id)
	b.exec(`delete from channel_live where tenant_id = $1`, id)
	b.exec(`update tenant_live set connections = 0 where tenant_id = $1`, id)
	b.RecountOnce(t.Context())
	if n := b.Drift(); n != 0 {
		t.Errorf("%d counts are wrong", n)
	}
}
