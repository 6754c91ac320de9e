package billing_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// capFor has the tenant's spending have reached its cap for so long.
func (b *bench) capFor(scope tenant.Scope, d time.Duration) {
	b.t.Helper()
	b.exec(`update tenant_live set spend_capped_until = clock_timestamp() + $2::interval where tenant_id = $1`, scope.Tenant(), d)
}

// While spending has reached its cap nobody new comes in, and whoever is in goes on;
// the end of the period lifts it by itself.
func TestCapRefusesNewcomers(t *testing.T) {
	b := newBench(t)
	scope, other := b.newTenant(1, 5), b.newTenant(5, 5)
	placed := opening(scope, "room", tenant.SendRecv)
	_, err := b.Open(t.Context(), b.node, placed)
	b.must(err)
	b.capFor(scope, time.Hour)

	o := opening(scope, "room", tenant.SendRecv)
	for _, duplicates := range []tenant.Duplicates{tenant.DuplicatesAllow, tenant.DuplicatesRefuse, tenant.DuplicatesReplace} {
		o.Duplicates = duplicates
		before := len(b.events(scope))
		_, err := b.Open(t.Context(), b.node, o)
		if refusal(err) != tenant.SpendCapReached { // rather than full: a place would not help
			t.Errorf("with %s: %v", duplicates, err)
		}
		if r := tenant.AsRefusal(err); r != nil && !strings.Contains(r.Detail, "or wait until "+time.Now().UTC().Add(time.Hour).Format("2006-01-02T")) || r != nil && len(r.Error()) > 123 {
			t.Errorf("a client is told %q", r.Detail)
		}
		if after := len(b.events(scope)); after != before {
			t.Errorf("a refusal left %d events", after-before)
		}
		if _, err := b.Look(t.Context(), b.node, o); refusal(err) != tenant.SpendCapReached {
			t.Errorf("a look with %s: %v", duplicates, err)
		}
	}
	if _, err := b.Open(t.Context(), b.node, placed); err != nil { // its answer may have been lost
		t.Error("one who has a place already:", err)
	}
	b.must(b.Connected(t.Context(), placed.ConnectionID, 0))
	b.open(other, "room", tenant.SendRecv)
	b.exec(`update tenant set status = 'suspended' where tenant_id = $1`, scope.Tenant())
	if _, err := b.Open(t.Context(), b.node, o); refusal(err) != tenant.TenantSuspended {
		t.Error("suspended as well:", err) // raising the cap would not help
	}
	b.exec(`update tenant set status = 'active' where tenant_id = $1`, scope.Tenant())

	b.must(b.Close(t.Context(), placed.ConnectionID, tenant.Ending{Reason: tenant.EndClient, Duration: time.Minute}))
	b.capFor(scope, -time.Millisecond) // the period is over
	b.open(scope, "room", tenant.SendRecv)
	b.check(scope)
}

// While the database is away the last known state holds: nobody new comes in, for as
// long as the period that it was read in.
func TestCapWhileAway(t *testing.T) {
	b := newBookBench(t)
	capped, free := b.newTenant(5, 5), b.newTenant(5, 5)
	ends := b.newTenant(5, 5)
	for _, scope := range []tenant.Scope{capped, free, ends} {
		b.must(b.book.Connected(t.Context(), b.entered(scope, "room"), 0))
		b.knows(scope)
	}
	b.capFor(capped, time.Hour)
	b.capFor(ends, 12*time.Second)
	b.eventually("the book knows of the caps", func() bool { return b.book.Capped(capped.Tenant()) && b.book.Capped(ends.Tenant()) })
	b.line.sever()
	o := opening(capped, "room", tenant.SendRecv)
	if _, err := b.enter(o); refusal(err) != tenant.SpendCapReached {
		t.Error("while the database is away:", err)
	}
	if _, err := b.book.Look(t.Context(), o); refusal(err) != tenant.SpendCapReached {
		t.Error("a look while the database is away:", err)
	}
	b.entered(free, "room")
	b.eventually("the period has ended", func() bool { return !b.book.Capped(ends.Tenant()) })
	b.entered(ends, "room")
	b.settled()
	for _, scope := range []tenant.Scope{capped, free, ends} {
		b.check(scope)
	}
}
