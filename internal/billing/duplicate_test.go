package billing_test

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// named is an opening of a client with an id of its own and a policy for it.
func named(scope tenant.Scope, channel, client string, policy tenant.Duplicates) tenant.Opening {
	o := opening(scope, channel, tenant.RecvOnly)
	o.ClientID, o.Duplicates = client, policy
	return o
}

// refused checks that an opening is refused, and with which figures.
func (b *bench) refused(o tenant.Opening, code tenant.Code, current, most int) {
	b.t.Helper()
	_, err := b.Open(b.t.Context(), b.node, o)
	var r *tenant.Refusal
	if !errors.As(err, &r) || r.Code != code || r.Current != current || r.Max != most || r.Detail == "" {
		b.t.Fatalf("%v, want %s with %d of %d", err, code, current, most)
	}
	b.check(tenant.OperatorScope(o.Tenant))
}

// A client whose id must not be in its channel twice is refused, or has the place of
// the older one, also in a tenant that is full: nobody ever has a place too many.
func TestDuplicateClients(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(3, 3)
	first := named(scope, "room", "camera", tenant.DuplicatesAllow)
	_, err := b.Open(t.Context(), b.node, first)
	b.must(err)
	b.exec(`update connection set opened_at = opened_at - interval '70 s' where connection_id = $1`, first.ConnectionID)
	b.must(b.Connected(t.Context(), first.ConnectionID, 65*time.Second)) // a minute and a bit
	b.refused(named(scope, "room", "camera", tenant.DuplicatesRefuse), tenant.ChannelDenied, 0, 0)
	for _, o := range []tenant.Opening{
		named(scope, "hall", "camera", tenant.DuplicatesRefuse), // another channel
		named(scope, "room", "phone", tenant.DuplicatesRefuse),
	} {
		_, err := b.Open(t.Context(), b.node, o)
		b.must(err)
		again, err := b.Open(t.Context(), b.node, o) // its own duplicate it is not
		if err != nil || len(again.Replaced) > 0 {
			t.Fatal(again, err)
		}
	}
	// The tenant is full.
	b.refused(named(scope, "room", "another", tenant.DuplicatesReplace), tenant.TenantFull, 3, 3)
	second := named(scope, "room", "camera", tenant.DuplicatesReplace)
	opened, err := b.Open(t.Context(), b.node, second)
	if err != nil || !slices.Equal(opened.Replaced, []string{first.ConnectionID}) || opened.Counts.Connections != 2 {
		t.Fatalf("%+v, %v", opened, err)
	}
	b.check(scope)
	h, err := b.Connection(t.Context(), scope, first.ConnectionID)
	if err != nil || h.EndReason != tenant.EndReplaced || h.Minutes != 2 || h.MeteredThrough != h.EndedAt {
		t.Fatalf("%+v, %v", h, err)
	}
	events := b.events(scope)
	ended, came := events[len(events)-2], events[len(events)-1]
	if ended.Type != tenant.ConnectionDestroyed || ended.ConnectionID != first.ConnectionID || ended.Data.Connections != 1 || ended.Data.Reason != "replaced" ||
		came.Type != tenant.ConnectionConnecting || came.ConnectionID != second.ConnectionID || came.Data.Connections != 2 {
		t.Fatalf("%+v, then %+v", ended, came)
	}
	// What its own node says about its end later changes nothing.
	b.must(b.Close(t.Context(), first.ConnectionID, tenant.Ending{Reason: tenant.EndClient, Duration: time.Hour}))
	b.must(b.Connected(t.Context(), first.ConnectionID, time.Hour))
	if _, err := b.Open(t.Context(), b.node, second); err != nil {
		t.Fatal(err)
	}
	if len(b.events(scope)) != len(events) {
		t.Fatal("the end was told twice")
	}
	b.check(scope)

	// The last one of a channel is replaced, and the channel goes on.
	b.must(b.Close(t.Context(), second.ConnectionID, tenant.Ending{Reason: tenant.EndClient}))
	third := named(scope, "hall", "camera", tenant.DuplicatesReplace)
	before := one[string](b, `select session_id from channel_live where channel_id = 'hall'`)
	opened, err = b.Open(t.Context(), b.node, third)
	if err != nil || len(opened.Replaced) != 1 || opened.SessionID != before || opened.Counts.Connections != 1 {
		t.Fatalf("%+v, %v", opened, err)
	}
	b.check(scope)
}

// One whose node has gone silent is billed for what is proven, and a little more.
func TestReplacedGhostIsNotBilledForSilence(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(1, 1)
	o := named(scope, "room", "camera", tenant.DuplicatesReplace)
	_, err := b.Open(t.Context(), b.node, o)
	b.must(err)
	b.must(b.Connected(t.Context(), o.ConnectionID, 0))
	b.exec(`update connection set opened_at = opened_at - interval '1 h', connected_at = connected_at - interval '1 h',
		metered_through = metered_through - interval '50 min' where connection_id = $1`, o.ConnectionID)
	_, err = b.Open(t.Context(), b.node, named(scope, "room", "camera", tenant.DuplicatesReplace))
	b.must(err)
	if n := one[float64](b, `select extract(epoch from ended_at - connected_at)::float8 from connection where connection_id = $1`, o.ConnectionID); n != 615 {
		t.Fatalf("it was billed for %v s of 600 that were metered", n)
	}
	b.check(scope)
}

// A token may have its channel smaller than the licence does.
func TestMaxChannelConnections(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(10, 4)
	limited := func(n int) tenant.Opening {
		o := opening(scope, "room", tenant.RecvOnly)
		o.MaxChannelConnections = n
		return o
	}
	for range 2 {
		_, err := b.Open(t.Context(), b.node, limited(2))
		b.must(err)
	}
	b.refused(limited(2), tenant.ChannelFull, 2, 2)
	b.refused(limited(1), tenant.ChannelFull, 2, 1)
	for range 2 { // others are not bound by it
		b.open(scope, "room", tenant.RecvOnly)
	}
	b.refused(limited(100), tenant.ChannelFull, 4, 4)
}

// A crowd of one client: one is in, whoever came last, and no place is lost.
func TestCrowdOfOneClient(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(2, 2)
	b.open(scope, "room", tenant.RecvOnly)
	release := b.hold(scope)
	var mu sync.Mutex
	var replaced []string // guarded by mu
	var wg sync.WaitGroup
	const crowd = 20
	for range crowd {
		wg.Go(func() {
			opened, err := b.Open(t.Context(), b.node, named(scope, "room", "camera", tenant.DuplicatesReplace))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			replaced = append(replaced, opened.Replaced...)
		})
	}
	b.waiting(1)
	release()
	wg.Wait()
	slices.Sort(replaced)
	if n := len(slices.Compact(replaced)); n != crowd-1 {
		t.Errorf("%d of %d were replaced, one each", n, crowd)
	}
	if licence, err := b.Licence(t.Context(), scope); err != nil || licence.Connections != 2 {
		t.Errorf("%+v, %v", licence, err)
	}
	b.check(scope)

	b.must(b.SetLicence(t.Context(), scope, 100, 100))
	admitted := 0 // guarded by mu
	for range crowd {
		wg.Go(func() {
			_, err := b.Open(t.Context(), b.node, named(scope, "hall", "phone", tenant.DuplicatesRefuse))
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				admitted++
			}
		})
	}
	wg.Wait()
	if admitted != 1 {
		t.Errorf("%d clients of one id were admitted", admitted)
	}
	b.check(scope)
}
