package billing_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

// wantElsewhere checks that a connect is sent to another node, and costs nothing.
func (b *bench) wantElsewhere(node string, o tenant.Opening, home string) {
	b.t.Helper()
	scope := tenant.OperatorScope(o.Tenant)
	before := b.story(scope)
	_, looked := b.Look(b.t.Context(), node, o)
	_, opened := b.Open(b.t.Context(), node, o)
	for _, err := range []error{looked, opened} {
		var elsewhere *tenant.Elsewhere
		if !errors.As(err, &elsewhere) || *elsewhere != (tenant.Elsewhere{NodeID: home, PublicURL: "https://" + home + ".example"}) {
			b.t.Fatalf("got %v, want the way to %s", err, home)
		}
	}
	if after := b.story(scope); after != before {
		b.t.Fatalf("the events were %q and are %q", before, after)
	}
	b.check(scope)
}

// wantRefused checks that a connect is refused with a code.
func (b *bench) wantRefused(node string, o tenant.Opening, code tenant.Code) {
	b.t.Helper()
	_, opens := b.Open(b.t.Context(), node, o)
	_, looks := b.Look(b.t.Context(), node, o)
	if code == tenant.ChannelFull {
		looks = opens // how many there may be is not looked at
	}
	for _, err := range []error{opens, looks} {
		var r *tenant.Refusal
		if !errors.As(err, &r) || r.Code != code || r.Detail == "" {
			b.t.Fatalf("got %v, want %s", err, code)
		}
	}
	b.check(tenant.OperatorScope(o.Tenant))
}

// A channel lives on the node of its first connection, until its last has ended.
func TestChannelLivesOnOneNode(t *testing.T) {
	b := newBench(t)
	scope, there := b.newTenant(300, 3), b.newNode()
	first := b.open(scope, "room", tenant.SendOnly)
	second := b.open(scope, "room", tenant.RecvOnly)
	b.wantElsewhere(there, opening(scope, "room", tenant.RecvOnly), b.node)

	// Another channel, or another tenant's of that name, may live there.
	if _, err := b.Open(t.Context(), there, opening(scope, "hall", tenant.RecvOnly)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(t.Context(), there, opening(b.newTenant(1, 1), "room", tenant.RecvOnly)); err != nil {
		t.Fatal(err)
	}
	// Nobody is sent to a node that could only refuse.
	third := b.open(scope, "room", tenant.RecvOnly)
	b.wantRefused(there, opening(scope, "room", tenant.RecvOnly), tenant.ChannelFull)
	b.must(b.Close(t.Context(), third, tenant.Ending{Reason: tenant.EndClient}))

	b.must(b.Close(t.Context(), first, tenant.Ending{Reason: tenant.EndClient}))
	b.wantElsewhere(there, opening(scope, "room", tenant.RecvOnly), b.node) // the second is still in it
	b.must(b.Close(t.Context(), second, tenant.Ending{Reason: tenant.EndClient}))
	if _, err := b.Open(t.Context(), there, opening(scope, "room", tenant.SendOnly)); err != nil {
		t.Fatalf("the channel has ended, and yet: %v", err)
	}
	b.wantElsewhere(b.node, opening(scope, "room", tenant.SendOnly), there)
}

// A look at a channel counts who is there, and says whose it is and of what kind.
func TestLook(t *testing.T) {
	b := newBench(t)
	scope, there := b.newTenant(300, 2), b.newNode()
	o := opening(scope, "room", tenant.RecvOnly)
	if c, err := b.Look(t.Context(), there, o); err != nil || c != (tenant.Counts{}) {
		t.Errorf("an empty channel has %+v, %v", c, err)
	}
	b.open(scope, "room", tenant.SendOnly)
	if c, err := b.Look(t.Context(), b.node, o); err != nil || c != (tenant.Counts{Connections: 1, SendOnly: 1}) {
		t.Errorf("a channel with one has %+v, %v", c, err)
	}
	capped := o
	capped.MaxChannelConnections = 1
	var r *tenant.Refusal
	if _, err := b.Look(t.Context(), b.node, capped); !errors.As(err, &r) || r.Code != tenant.ChannelFull {
		t.Errorf("with a token for one the second sees %v", err)
	}
	b.open(scope, "room", tenant.RecvOnly)
	if c, err := b.Look(t.Context(), b.node, o); !errors.As(err, &r) || r.Code != tenant.ChannelFull || r.Max != 2 || c.Connections != 2 {
		t.Errorf("a full channel has %+v, %v", c, err)
	}
	replacing := o
	replacing.Duplicates, replacing.ClientID = tenant.DuplicatesReplace, "twin"
	if c, err := b.Look(t.Context(), b.node, replacing); err != nil || c != (tenant.Counts{Connections: 2, SendOnly: 1, RecvOnly: 1}) {
		t.Errorf("who may take another's place sees %+v, %v", c, err)
	}
	small := b.newTenant(1, 10)
	b.open(small, "hall", tenant.SendOnly)
	if _, err := b.Look(t.Context(), b.node, opening(small, "elsewhere", tenant.RecvOnly)); !errors.As(err, &r) || r.Code != tenant.TenantFull || r.Max != 1 {
		t.Errorf("with a full licence one sees %v", err)
	}
	o.Protocol, o.Duplicates = tenant.ProtocolAyame, tenant.DuplicatesReplace
	if _, err := b.Look(t.Context(), b.node, o); !errors.As(err, &r) || r.Code != tenant.ChannelDenied {
		t.Errorf("a peer-to-peer client sees %v", err)
	}
}

// Of two nodes that a channel's first connections come to at once, one has it.
func TestChannelIsBornOnce(t *testing.T) {
	b := newBench(t)
	nodes := []string{b.node, b.newNode(), b.newNode()}
	for range 20 {
		scope := b.newTenant(300, 150)
		var mu sync.Mutex
		homes, sentTo := map[string]bool{}, map[string]bool{}
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				node := nodes[i%len(nodes)]
				_, err := b.Open(t.Context(), node, opening(scope, "room", tenant.SendRecv))
				var elsewhere *tenant.Elsewhere
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil:
					homes[node] = true
				case errors.As(err, &elsewhere):
					sentTo[elsewhere.NodeID] = true
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(homes) != 1 || len(sentTo) != 1 || !homes[nodes[0]] && !homes[nodes[1]] && !homes[nodes[2]] {
			t.Fatalf("let in on %v, sent to %v", homes, sentTo)
		}
		for node := range homes {
			if !sentTo[node] {
				t.Fatalf("let in on %v, sent to %v", homes, sentTo)
			}
		}
		b.check(scope)
	}
}

// A node that died keeps its channels until it has been found dead: until then it
// may come back. Then they may live elsewhere, before its books are closed, too.
func TestChannelOfADeadNode(t *testing.T) {
	b := newBench(t)
	scope, there := b.newTenant(300, 150), b.newNode()
	id := b.open(scope, "room", tenant.SendOnly)
	b.exec(`update node set state = 'draining' where node_id = $1`, b.node)
	b.wantElsewhere(there, opening(scope, "room", tenant.RecvOnly), b.node)
	b.exec(`update node set lease_until = clock_timestamp() - interval '1 s' where node_id = $1`, b.node)
	b.wantRefused(there, opening(scope, "room", tenant.RecvOnly), tenant.Unavailable)
	b.exec(`update node set state = 'lost' where node_id = $1`, b.node)
	moved := opening(scope, "room", tenant.RecvOnly)
	if _, err := b.Open(t.Context(), there, moved); err != nil {
		t.Fatal(err)
	}
	if n, err := b.EndNode(t.Context(), b.node); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	third := b.newNode()
	b.wantElsewhere(third, opening(scope, "room", tenant.RecvOnly), there)
	if h, err := b.Connection(t.Context(), scope, id); err != nil || h.EndReason != tenant.EndNodeLost {
		t.Fatal(h, err)
	}
	b.must(b.Close(t.Context(), moved.ConnectionID, tenant.Ending{Reason: tenant.EndClient}))
	b.check(scope)
}

// Behind one name there is nowhere to send a client.
func TestChannelOnANodeWithoutItsOwnURL(t *testing.T) {
	b := newBench(t)
	scope, there := b.newTenant(300, 150), b.newNode()
	b.open(scope, "room", tenant.SendOnly)
	for _, url := range []string{"", "https://live.example"} {
		b.exec(`update node set public_url = $1 where node_id = any($2)`, url, []string{b.node, there})
		b.wantRefused(there, opening(scope, "room", tenant.RecvOnly), tenant.Unavailable)
	}
	b.exec(`update channel_live set node_id = null`) // as an older version wrote it
	if _, err := b.Open(t.Context(), there, opening(scope, "room", tenant.RecvOnly)); err != nil {
		t.Fatal(err)
	}
}

// A name is a peer-to-peer room or a channel of the media plane, one at a time.
func TestRoomsAndChannelsDoNotMix(t *testing.T) {
	b := newBench(t)
	scope, there := b.newTenant(300, 150), b.newNode()
	call := opening(scope, "room", tenant.SendRecv)
	call.Protocol = tenant.ProtocolAyame
	if _, err := b.Open(t.Context(), b.node, call); err != nil {
		t.Fatal(err)
	}
	b.wantRefused(b.node, opening(scope, "room", tenant.SendRecv), tenant.ChannelDenied)
	b.wantRefused(there, opening(scope, "room", tenant.SendRecv), tenant.ChannelDenied)
	b.must(b.Close(t.Context(), call.ConnectionID, tenant.Ending{Reason: tenant.EndClient}))
	b.open(scope, "room", tenant.SendRecv)
	call.ConnectionID = tenant.NewID()
	b.wantRefused(b.node, call, tenant.ChannelDenied)

	// Also when both kinds come at once.
	for range 10 {
		scope := b.newTenant(300, 150)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				o := opening(scope, "room", tenant.SendRecv)
				if i%2 == 0 {
					o.Protocol = tenant.ProtocolAyame
				}
				var r *tenant.Refusal
				if _, err := b.Open(t.Context(), b.node, o); err != nil && (!errors.As(err, &r) || r.Code != tenant.ChannelDenied) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := one[int](b, `select count(distinct protocol) from connection join live_connection using (connection_id) where connection.tenant_id = $1`, scope.Tenant()); n != 1 {
			t.Fatalf("%d kinds are in one channel", n)
		}
		if n := one[int](b, `select connections from channel_live where tenant_id = $1`, scope.Tenant()); n != 4 {
			t.Fatalf("%d connections, want the 4 of a kind", n)
		}
	}
}
