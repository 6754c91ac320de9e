package billing_test

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// modelConnection is what the model knows about one connection.
type modelConnection struct {
	opening   tenant.Opening
	node      string
	connected bool
	metered   time.Duration // what it will be billed for
	soft      bool          // or a little more: it was ended by the database's clock
	ended     bool
	reason    string
}

// modelTenant is what the model knows about one tenant.
type modelTenant struct {
	scope           tenant.Scope
	max, perChannel int
	peak            int // the most that were live
}

// machine is the ledger beside a model of it that is too simple to be wrong:
// places are counted, never kept.
type machine struct {
	b           *bench
	nodes       []string // up
	dead        []string
	tenants     []*modelTenant
	connections map[string]*modelConnection
	ids         []string // of connections, in the order of their opening
}

// live counts the model's live connections of a tenant, in all and in a channel.
func (m *machine) live(id tenant.ID, channel string) (all, inChannel int) {
	for _, c := range m.connections {
		if c.opening.Tenant == id && !c.ended {
			all++
			if c.opening.Channel == channel {
				inChannel++
			}
		}
	}
	return all, inChannel
}

// home is the node that a channel lives on, and whether it is a room of a
// peer-to-peer call; "": it is not live.
func (m *machine) home(id tenant.ID, channel string) (node string, peer bool) {
	for _, c := range m.connections {
		if c.opening.Tenant == id && c.opening.Channel == channel && !c.ended {
			return c.node, c.opening.PeerToPeer()
		}
	}
	return "", false
}

// older are the live connections of a client id in a channel.
func (m *machine) older(o tenant.Opening) (ids []string) {
	for id, c := range m.connections {
		if c.opening.Tenant == o.Tenant && c.opening.Channel == o.Channel && c.opening.ClientID == o.ClientID && !c.ended {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// some draws a connection. Without one it skips: rapid then draws another
// action, and the test goes on.
func (m *machine) some(t *rapid.T) (string, *modelConnection) {
	if len(m.ids) == 0 {
		t.Skip("nothing has been opened")
	}
	id := rapid.SampledFrom(m.ids).Draw(t, "connection")
	return id, m.connections[id]
}

func (m *machine) open(t *rapid.T) {
	id := rapid.SampledFrom(m.tenants).Draw(t, "tenant")
	node := rapid.SampledFrom(m.nodes).Draw(t, "node")
	o := opening(id.scope, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "channel"),
		rapid.SampledFrom([]tenant.Role{tenant.SendOnly, tenant.RecvOnly, tenant.SendRecv}).Draw(t, "role"))
	o.Protocol = rapid.SampledFrom([]string{"sora", "whip", "sora2015", tenant.ProtocolAyame}).Draw(t, "protocol")
	o.ClientID = rapid.SampledFrom([]string{"camera", "phone"}).Draw(t, "client")
	o.Duplicates = rapid.SampledFrom([]tenant.Duplicates{"", tenant.DuplicatesAllow, tenant.DuplicatesRefuse, tenant.DuplicatesReplace}).Draw(t, "duplicates")
	o.MaxChannelConnections = rapid.IntRange(0, 3).Draw(t, "most")
	m.openOne(t, id, node, o)
}

// openOne opens a connection and compares the verdict with the model's.
func (m *machine) openOne(t *rapid.T, id *modelTenant, node string, o tenant.Opening) {
	all, inChannel := m.live(o.Tenant, o.Channel)
	home, peer := m.home(o.Tenant, o.Channel)
	older, replaced := m.older(o), []string(nil)
	if o.Duplicates == tenant.DuplicatesReplace {
		replaced = older
	}
	all, inChannel = all-len(replaced), inChannel-len(replaced)
	most := id.perChannel
	if o.MaxChannelConnections > 0 {
		most = min(most, o.MaxChannelConnections)
	}
	opened, err := m.b.Open(m.b.t.Context(), node, o)
	var r *tenant.Refusal
	var elsewhere *tenant.Elsewhere
	sentOn := home != "" && home != node
	switch {
	case all >= id.max && !(sentOn && len(replaced) > 0):
		if !errors.As(err, &r) || r.Code != tenant.TenantFull || r.Current != all || r.Max != id.max {
			t.Fatalf("%v, want tenant_full with %d of %d", err, all, id.max)
		}
	case home != "" && peer != o.PeerToPeer() && !(sentOn && len(replaced) > 0):
		if !errors.As(err, &r) || r.Code != tenant.ChannelDenied {
			t.Fatalf("%v, want channel_denied: the channel is peer to peer: %t", err, peer)
		}
	case inChannel >= most && !(sentOn && len(replaced) > 0):
		if !errors.As(err, &r) || r.Code != tenant.ChannelFull || r.Current != inChannel || r.Max != most && r.Max != id.perChannel {
			t.Fatalf("%v, want channel_full with %d of %d", err, inChannel, most)
		}
	case sentOn:
		if !errors.As(err, &elsewhere) || elsewhere.NodeID != home || elsewhere.PublicURL != "https://"+home+".example" {
			t.Fatalf("%v, want the way to %s", err, home)
		}
	case o.Duplicates == tenant.DuplicatesRefuse && len(older) > 0:
		if !errors.As(err, &r) || r.Code != tenant.ChannelDenied {
			t.Fatalf("%v, want channel_denied: the client is there", err)
		}
	case err != nil || opened.Counts.Connections != inChannel+1 || !slices.Equal(opened.Replaced, replaced):
		t.Fatal(opened, err)
	default:
		for _, id := range replaced {
			c := m.connections[id]
			c.ended, c.reason = true, tenant.EndReplaced
			c.soft = true
		}
		m.connections[o.ConnectionID] = &modelConnection{opening: o, node: node}
		m.ids = append(m.ids, o.ConnectionID)
		id.peak = max(id.peak, all+1)
	}
}

func (m *machine) openAgain(t *rapid.T) {
	_, c := m.some(t)
	opened, err := m.b.Open(m.b.t.Context(), c.node, c.opening)
	var r *tenant.Refusal
	switch {
	case c.ended: // the id is used up, or there is no place to find that out
		if !errors.Is(err, billing.ErrConnectionUsed) && !errors.Is(err, billing.ErrNodeEnded) && !errors.As(err, &r) && !errors.As(err, new(*tenant.Elsewhere)) {
			t.Fatal(err)
		}
	case err != nil:
		t.Fatal(err)
	default:
		if _, n := m.live(c.opening.Tenant, c.opening.Channel); opened.Counts.Connections != n {
			t.Fatalf("%+v, want %d connections", opened, n)
		}
	}
}

func (m *machine) connected(t *rapid.T) {
	id, c := m.some(t)
	ago := near(0, time.Minute).Draw(t, "ago")
	if err := m.b.Connected(m.b.t.Context(), id, ago); err != nil {
		t.Fatal(err)
	}
	if !c.ended && !c.connected {
		c.connected, c.metered = true, ago
	}
}

func (m *machine) close(t *rapid.T) {
	id, c := m.some(t)
	duration := near(0, 3*time.Minute).Draw(t, "duration")
	if err := m.b.Close(m.b.t.Context(), id, tenant.Ending{Reason: tenant.EndClient, Duration: duration}); err != nil {
		t.Fatal(err)
	}
	if !c.ended {
		c.ended, c.reason = true, tenant.EndClient
		c.connected = c.connected || duration > 0
		c.metered = max(c.metered, duration)
	}
}

func (m *machine) beat(t *rapid.T) {
	node := rapid.SampledFrom(m.nodes).Draw(t, "node")
	var marks []billing.Mark
	for _, id := range m.ids {
		if !rapid.Bool().Draw(t, "marked") {
			continue
		}
		c := m.connections[id]
		mark := billing.Mark{ConnectionID: id, Connected: near(0, 3*time.Minute).Draw(t, "connected")}
		marks = append(marks, mark)
		if c.node == node && c.connected && !c.ended {
			c.metered = max(c.metered, mark.Connected)
		}
	}
	if err := m.b.Beat(m.b.t.Context(), node, marks); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) endNode(t *rapid.T) {
	node := rapid.SampledFrom(m.nodes).Draw(t, "node")
	m.b.exec(`update node set state = 'lost' where node_id = $1`, node)
	n, err := m.b.EndNode(m.b.t.Context(), node)
	if err != nil {
		t.Fatal(err)
	}
	want := 0
	for _, c := range m.connections {
		if c.node == node && !c.ended {
			c.ended, c.reason = true, tenant.EndNodeLost
			want++
		}
	}
	if n != want {
		t.Fatalf("%d connections ended with the node, want %d", n, want)
	}
	m.nodes = slices.DeleteFunc(m.nodes, func(id string) bool { return id == node })
	m.nodes = append(m.nodes, m.b.newNode())
	m.dead = append(m.dead, node)
}

// deadNode lets a node that was ended go on as if it had not noticed. While
// there is none, rapid draws another action.
func (m *machine) deadNode(t *rapid.T) {
	if len(m.dead) == 0 {
		t.Skip("no node is dead")
	}
	node := rapid.SampledFrom(m.dead).Draw(t, "dead")
	o := opening(rapid.SampledFrom(m.tenants).Draw(t, "tenant").scope, "a", tenant.SendRecv)
	var r *tenant.Refusal
	if _, err := m.b.Open(m.b.t.Context(), node, o); !errors.Is(err, billing.ErrNodeEnded) && !errors.As(err, &r) && !errors.As(err, new(*tenant.Elsewhere)) {
		t.Fatal(err)
	}
	var marks []billing.Mark
	for _, id := range m.ids {
		marks = append(marks, billing.Mark{ConnectionID: id, Connected: time.Hour})
	}
	if err := m.b.Beat(m.b.t.Context(), node, marks); err != nil {
		t.Fatal(err)
	}
	if n, err := m.b.EndNode(m.b.t.Context(), node); n != 0 || err != nil {
		t.Fatal(n, err)
	}
}

func (m *machine) setLicence(t *rapid.T) {
	id := rapid.SampledFrom(m.tenants).Draw(t, "tenant")
	id.max, id.perChannel = rapid.IntRange(0, 6).Draw(t, "max"), rapid.IntRange(0, 4).Draw(t, "perChannel")
	if err := m.b.SetLicence(m.b.t.Context(), id.scope, id.max, id.perChannel); err != nil {
		t.Fatal(err)
	}
}

// closeAgain ends what has ended: its place is not freed twice.
func (m *machine) closeAgain(t *rapid.T) {
	id, c := m.some(t)
	if !c.ended {
		t.Skip("it is live")
	}
	if err := m.b.Close(m.b.t.Context(), id, tenant.Ending{Reason: tenant.EndAPI, Duration: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := m.b.Abandon(m.b.t.Context(), c.opening, tenant.Ending{Reason: tenant.EndAPI}); err != nil {
		t.Fatal(err)
	}
}

// crowd opens several at once: each verdict is one that some order of them gives, so
// as many come in as there is room for.
func (m *machine) crowd(t *rapid.T) {
	id := rapid.SampledFrom(m.tenants).Draw(t, "tenant")
	node := rapid.SampledFrom(m.nodes).Draw(t, "node")
	if home, _ := m.home(id.scope.Tenant(), "crowd"); home != "" {
		node = home
	}
	all, inChannel := m.live(id.scope.Tenant(), "crowd")
	room := max(0, min(id.max-all, id.perChannel-inChannel))
	n := rapid.IntRange(2, 6).Draw(t, "crowd")
	openings, errs := make([]tenant.Opening, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		openings[i] = opening(id.scope, "crowd", tenant.RecvOnly)
		wg.Go(func() { _, errs[i] = m.b.Open(m.b.t.Context(), node, openings[i]) })
	}
	wg.Wait()
	admitted := 0
	for i, err := range errs {
		var r *tenant.Refusal
		switch {
		case err == nil:
			admitted++
			m.connections[openings[i].ConnectionID] = &modelConnection{opening: openings[i], node: node}
			m.ids = append(m.ids, openings[i].ConnectionID)
		case !errors.As(err, &r) || r.Code != tenant.TenantFull && r.Code != tenant.ChannelFull:
			t.Fatal(err)
		}
	}
	if admitted != min(n, room) {
		t.Fatalf("%d of %d were admitted to %d places", admitted, n, room)
	}
	id.peak = max(id.peak, all+admitted)
}

func (m *machine) reject(t *rapid.T) {
	id := rapid.SampledFrom(m.tenants).Draw(t, "tenant")
	if err := m.b.Reject(m.b.t.Context(), opening(id.scope, "a", tenant.RecvOnly), tenant.Refuse(tenant.Banned, "banned")); err != nil {
		t.Fatal(err)
	}
}

// roll rolls up what one tenant has used, or all that is due.
func (m *machine) roll(t *rapid.T) {
	if err := m.b.RollUp(m.b.t.Context(), rapid.SampledFrom(m.tenants).Draw(t, "tenant").scope.Tenant()); err != nil {
		t.Fatal(err)
	}
	if drifts, err := m.b.Reconcile(m.b.t.Context()); err != nil || len(drifts) > 0 {
		t.Fatal(drifts, err)
	}
}

// used compares what the tenants' usage says with what the model's connections come to.
func (m *machine) used(t *rapid.T) {
	for _, id := range m.tenants {
		got, _, err := m.b.Used(m.b.t.Context(), m.b.pool, id.scope.Tenant(), time.Now().Add(-24*time.Hour), time.Now().Add(24*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		var connections, least, most int64
		for _, c := range m.connections {
			if c.opening.Tenant == id.scope.Tenant() && c.connected {
				connections++
				least += max(1, int64((c.metered+time.Minute-1)/time.Minute))
				longer := c.metered
				if c.soft {
					longer += 15 * time.Second
				}
				most += max(1, int64((longer+time.Minute-1)/time.Minute))
			}
		}
		if got.Connections != connections || got.Minutes < least || got.Minutes > most || got.BilledSeconds != 60*got.Minutes {
			t.Fatalf("used %+v, want %d connections and %d to %d minutes", got, connections, least, most)
		}
	}
}

// check compares the ledger with the model, and with itself.
func (m *machine) check(t *rapid.T) {
	for _, id := range m.tenants {
		if err := m.b.checkInvariants(id.scope); err != nil {
			t.Fatal(err)
		}
		licence, err := m.b.Licence(m.b.t.Context(), id.scope)
		if all, _ := m.live(id.scope.Tenant(), ""); err != nil || licence != (billing.Licence{Connections: all, MaxConnections: id.max, MaxPerChannel: id.perChannel}) {
			t.Fatal(licence, all, err)
		}
		if rapid.IntRange(0, 7).Draw(t, "peaks") > 0 {
			continue
		}
		now := time.Now()
		peaks, err := m.b.Peaks(m.b.t.Context(), id.scope, now.Add(-2*time.Hour), now.Add(time.Hour))
		if err != nil || len(peaks) == 0 || !slices.ContainsFunc(peaks, func(p billing.Peak) bool { return p.Connections == id.peak }) {
			t.Fatalf("%v, %v: the peak is %d", peaks, err, id.peak)
		}
	}
	if rapid.IntRange(0, 7).Draw(t, "recount") == 0 {
		if drifts, err := m.b.Recount(m.b.t.Context()); err != nil || len(drifts) > 0 {
			t.Fatal(drifts, err)
		}
	}
	if len(m.ids) == 0 {
		return
	}
	id, c := m.some(t)
	h, err := m.b.Connection(m.b.t.Context(), tenant.OperatorScope(c.opening.Tenant), id)
	if err != nil || h.EndReason != c.reason || h.EndedAt.IsZero() == c.ended || h.ConnectedAt.IsZero() == c.connected {
		t.Fatal(h, c, err)
	}
	if !c.connected {
		return
	}
	got, want := h.MeteredThrough.Sub(h.ConnectedAt), c.metered.Truncate(time.Microsecond)
	if got != want && !(c.soft && got > want && got <= want+15*time.Second) {
		t.Fatalf("metered %v, want %v", got, want)
	}
	told := m.b.told(tenant.OperatorScope(c.opening.Tenant), id)
	for i, minute := range told {
		if minute != int64(i)+1 || minute > int64(got/time.Minute) {
			t.Fatalf("told %v after %v", told, c.metered)
		}
	}
}

// TestLedgerIsItsModel runs random steps on the ledger and on the model.
func TestLedgerIsItsModel(t *testing.T) {
	b := newBench(t)
	steps := map[string]func(*machine, *rapid.T){
		"open": (*machine).open, "open more": (*machine).open, "open again": (*machine).openAgain, "crowd": (*machine).crowd,
		"close again": (*machine).closeAgain,
		"connected":   (*machine).connected, "close": (*machine).close, "beat": (*machine).beat,
		"roll": (*machine).roll, "used": (*machine).used,
		"end node": (*machine).endNode, "dead node": (*machine).deadNode, "set licence": (*machine).setLicence, "reject": (*machine).reject,
	}
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{b: b, nodes: []string{b.newNode(), b.newNode()}, connections: map[string]*modelConnection{}}
		for range 2 {
			m.tenants = append(m.tenants, &modelTenant{scope: b.newTenant(4, 2), max: 4, perChannel: 2})
		}
		actions := map[string]func(*rapid.T){"": m.check}
		for _, name := range slices.Sorted(maps.Keys(steps)) {
			step := steps[name]
			actions[name] = func(t *rapid.T) { step(m, t) }
		}
		t.Repeat(actions)
	})
}
