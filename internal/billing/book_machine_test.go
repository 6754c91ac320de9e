package billing_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// modelCall is what the model of a book knows of one connection on its node.
type modelCall struct {
	opening   tenant.Opening
	connected bool
	ended     bool
}

// bookMachine is a book beside a model of it: who is here, who is elsewhere, and
// what was known when the database went away.
type bookMachine struct {
	b     *bookBench
	scope tenant.Scope
	other string // the other node

	calls     []*modelCall // in the order in which they came
	elsewhere []string
	max, per  int

	away           bool
	lost           bool // the node was taken for dead, and does not know
	knownMax       int
	knownPer       int
	knownElsewhere int
}

func (m *bookMachine) here(channel string) (all, inChannel int) {
	for _, c := range m.calls {
		if !c.ended {
			all++
			if c.opening.Channel == channel {
				inChannel++
			}
		}
	}
	return all, inChannel
}

func (m *bookMachine) some(t *rapid.T) *modelCall {
	if len(m.calls) == 0 {
		t.Skip("nobody has come")
	}
	return rapid.SampledFrom(m.calls).Draw(t, "call")
}

func (m *bookMachine) open(t *rapid.T) {
	o := opening(m.scope, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "channel"),
		rapid.SampledFrom([]tenant.Role{tenant.SendOnly, tenant.RecvOnly, tenant.SendRecv}).Draw(t, "role"))
	o.ClientID = rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "client")
	o.Duplicates = rapid.SampledFrom([]tenant.Duplicates{"", "", tenant.DuplicatesRefuse, tenant.DuplicatesReplace}).Draw(t, "duplicates")
	o.MaxChannelConnections = rapid.SampledFrom([]int{0, 0, 2}).Draw(t, "cap")
	all, inChannel := m.here(o.Channel)
	most, per, elsewhere := m.max, m.per, len(m.elsewhere)
	if m.away {
		most, per, elsewhere = m.knownMax, m.knownPer, m.knownElsewhere
	}
	var older []*modelCall
	for _, c := range m.calls {
		if !c.ended && c.opening.Channel == o.Channel && c.opening.ClientID == o.ClientID && o.Duplicates != "" {
			older = append(older, c)
		}
	}
	free := 0
	if o.Duplicates == tenant.DuplicatesReplace {
		free = len(older)
	}
	want := tenant.Code("")
	switch {
	case m.away && inChannel == 0:
		want = tenant.Unavailable
	case all+elsewhere-free >= most:
		want = tenant.TenantFull
	case inChannel-free >= per, o.MaxChannelConnections > 0 && inChannel-free >= o.MaxChannelConnections:
		want = tenant.ChannelFull
	case o.Duplicates == tenant.DuplicatesRefuse && len(older) > 0:
		want = tenant.ChannelDenied
	}
	opened, err := m.b.enter(o)
	if got := refusal(err); got != want || got == "" && err != nil {
		t.Fatalf("%v, want %q: %d here, %d in the channel, %d elsewhere, of %d and %d, away: %t", err, want, all, inChannel, elsewhere, most, per, m.away)
	}
	if want != "" {
		return
	}
	replaced := slices.Clone(opened.Replaced)
	slices.Sort(replaced)
	var wantReplaced []string
	if free > 0 {
		for _, c := range older {
			c.ended = true
			wantReplaced = append(wantReplaced, c.opening.ConnectionID)
		}
		slices.Sort(wantReplaced)
	}
	if !slices.Equal(replaced, wantReplaced) || opened.Counts.Connections != inChannel-free+1 {
		t.Fatalf("replaced %v, want %v; %d in the channel, want %d", replaced, wantReplaced, opened.Counts.Connections, inChannel-free+1)
	}
	m.calls = append(m.calls, &modelCall{opening: o})
}

func (m *bookMachine) connected(t *rapid.T) {
	c := m.some(t)
	if c.ended || c.connected {
		t.Skip("it is over, or up already")
	}
	if err := m.b.book.Connected(t.Context(), c.opening.ConnectionID, 0); err != nil {
		t.Fatal(err)
	}
	c.connected = true
}

func (m *bookMachine) close(t *rapid.T) {
	c := m.some(t)
	e := tenant.Ending{Reason: tenant.EndClient}
	if c.connected {
		e.Duration = time.Millisecond
	}
	for range rapid.IntRange(1, 2).Draw(t, "times") {
		err := m.b.book.Close(t.Context(), c.opening.ConnectionID, e)
		if err != nil && !(c.ended && m.away) { // the door asks again later
			t.Fatal(err)
		}
		c.ended = true
	}
}

func (m *bookMachine) cut(t *rapid.T) {
	if m.away {
		t.Skip("it is away")
	}
	m.b.book.Reread()
	m.b.line.sever()
	m.away, m.knownMax, m.knownPer, m.knownElsewhere = true, m.max, m.per, len(m.elsewhere)
	m.b.eventually("it is known to be away", func() bool { m.b.book.Reread(); return m.b.book.Stats().Away })
}

func (m *bookMachine) elsewhereOpens(t *rapid.T) {
	o := opening(m.scope, rapid.SampledFrom([]string{"c", "d"}).Draw(t, "channel"), tenant.SendRecv)
	_, err := m.b.Open(t.Context(), m.other, o)
	if err == nil {
		m.elsewhere = append(m.elsewhere, o.ConnectionID)
	} else if refusal(err) == "" {
		t.Fatal(err)
	}
}

func (m *bookMachine) elsewhereCloses(t *rapid.T) {
	if len(m.elsewhere) == 0 {
		t.Skip("nobody is elsewhere")
	}
	i := rapid.IntRange(0, len(m.elsewhere)-1).Draw(t, "who")
	if err := m.b.Close(t.Context(), m.elsewhere[i], tenant.Ending{Reason: tenant.EndClient}); err != nil {
		t.Fatal(err)
	}
	m.elsewhere = slices.Delete(m.elsewhere, i, i+1)
}

func (m *bookMachine) setLicence(t *rapid.T) {
	m.max, m.per = rapid.IntRange(0, 6).Draw(t, "connections"), rapid.IntRange(0, 4).Draw(t, "per channel")
	if err := m.b.SetLicence(t.Context(), m.scope, m.max, m.per); err != nil {
		t.Fatal(err)
	}
}

// lose has the node taken for dead while it is cut off.
func (m *bookMachine) lose(t *rapid.T) {
	if !m.away || m.lost {
		t.Skip("it answers, or is dead already")
	}
	m.lost = true
	id := m.b.here.ID()
	m.b.exec(`update node set state = 'lost', ended_at = clock_timestamp() where node_id = $1`, id)
	if _, err := m.b.EndNode(t.Context(), id); err != nil {
		t.Fatal(err)
	}
}

// mend brings the database back, and the node if it was lost.
func (m *bookMachine) mend(t *rapid.T) {
	if !m.away {
		t.Skip("it is there")
	}
	if m.lost {
		left := m.max - len(m.elsewhere)
		in := map[string]int{}
		for _, c := range m.calls {
			if c.ended {
				continue
			}
			if left <= 0 || in[c.opening.Channel] >= m.per {
				c.ended = true
				continue
			}
			left--
			in[c.opening.Channel]++
		}
		m.b.here.id.Store(m.b.newNode())
	}
	m.away, m.lost = false, false
	m.b.line.mend()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	m.b.book.Reread()
	if err := m.b.book.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// check compares the ledger with the model whenever the two can be compared.
func (m *bookMachine) check(t *rapid.T) {
	if m.away {
		return
	}
	if err := m.b.checkInvariants(m.scope); err != nil {
		t.Fatal(err)
	}
	want := slices.Clone(m.elsewhere)
	for _, c := range m.calls {
		if !c.ended {
			want = append(want, c.opening.ConnectionID)
		}
	}
	rows, _, err := m.b.Live(t.Context(), m.scope, billing.LiveQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rows {
		id := m.b.book.MediaID(r.ConnectionID)
		got = append(got, id)
		for _, c := range m.calls {
			if c.opening.ConnectionID == id && (c.opening.Role != r.Role || c.opening.Channel != r.Channel || c.connected == r.ConnectedAt.IsZero()) {
				t.Fatalf("%+v is live as %+v", c, r)
			}
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Fatalf("live are %v, want %v", got, want)
	}
	for _, c := range m.calls { // each that was let in is there, for ever
		if _, err := m.b.Connection(t.Context(), m.scope, c.opening.ConnectionID); err != nil {
			t.Fatal(c, err)
		}
	}
	if s := m.b.book.Stats(); s.Owed != 0 || s.Entries != 0 || s.Dropped != 0 {
		t.Fatalf("%+v", s)
	}
}

// TestBookIsItsModel runs random steps on the book and on the model.
func TestBookIsItsModel(t *testing.T) {
	b := newBookBench(t)
	steps := map[string]func(*bookMachine, *rapid.T){
		"open": (*bookMachine).open, "open more": (*bookMachine).open, "open still more": (*bookMachine).open,
		"connected": (*bookMachine).connected, "close": (*bookMachine).close,
		"cut": (*bookMachine).cut, "mend": (*bookMachine).mend, "lose": (*bookMachine).lose,
		"elsewhere opens": (*bookMachine).elsewhereOpens, "elsewhere closes": (*bookMachine).elsewhereCloses,
		"set licence": (*bookMachine).setLicence,
	}
	rapid.Check(t, func(t *rapid.T) {
		m := &bookMachine{b: b, scope: b.newTenant(4, 3), other: b.newNode(), max: 4, per: 3}
		actions := map[string]func(*rapid.T){"": m.check}
		for _, name := range slices.Sorted(maps.Keys(steps)) {
			step := steps[name]
			actions[name] = func(t *rapid.T) { step(m, t) }
		}
		t.Repeat(actions)
		if m.away {
			m.mend(t)
			m.check(t)
		}
		for _, c := range m.calls {
			if err := m.b.book.Close(context.Background(), c.opening.ConnectionID, tenant.Ending{Reason: tenant.EndClient}); err != nil && !errors.Is(err, billing.ErrNotFound) {
				t.Fatal(err)
			}
			c.ended = true
		}
		m.check(t)
	})
}
