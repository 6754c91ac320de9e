package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
)

// media stands for a process's connections: it ends those it has.
type media struct {
	mu sync.Mutex
	// Guarded by mu
	has     map[string]tenant.ID
	ended   map[string]string // reason by connection
	misses  int               // calls for connections that are not here
	rooms   map[string]string // channel by connection, of those whose channel is known
	done    []string          // the bodies of orders
	refuses error             // what orders end with; nil: they are done
}

func newMedia(n *cluster.Node, owner tenant.ID, ids ...string) *media {
	m := &media{has: map[string]tenant.ID{}, ended: map[string]string{}}
	m.add(owner, ids...)
	n.UseHands(m)
	return m
}

func (m *media) End(id tenant.ID, connectionID string, why tenant.Parting) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.has[connectionID] != id {
		m.misses++
		return false
	}
	delete(m.has, connectionID)
	m.ended[connectionID] = why.Reason + string(why.Said)
	return true
}

// Here knows no channels: it has all or nothing.
func (m *media) Here(id tenant.ID, which tenant.Choice) (ids []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for connection, owner := range m.has {
		if owner == id && m.rooms[connection] == which.Channel {
			ids = append(ids, connection)
		}
	}
	return ids
}

func (m *media) Do(ctx context.Context, id tenant.ID, o cluster.Order) (any, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.ConnectionID != "" && m.has[o.ConnectionID] != id || o.ConnectionID == "" && !slices.Contains(slices.Collect(maps.Values(m.rooms)), o.Channel) {
		return nil, false, nil
	}
	m.done = append(m.done, string(o.Body))
	if m.refuses != nil {
		return nil, true, m.refuses
	}
	return map[string]int{"connections": len(m.done)}, true, nil
}

func (m *media) add(owner tenant.ID, ids ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range ids {
		m.has[id] = owner
	}
}

func (m *media) endedAs() map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.ended)
}

func (m *media) missed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.misses
}

// byAPI is how the API ends connections.
var byAPI = tenant.Parting{Reason: tenant.EndAPI}

func second[T any](_ T, err error) error { return err }

func (b *bench) disconnect(n *cluster.Node, id, reason string) *cluster.Sent {
	b.t.Helper()
	sent, err := n.Disconnect(b.t.Context(), b.scope, id, tenant.Parting{Reason: reason})
	b.must(err)
	return sent
}

func (b *bench) openCommands() int {
	b.t.Helper()
	return one[int](b, `select count(*) from node_command where done_at is null`)
}

func TestDisconnectHere(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.start("a", b)
	id := b.connect(n, "room")
	m := newMedia(n, b.scope.Tenant(), id)
	b.disconnect(n, id, tenant.EndConsole)
	if got := m.endedAs(); got[id] != "console" || len(got) != 1 {
		t.Fatal(got)
	}
	if b.openCommands() != 0 {
		t.Fatal("a command for a connection that was here")
	}
}

func TestDisconnectOnAnotherNode(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	here, there := b.start("a", b), b.start("b", b)
	id := b.connect(there, "room")
	newMedia(here, b.scope.Tenant())
	m := newMedia(there, b.scope.Tenant(), id)
	b.disconnect(here, id, tenant.EndAPI)
	b.disconnect(here, id, tenant.EndAPI) // a second click
	if len(m.endedAs()) != 0 || b.openCommands() != 1 {
		t.Fatal("before the node looks:", m.endedAs(), b.openCommands())
	}
	b.run(here)
	b.run(there)
	b.eventually("the other node ends it", func() bool { return m.endedAs()[id] == "api" })
	b.eventually("the command is done", func() bool { return b.openCommands() == 0 })
	if n := m.missed(); n != 0 {
		t.Fatalf("it was asked %d times more", n)
	}
}

// A connection that its node entered anew is found by its earlier ids, too.
func TestDisconnectByAnEarlierID(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	here, there := b.start("a", b), b.start("b", b)
	first := b.connect(there, "room")
	b.exec(`delete from live_connection where connection_id = $1`, first)
	id := b.connect(there, "room")
	b.exec(`update connection set previous_connection_id = $2 where connection_id = $1`, id, first)
	newMedia(here, b.scope.Tenant())
	m := newMedia(there, b.scope.Tenant(), id)
	b.disconnect(here, first, tenant.EndAPI)
	b.run(there)
	b.eventually("it ends", func() bool { return m.endedAs()[id] == "api" })
}

// A connection can be in the ledger before the media plane knows it.
func TestDisconnectWhileItIsSetUp(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.start("a", b)
	id := b.connect(n, "room")
	m := newMedia(n, b.scope.Tenant())
	b.run(n)
	b.disconnect(n, id, tenant.EndConsole)
	b.eventually("the command is tried", func() bool { return m.missed() >= 3 })
	m.add(b.scope.Tenant(), id)
	b.eventually("the connection ends", func() bool { return m.endedAs()[id] == "console" })
	b.eventually("the command is done", func() bool { return b.openCommands() == 0 })
}

// The command for a connection that ended by itself does not stay for ever.
func TestDisconnectOfWhatEndsByItself(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n := b.start("a", b)
	id := b.connect(n, "room")
	m := newMedia(n, b.scope.Tenant())
	b.run(n)
	b.disconnect(n, id, tenant.EndConsole)
	b.eventually("the command is tried", func() bool { return m.missed() >= 2 })
	b.exec(`delete from live_connection where connection_id = $1`, id)
	b.eventually("the command is done", func() bool { return b.openCommands() == 0 })
	b.disconnect(n, id, tenant.EndConsole) // has ended: nothing to do
	if b.openCommands() != 0 {
		t.Fatal("a command for a connection that has ended")
	}
}

func TestDisconnectOfAnothersConnection(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n, other := b.start("a", b), b.newTenant()
	id := b.connect(n, "room")
	m := newMedia(n, b.scope.Tenant(), id)
	for _, err := range []error{
		second(n.Disconnect(t.Context(), other, id, byAPI)),
		second(n.Disconnect(t.Context(), b.scope, "unknown", byAPI)),
	} {
		if !errors.Is(err, cluster.ErrNotFound) {
			t.Fatal(err)
		}
	}
	if count, _, err := n.DisconnectAll(t.Context(), other, tenant.Choice{Channel: "room"}, byAPI); count != 0 || err != nil {
		t.Fatal(count, err)
	}
	_, _, err := n.DisconnectAll(t.Context(), tenant.Scope{}, tenant.Choice{Channel: "room"}, byAPI)
	for _, err := range []error{second(n.Disconnect(t.Context(), tenant.Scope{}, id, byAPI)), err} {
		if !errors.Is(err, tenant.ErrScope) {
			t.Fatal(err)
		}
	}
	if len(m.endedAs()) != 0 || b.openCommands() != 0 {
		t.Fatal("another tenant ended", m.endedAs(), b.openCommands())
	}
}

func TestDisconnectChannel(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	here, there := b.start("a", b), b.start("b", b)
	local := []string{b.connect(here, "room"), b.connect(here, "room")}
	remote := []string{b.connect(there, "room"), b.connect(there, "room"), b.connect(there, "room")}
	stays := b.connect(there, "hall")
	near := newMedia(here, b.scope.Tenant(), local...)
	far := newMedia(there, b.scope.Tenant(), append(remote, stays)...)
	b.run(there)
	if n, _, err := here.DisconnectAll(t.Context(), b.scope, tenant.Choice{Channel: "room"}, byAPI); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if got := slices.Sorted(maps.Keys(near.endedAs())); !slices.Equal(got, slices.Sorted(slices.Values(local))) {
		t.Fatal(got)
	}
	b.eventually("the other node ends its own", func() bool {
		return slices.Equal(slices.Sorted(maps.Keys(far.endedAs())), slices.Sorted(slices.Values(remote)))
	})
	if n, _, err := here.DisconnectAll(t.Context(), b.scope, tenant.Choice{Channel: "nobody"}, byAPI); n != 0 || err != nil {
		t.Fatal(n, err)
	}
}

// Who ends a connection of another node hears when that has done it.
func TestDisconnectIsConfirmed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	here, there := b.start("a", b), b.start("b", b)
	id := b.connect(there, "room")
	newMedia(here, b.scope.Tenant())
	m := newMedia(there, b.scope.Tenant(), id)
	b.run(here)
	b.run(there)
	sent, err := here.Disconnect(t.Context(), b.scope, id, tenant.Parting{Reason: tenant.EndAPI, Said: json.RawMessage(`{"why": "rude"}`)})
	b.must(err)
	if _, confirmed, err := sent.Wait(t.Context()); !confirmed || err != nil {
		t.Fatal("not confirmed:", err)
	}
	if got := m.endedAs()[id]; got != `api{"why": "rude"}` {
		t.Fatal(got)
	}
}

// A command to a node that does not come to it is durable all the same.
func TestDisconnectIsDurable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	here, there := b.start("a", b), b.start("b", b)
	id := b.connect(there, "room")
	newMedia(here, b.scope.Tenant())
	m := newMedia(there, b.scope.Tenant(), id)
	b.run(here)
	if _, confirmed, err := b.disconnect(here, id, tenant.EndAPI).Wait(t.Context()); confirmed || err != nil {
		t.Fatal("confirmed by nobody:", err)
	}
	b.run(there)
	b.eventually("it ends", func() bool { return m.endedAs()[id] == "api" })
}

// A node that was taken for dead goes on with the commands to its connections.
func TestDisconnectAcrossIncarnations(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	here, there := b.start("a", b), b.start("b", b)
	id, was := b.connect(there, "room"), there.ID()
	newMedia(here, b.scope.Tenant())
	m := newMedia(there, b.scope.Tenant(), id)
	b.disconnect(here, id, tenant.EndAPI)
	b.exec(`update node set state = 'lost' where node_id = $1`, was)
	b.run(there)
	b.eventually("it ends", func() bool { return m.endedAs()[id] == "api" })
	b.eventually("the node is back", func() bool { return there.ID() != was })
}

func TestOrders(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	here, there := b.start("a", b), b.start("b", b)
	id := b.connect(there, "room")
	newMedia(here, b.scope.Tenant())
	m := newMedia(there, b.scope.Tenant(), id)
	m.rooms = map[string]string{id: "room"}
	b.run(here)
	b.run(there)
	order := cluster.Order{Action: cluster.ActionPush, Channel: "room"}
	for i := range 20 { // in their order
		order.Body = json.RawMessage(strconv.Itoa(i))
		sent, err := here.Do(t.Context(), b.scope, order)
		b.must(err)
		if i%5 == 4 {
			results, confirmed, err := sent.Wait(t.Context())
			if !confirmed || err != nil || len(results) != 1 || string(results[0]) != `{"connections":`+strconv.Itoa(i+1)+`}` {
				t.Fatal(confirmed, err, results)
			}
		}
	}
	m.mu.Lock()
	done := slices.Clone(m.done)
	m.mu.Unlock()
	for i, body := range done {
		if body != strconv.Itoa(i) || len(done) != 20 {
			t.Fatal(done)
		}
	}
	byID := cluster.Order{Action: cluster.ActionKeyFrame, ConnectionID: id, Channel: "room"}
	if sent, err := here.Do(t.Context(), b.scope, byID); err != nil {
		t.Fatal(err)
	} else if _, confirmed, err := sent.Wait(t.Context()); !confirmed || err != nil {
		t.Fatal(confirmed, err)
	}
	// What the other node refuses is told as it said it.
	m.mu.Lock()
	m.refuses = tenant.Refuse(tenant.RateLimited, "slow down")
	m.mu.Unlock()
	sent, err := here.Do(t.Context(), b.scope, byID)
	b.must(err)
	if _, _, err := sent.Wait(t.Context()); tenant.AsRefusal(err) == nil || tenant.AsRefusal(err).Code != tenant.RateLimited {
		t.Fatal(err)
	}
	for _, o := range []cluster.Order{{Channel: "nowhere"}, {ConnectionID: "unknown"}, {ConnectionID: id, Channel: "hall"}} {
		if _, err := here.Do(t.Context(), b.scope, o); !errors.Is(err, cluster.ErrNotFound) {
			t.Fatal(o, err)
		}
		if _, err := there.Do(t.Context(), b.newTenant(), byID); !errors.Is(err, cluster.ErrNotFound) {
			t.Fatal("another tenant's:", err)
		}
	}
}

// An order is worth something for ten seconds, and is carried out at most once.
func TestOldOrders(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	here, there := b.start("a", b), b.start("b", b)
	id := b.connect(there, "room")
	newMedia(here, b.scope.Tenant())
	m := newMedia(there, b.scope.Tenant(), id)
	order := cluster.Order{Action: cluster.ActionPush, ConnectionID: id}
	old, err := here.Do(t.Context(), b.scope, order)
	b.must(err)
	b.exec(`update node_command set expires_at = clock_timestamp() - interval '1 second'`)
	taken, err := here.Do(t.Context(), b.scope, order)
	b.must(err)
	b.exec(`update node_command set done_at = clock_timestamp() where expires_at > clock_timestamp()`) // by a process that died then
	b.run(here)
	b.run(there)
	if _, _, err := old.Wait(t.Context()); tenant.AsRefusal(err) == nil || tenant.AsRefusal(err).Code != tenant.Unavailable {
		t.Fatal(err)
	}
	if _, confirmed, err := taken.Wait(t.Context()); confirmed || err != nil {
		t.Fatal(confirmed, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.done) != 0 || there.Late() != 1 {
		t.Fatal(m.done, there.Late())
	}
}

// What is of no use any more is deleted.
func TestCommandsAreForgotten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	n, dead := b.start("a", b), b.start("b", b)
	newMedia(n, b.scope.Tenant())
	live := b.connect(dead, "room")
	b.exec(`update node set state = 'lost' where node_id = $1`, dead.ID())
	b.exec(`insert into node_command (node_id, tenant_id, action, connection_id, reason, created_at, done_at, expires_at)
		select $1, $2, action, $3, 'api', clock_timestamp() - age, case when done then clock_timestamp() end, clock_timestamp() - expired
		from (values ('disconnect', interval '2 hours', false, null::interval), ('disconnect', interval '1 minute', false, null),
			('push', interval '2 minutes', true, interval '90 seconds'), ('push', interval '2 minutes', false, interval '90 seconds')) as v (action, age, done, expired)`,
		dead.ID(), b.scope.Tenant(), live)
	b.run(n)
	b.eventually("all are gone but the young one", func() bool { return one[int](b, `select count(*) from node_command`) == 1 })
}
