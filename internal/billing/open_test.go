package billing_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

func TestOpenTakesAPlace(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(300, 150)
	var changed []tenant.ID
	b.OnChange(func(id tenant.ID) { changed = append(changed, id) })

	o := opening(scope, "room", tenant.SendOnly)
	o.Metadata = json.RawMessage(`{"user": 7}`)
	o.UserAgent = "old browser \xff\x00" + strings.Repeat("x", 5000) // a header may be any bytes
	opened, err := b.Open(t.Context(), b.node, o)
	b.must(err)
	if want := (tenant.Counts{Connections: 1, SendOnly: 1}); opened.Counts != want || opened.SessionID == "" {
		t.Fatalf("opened %+v, want counts %+v and a session", opened, want)
	}
	second, err := b.Open(t.Context(), b.node, opening(scope, "room", tenant.RecvOnly))
	b.must(err)
	if want := (tenant.Counts{Connections: 2, SendOnly: 1, RecvOnly: 1}); second.Counts != want || second.SessionID != opened.SessionID {
		t.Fatalf("the second opened %+v, want counts %+v in session %s", second, want, opened.SessionID)
	}
	if got := b.story(scope); got != "channel.started connection.connecting connection.connecting " {
		t.Fatal(got)
	}
	e := b.events(scope)[1]
	if e.ConnectionID != o.ConnectionID || e.Channel != "room" || e.Data.Connections != 1 || e.Data.SendOnly != 1 ||
		e.Data.Role != "sendonly" || e.Data.ClientID != "client" || string(e.Data.Metadata) != `{"user": 7}` {
		t.Fatalf("connecting is %+v", e)
	}
	if len(changed) != 2 || changed[0] != scope.Tenant() {
		t.Fatalf("OnChange heard %v", changed)
	}
	b.check(scope)
}

func TestOpenAgainTakesOnePlace(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(1, 1) // so that a second place would not even be there
	o := opening(scope, "room", tenant.SendRecv)
	first, err := b.Open(t.Context(), b.node, o)
	b.must(err)
	again, err := b.Open(t.Context(), b.node, o)
	b.must(err)
	if !reflect.DeepEqual(first, again) {
		t.Fatalf("first %+v, again %+v", first, again)
	}
	b.must(b.SetLicence(t.Context(), scope, 10, 10))
	again, err = b.Open(t.Context(), b.node, o)
	b.must(err)
	if !reflect.DeepEqual(first, again) {
		t.Fatalf("first %+v, again with places left %+v", first, again)
	}
	b.check(scope)

	b.must(b.Close(t.Context(), o.ConnectionID, tenant.Ending{Reason: tenant.EndClient}))
	if _, err := b.Open(t.Context(), b.node, o); !errors.Is(err, billing.ErrConnectionUsed) {
		t.Fatalf("opening an ended connection: %v", err)
	}
	other := o
	other.Tenant = b.newTenant(5, 5).Tenant()
	if _, err := b.Open(t.Context(), b.node, other); !errors.Is(err, billing.ErrConnectionUsed) {
		t.Fatalf("opening another tenant's connection: %v", err)
	}
	b.check(scope)
	b.check(tenant.OperatorScope(other.Tenant))
}

func TestRefusals(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(3, 2)
	refused := func(o tenant.Opening, code tenant.Code, current, max int) {
		t.Helper()
		before := len(b.events(scope))
		_, err := b.Open(t.Context(), b.node, o)
		var r *tenant.Refusal
		if !errors.As(err, &r) || r.Code != code || r.Current != current || r.Max != max || r.Detail == "" {
			t.Fatalf("got %#v, want %s with %d of %d", err, code, current, max)
		}
		if after := len(b.events(scope)); after != before {
			t.Fatalf("a refusal left %d events", after-before)
		}
		b.check(scope)
	}
	room := opening(scope, "room", tenant.SendRecv)
	b.open(scope, "room", tenant.SendRecv)
	b.open(scope, "room", tenant.RecvOnly)
	refused(room, tenant.ChannelFull, 2, 2)
	b.open(scope, "hall", tenant.SendRecv)
	refused(room, tenant.TenantFull, 3, 3)

	b.must(b.SetLicence(t.Context(), scope, 1, 0)) // a smaller licence ends nobody
	if licence, err := b.Licence(t.Context(), scope); err != nil || licence != (billing.Licence{Connections: 3, MaxConnections: 1}) {
		t.Fatal(licence, err)
	}
	refused(room, tenant.TenantFull, 3, 1)
	b.must(b.SetLicence(t.Context(), scope, 9, 0))
	refused(opening(scope, "new", tenant.SendRecv), tenant.ChannelFull, 0, 0)
	b.must(b.SetLicence(t.Context(), scope, 9, 9))
	b.exec(`update tenant set status = 'suspended' where tenant_id = $1`, scope.Tenant())
	refused(room, tenant.TenantSuspended, 0, 0)
	b.must(b.SetLicence(t.Context(), scope, 0, 0))
	refused(room, tenant.TenantSuspended, 0, 0) // rather than full: that would not help
	b.must(b.SetLicence(t.Context(), scope, 9, 9))
	b.exec(`update tenant set status = 'active' where tenant_id = $1`, scope.Tenant())
	for _, metadata := range []string{`{"a":"\u0000"}`, `{"a":1e999999}`} {
		room.Metadata = json.RawMessage(metadata)
		refused(room, tenant.BadMessage, 0, 0)
	}
	room.Metadata, room.ClientID = nil, "\xff"
	refused(room, tenant.BadMessage, 0, 0)
}

func TestAnEndedNodeGetsNoPlace(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(3, 3)
	for _, state := range []string{"lost", "stopped"} {
		b.exec(`update node set state = $2 where node_id = $1`, b.node, state)
		if _, err := b.Open(t.Context(), b.node, opening(scope, "room", tenant.SendRecv)); !errors.Is(err, billing.ErrNodeEnded) {
			t.Fatalf("opening on a node that is %s: %v", state, err)
		}
	}
	if _, err := b.Open(t.Context(), b.node, opening(tenant.OperatorScope("ten_unknown"), "room", tenant.SendRecv)); !errors.Is(err, billing.ErrNotFound) {
		t.Fatalf("opening for an unknown tenant: %v", err)
	}
	b.check(scope)
	if got := b.story(scope); got != "" {
		t.Fatal(got)
	}
}

// A node that is being ended while it opens a connection either has its new
// place ended with the rest or gets none: never one that nobody ends.
func TestOpenWhileTheNodeIsEnded(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(100, 100)
	for range 20 {
		node := b.newNode()
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				_, err := b.Open(t.Context(), node, opening(scope, "room", tenant.RecvOnly))
				if err != nil && !errors.Is(err, billing.ErrNodeEnded) {
					t.Error(err)
				}
			})
		}
		wg.Go(func() {
			// How cluster marks a node: the row lock keeps new places out.
			err := pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(t.Context(), `select from node where node_id = $1 for update`, node); err != nil {
					return err
				}
				_, err := tx.Exec(t.Context(), `update node set state = 'lost' where node_id = $1`, node)
				return err
			})
			if err != nil {
				t.Error(err)
			}
			if _, err := b.EndNode(t.Context(), node); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if left := one[int](b, `select count(*) from live_connection where node_id = $1`, node); left != 0 {
			t.Fatalf("%d places of an ended node are left", left)
		}
	}
	b.check(scope)
}

// Many clients at the last places: exactly as many get in as there are places.
func TestStormAtTheLimit(t *testing.T) {
	b := newBench(t)
	const limit, perChannel, clients = 24, 10, 32
	scope := b.newTenant(limit, perChannel)
	for i := range limit - 5 { // 5 places are left in the tenant, 3 of them in "a"
		b.open(scope, []string{"a", "b", "c"}[min(i/7, 2)], tenant.RecvOnly)
	}
	var mu sync.Mutex
	admitted, refused := 0, map[tenant.Code]int{}
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			<-start
			_, err := b.Open(t.Context(), b.node, opening(scope, []string{"a", "d"}[i%2], tenant.RecvOnly))
			mu.Lock()
			defer mu.Unlock()
			var r *tenant.Refusal
			switch {
			case err == nil:
				admitted++
			case errors.As(err, &r):
				refused[r.Code]++
			default:
				t.Error(err)
			}
		})
	}
	close(start)
	wg.Wait()
	if admitted != 5 || refused[tenant.TenantFull]+refused[tenant.ChannelFull] != clients-5 {
		t.Fatalf("%d were admitted to 5 places, refused: %v", admitted, refused)
	}
	b.check(scope)
}

func TestReject(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(1, 1)
	b.open(scope, "room", tenant.SendOnly)
	o := opening(scope, "room", tenant.RecvOnly)
	_, err := b.Open(t.Context(), b.node, o)
	var r *tenant.Refusal
	if !errors.As(err, &r) {
		t.Fatal(err)
	}
	b.must(b.Reject(t.Context(), o, r))
	all := b.events(scope)
	e := all[len(all)-1]
	if e.Type != tenant.ConnectionRejected || e.ConnectionID != o.ConnectionID || e.Channel != "room" ||
		e.Data.Code != tenant.TenantFull || e.Data.Reason != "tenant_full" || e.Data.Detail != r.Detail ||
		e.Data.Current != 1 || e.Data.Max != 1 || e.Data.Connections != 1 || e.Data.Role != tenant.RecvOnly {
		t.Fatalf("rejected is %+v", e)
	}
	b.check(scope)
	if n := one[int](b, `select count(*) from connection where tenant_id = $1`, scope.Tenant()); n != 1 {
		t.Fatalf("%d connection rows", n)
	}
}

func TestRejectsAreBounded(t *testing.T) {
	b := newBench(t)
	scope, other := b.newTenant(1, 1), b.newTenant(1, 1)
	refusal := tenant.Refuse(tenant.ChannelDenied, "the token is for another channel")
	start := time.Now()
	const tries = 400
	for range tries {
		o := opening(scope, "room\x00\xff", tenant.SendOnly)
		o.ClientID = "\x00"
		b.must(b.Reject(t.Context(), o, refusal))
	}
	allowed := 100 + 20*int(time.Since(start)/time.Second+1)
	wrote := len(b.events(scope))
	if wrote < 100 || wrote > allowed {
		t.Fatalf("%d of %d rejects were written, want 100 to %d", wrote, tries, allowed)
	}
	if dropped := b.RejectsDropped(); dropped != int64(tries-wrote) {
		t.Fatalf("%d of %d rejects were written and %d dropped", wrote, tries, dropped)
	}
	b.must(b.Reject(t.Context(), opening(other, "room", tenant.SendOnly), refusal))
	if n := len(b.events(other)); n != 1 {
		t.Fatalf("another tenant's reject: %d events", n)
	}
	b.check(scope)
}
