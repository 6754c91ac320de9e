package billing_test

import (
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// thresholds returns what the tenant was told, in order.
func (b *bench) thresholds(scope tenant.Scope) (all []billing.ThresholdData) {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), `
		select data from event where tenant_id = $1 and type = 'licence.threshold' order by seq`, scope.Tenant())
	b.must(err)
	defer rows.Close()
	for rows.Next() {
		var text []byte
		var d billing.ThresholdData
		b.must(rows.Scan(&text))
		b.must(json.Unmarshal(text, &d))
		all = append(all, d)
	}
	b.must(rows.Err())
	return all
}

// A tenant is told once that it has come near its licence, however it hovers there,
// and again when it comes near it again.
func TestThresholds(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(20, 100) // told at 16 and 20, again when it went down to 14 and 18
	var ids []string
	come := func(n int) {
		for range n {
			ids = append(ids, b.open(scope, "room", tenant.RecvOnly))
		}
	}
	leave := func(n int) {
		for _, id := range ids[:n] {
			b.must(b.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient}))
		}
		ids = ids[n:]
	}
	var want []billing.ThresholdData
	told := func(more ...billing.ThresholdData) {
		t.Helper()
		want = append(want, more...)
		if got := b.thresholds(scope); !slices.Equal(got, want) {
			t.Fatalf("was told %v, want %v", got, want)
		}
	}
	come(15)
	told()
	come(1)
	told(billing.ThresholdData{Threshold: 80, Connections: 16, MaxConnections: 20})
	for range 5 { // hovers
		leave(1)
		come(1)
	}
	come(3)
	told()
	come(1)
	told(billing.ThresholdData{Threshold: 100, Connections: 20, MaxConnections: 20})
	leave(1)
	come(1)
	told()
	leave(2) // 18
	come(2)
	told(billing.ThresholdData{Threshold: 100, Connections: 20, MaxConnections: 20})
	leave(6) // 14
	come(3)
	told(billing.ThresholdData{Threshold: 80, Connections: 16, MaxConnections: 20})

	b.must(b.SetLicence(t.Context(), scope, 17, 100)) // so that it is full with 17
	told(billing.ThresholdData{Threshold: 100, Connections: 17, MaxConnections: 17})
	b.must(b.SetLicence(t.Context(), scope, 100, 100))
	told()
	b.must(b.SetLicence(t.Context(), scope, 20, 100))
	told(billing.ThresholdData{Threshold: 80, Connections: 17, MaxConnections: 20})
	b.must(b.SetLicence(t.Context(), scope, 0, 100))
	told()
	b.check(scope)
	events := b.events(scope)
	if i := slices.IndexFunc(events, func(e event) bool { return e.Type == tenant.LicenceThreshold }); events[i-1].Data.Connections != 16 || events[i].Channel != "" {
		t.Fatalf("%+v before %+v", events[i-1], events[i])
	}
}

// Of a crowd that is admitted together each threshold is told at its own moment.
func TestThresholdsOfACrowd(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(40, 100)
	b.open(scope, "room", tenant.RecvOnly)
	release := b.hold(scope)
	var wg sync.WaitGroup
	for range 39 {
		wg.Go(func() { b.open(scope, "room", tenant.RecvOnly) })
	}
	b.waiting(1)
	release()
	wg.Wait()
	want := []billing.ThresholdData{{Threshold: 80, Connections: 32, MaxConnections: 40}, {Threshold: 100, Connections: 40, MaxConnections: 40}}
	if got := b.thresholds(scope); !slices.Equal(got, want) {
		t.Fatalf("was told %v, want %v", got, want)
	}
	b.check(scope)
}
