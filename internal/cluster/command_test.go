package cluster_test

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/tenant"
)

// media stands for a process's connections: it ends those it has.
type media struct {
	mu sync.Mutex
	// Guarded by mu
	has    map[string]tenant.ID
	ended  map[string]string // reason by connection
	misses int               // calls for connections that are not here
}

func newMedia(n *cluster.Node, owner tenant.ID, ids ...string) *media {
	m := &media{has: map[string]tenant.ID{}, ended: map[string]string{}}
	m.add(owner, ids...)
	n.HandleDisconnect(func(id tenant.ID, connectionID, reason string) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.has[connectionID] != id {
			m.misses++
			return false
		}
		delete(m.has, connectionID)
		m.ended[connectionID] = reason
		return true
	})
	return m
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
	b.must(n.Disconnect(t.Context(), b.scope, id, tenant.EndConsole))
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
	b.must(here.Disconnect(t.Context(), b.scope, id, tenant.EndAPI))
	b.must(here.Disconnect(t.Context(), b.scope, id, tenant.EndAPI)) // a second click
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
	b.must(here.Disconnect(t.Context(), b.scope, first, tenant.EndAPI))
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
	b.must(n.Disconnect(t.Context(), b.scope, id, tenant.EndConsole))
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
	b.must(n.Disconnect(t.Context(), b.scope, id, tenant.EndConsole))
	b.eventually("the command is tried", func() bool { return m.missed() >= 2 })
	b.exec(`delete from live_connection where connection_id = $1`, id)
	b.eventually("the command is done", func() bool { return b.openCommands() == 0 })
	b.must(n.Disconnect(t.Context(), b.scope, id, tenant.EndConsole)) // has ended: nothing to do
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
		n.Disconnect(t.Context(), other, id, tenant.EndAPI),
		n.Disconnect(t.Context(), b.scope, "unknown", tenant.EndAPI),
	} {
		if !errors.Is(err, cluster.ErrNotFound) {
			t.Fatal(err)
		}
	}
	if count, err := n.DisconnectChannel(t.Context(), other, "room", tenant.EndAPI); count != 0 || err != nil {
		t.Fatal(count, err)
	}
	_, err := n.DisconnectChannel(t.Context(), tenant.Scope{}, "room", tenant.EndAPI)
	for _, err := range []error{n.Disconnect(t.Context(), tenant.Scope{}, id, tenant.EndAPI), err} {
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
	if n, err := here.DisconnectChannel(t.Context(), b.scope, "room", tenant.EndAPI); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if got := slices.Sorted(maps.Keys(near.endedAs())); !slices.Equal(got, slices.Sorted(slices.Values(local))) {
		t.Fatal(got)
	}
	b.eventually("the other node ends its own", func() bool {
		return slices.Equal(slices.Sorted(maps.Keys(far.endedAs())), slices.Sorted(slices.Values(remote)))
	})
	if n, err := here.DisconnectChannel(t.Context(), b.scope, "nobody", tenant.EndAPI); n != 0 || err != nil {
		t.Fatal(n, err)
	}
}
