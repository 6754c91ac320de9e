package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
)

// told collects the events of a drain.
type told []tenant.Event

func (l *told) write(_ context.Context, _ pgx.Tx, events ...tenant.Event) error {
	*l = append(*l, events...)
	return nil
}

// A drained node keeps the channels it has, starts no other, and sends clients of
// those to the node with the fewest connections; undrained it takes all again.
func TestDrain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n, busy, idle, ownURL := b.start("a", b), b.start("b", b), b.start("c", b), b.start("d", b)
	for i, other := range []*cluster.Node{n, busy, idle, ownURL} {
		b.run(other)
		b.exec(`update node set public_url = $2 where node_id = $1`, other.ID(), fmt.Sprintf("https://%d.example.com", i))
	}
	b.exec(`update node set public_url = '' where node_id = $1`, ownURL.ID())
	b.live(n, b.scope, "room")
	b.live(n, b.scope, "room")
	b.live(busy, b.scope, "there")
	other := b.newTenant()
	b.live(n, other, "room")
	stranger := b.newTenant()

	var events told
	ids, err := cluster.Drain(t.Context(), b.pool, tenant.CommandLine(), n.ID(), events.write)
	b.must(err)
	want := []tenant.ID{b.scope.Tenant(), other.Tenant()}
	slices.Sort(want)
	if !slices.Equal(ids, want) || len(events) != 2 {
		t.Fatalf("told %v in %d events, want %v", ids, len(events), want)
	}
	for _, e := range events {
		connections := 1
		if e.Tenant == b.scope.Tenant() {
			connections = 2
		}
		if data := fmt.Sprintf(`{"node_id":%q,"name":"test","public_url":"https://0.example.com","connections":%d}`, n.ID(), connections); e.Type != tenant.NodeDraining || string(e.Data) != data {
			t.Errorf("told %s %s, want %s", e.Type, e.Data, data)
		}
	}
	// Once more tells nobody.
	if ids, err := cluster.Drain(t.Context(), b.pool, tenant.CommandLine(), n.ID(), events.write); err != nil || len(ids) != 0 || len(events) != 2 {
		t.Fatal(ids, err)
	}
	b.eventually("the node knows", n.Draining)
	if !n.Live() || idle.Draining() {
		t.Error("a drained node is not live, or another one is drained")
	}
	for _, stays := range []struct {
		scope   tenant.Scope
		channel string
	}{{b.scope, "room"}, {other, "room"}, {b.scope, "there"}} { // of the last the ledger says where it is
		if err := n.Turn(t.Context(), stays.scope.Tenant(), stays.channel); err != nil {
			t.Errorf("%s of %s: %v", stays.channel, stays.scope.Tenant(), err)
		}
	}
	for _, goes := range []struct {
		scope   tenant.Scope
		channel string
	}{{b.scope, "new"}, {stranger, "room"}} {
		var to *tenant.Elsewhere
		if err := n.Turn(t.Context(), goes.scope.Tenant(), goes.channel); !errors.As(err, &to) || to.NodeID != idle.ID() || to.PublicURL != "https://2.example.com" || !to.Draining {
			t.Errorf("%s of %s goes to %v", goes.channel, goes.scope.Tenant(), err)
		}
	}
	b.exec(`update node set public_url = '' where node_id <> $1`, n.ID())
	var refusal *tenant.Refusal
	if err := n.Turn(t.Context(), b.scope.Tenant(), "new"); !errors.As(err, &refusal) || refusal.Code != tenant.Draining {
		t.Errorf("with nowhere to go: %v", err)
	}

	b.must(cluster.Undrain(t.Context(), b.pool, tenant.CommandLine(), n.ID()))
	b.eventually("the node knows", func() bool { return !n.Draining() })
	b.must(n.Turn(t.Context(), b.scope.Tenant(), "new"))
	actions := one[string](b, `select string_agg(action || ' ' || target, ',' order by audit_id) from operator_audit_entry`)
	if want := "node.drained " + n.ID() + ",node.undrained " + n.ID(); actions != want {
		t.Errorf("the operators' log says %s, want %s", actions, want)
	}
}

// Only a node that runs can be drained, only by an operator, and if its tenants
// cannot be told it is not.
func TestDrainRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.start("a", b)
	b.live(n, b.scope, "room")
	broken := errors.New("no events today")
	fails := func(context.Context, pgx.Tx, ...tenant.Event) error { return broken }
	if _, err := cluster.Drain(t.Context(), b.pool, tenant.CommandLine(), n.ID(), fails); !errors.Is(err, broken) {
		t.Errorf("untold: %v", err)
	}
	if state := b.state(n); state != "up" {
		t.Errorf("the node is %s though nobody was told", state)
	}
	var events told
	if _, err := cluster.Drain(t.Context(), b.pool, tenant.Authority{}, n.ID(), events.write); !errors.Is(err, tenant.ErrScope) {
		t.Errorf("by nobody: %v", err)
	}
	if _, err := cluster.Drain(t.Context(), b.pool, tenant.CommandLine(), "node_none", events.write); !errors.Is(err, cluster.ErrNotFound) {
		t.Errorf("no node: %v", err)
	}
	b.must(n.Stop(t.Context()))
	for _, change := range []error{
		cluster.Undrain(t.Context(), b.pool, tenant.CommandLine(), n.ID()),
		func() error {
			_, err := cluster.Drain(t.Context(), b.pool, tenant.CommandLine(), n.ID(), events.write)
			return err
		}(),
	} {
		if !errors.Is(change, cluster.ErrEnded) {
			t.Errorf("an ended node: %v", change)
		}
	}
}

// live puts a connection into a channel that lives on the node.
func (b *bench) live(n *cluster.Node, scope tenant.Scope, channel string) {
	b.t.Helper()
	id, session := tenant.NewID(), tenant.NewID()
	b.exec(`insert into channel_session (session_id, tenant_id, channel_id) values ($1, $2, $3)`, session, scope.Tenant(), channel)
	b.exec(`insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol)
		values ($1, $2, $3, $4, $5, 'sendrecv', $1, 'sora')`, id, scope.Tenant(), channel, session, n.ID())
	b.exec(`insert into live_connection (connection_id, tenant_id, channel_id, node_id, role) values ($1, $2, $3, $4, 'sendrecv')`,
		id, scope.Tenant(), channel, n.ID())
	b.exec(`insert into channel_live (tenant_id, channel_id, session_id, connections, sendrecv, node_id) values ($1, $2, $3, 1, 1, $4)
		on conflict (tenant_id, channel_id) do update set connections = channel_live.connections + 1`, scope.Tenant(), channel, session, n.ID())
}
