package billing_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// peaks returns the peaks of the last hours, the one under way included.
func (b *bench) peaks(scope tenant.Scope, hours int) (connections, licences []int) {
	b.t.Helper()
	now := one[time.Time](b, `select clock_timestamp()`)
	all, err := b.Peaks(b.t.Context(), scope, now.Add(-time.Duration(hours)*time.Hour), now)
	b.must(err)
	for i, p := range all {
		connections, licences = append(connections, p.Connections), append(licences, p.MaxConnections)
		if want := now.UTC().Truncate(time.Hour).Add(time.Duration(i-len(all)+1) * time.Hour); !p.Hour.Equal(want) {
			b.t.Fatalf("peak %d is of %v, want %v", i, p.Hour, want)
		}
	}
	return connections, licences
}

// hoursPass makes what the ledger knows so many hours older.
func (b *bench) hoursPass(scope tenant.Scope, n int) {
	b.t.Helper()
	b.exec(`update tenant_live set peak_hour = peak_hour - $2 * interval '1 hour' where tenant_id = $1`, scope.Tenant(), n)
	b.exec(`update licence_peak set hour = hour - interval '100000 hours' where tenant_id = $1`, scope.Tenant()) // not in each other's way
	b.exec(`update licence_peak set hour = hour + (100000 - $2) * interval '1 hour' where tenant_id = $1`, scope.Tenant(), n)
}

// The peak of an hour is the most that were there at one time, also when nobody came
// in it, and the licence is that of its moment.
func TestPeaks(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(10, 10)
	want := func(connections, licences []int) {
		t.Helper()
		if c, l := b.peaks(scope, 24); !slices.Equal(c, connections) || !slices.Equal(l, licences) {
			t.Fatalf("peaks are %v of %v, want %v of %v", c, l, connections, licences)
		}
	}
	want([]int{0}, []int{0})
	var ids []string
	for range 4 {
		ids = append(ids, b.open(scope, "room", tenant.RecvOnly))
	}
	leave := func(n int) {
		t.Helper()
		for _, id := range ids[:n] {
			b.must(b.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient}))
		}
		ids = ids[n:]
	}
	leave(2)
	want([]int{4}, []int{10})
	b.hoursPass(scope, 3) // two of them without a change
	want([]int{4, 2, 2, 2}, []int{10, 10, 10, 10})
	leave(1)
	want([]int{4, 2, 2, 2}, []int{10, 10, 10, 10})
	b.hoursPass(scope, 1)
	want([]int{4, 2, 2, 2, 1}, []int{10, 10, 10, 10, 10})
	b.must(b.SetLicence(t.Context(), scope, 20, 10))
	want([]int{4, 2, 2, 2, 1}, []int{10, 10, 10, 10, 10}) // it was reached before
	b.hoursPass(scope, 2)
	want([]int{4, 2, 2, 2, 1, 1, 1}, []int{10, 10, 10, 10, 10, 20, 20})
	ids = append(ids, b.open(scope, "room", tenant.RecvOnly), b.open(scope, "room", tenant.RecvOnly))
	leave(3)
	want([]int{4, 2, 2, 2, 1, 1, 3}, []int{10, 10, 10, 10, 10, 20, 20})
	b.hoursPass(scope, 1)
	want([]int{4, 2, 2, 2, 1, 1, 3, 0}, []int{10, 10, 10, 10, 10, 20, 20, 20})

	all, err := b.Peaks(t.Context(), scope, time.Now().Add(-5*time.Hour), time.Now().Add(-3*time.Hour))
	if err != nil || len(all) != 2 || all[0].Connections != 2 || all[1].Connections != 1 {
		t.Fatal(all, err)
	}
	if all, err := b.Peaks(t.Context(), scope, time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)); err != nil || len(all) != 0 {
		t.Fatalf("the future has the peaks %v, %v", all, err)
	}
	if _, err := b.Peaks(t.Context(), tenant.Scope{}, time.Now(), time.Now()); !errors.Is(err, tenant.ErrScope) {
		t.Fatal(err)
	}
	now := time.Now()
	if _, err := b.Peaks(t.Context(), scope, now, now); !errors.Is(err, billing.ErrPeakQuery) {
		t.Fatal(err)
	}
}
