package signaling_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// TestAyameRooms has clients come, talk and go in any order, and holds the door
// against a model of what each must hear. In the end nothing is left: no place, no
// beginning without its end, and no goroutine, or the bubble would not end.
func TestAyameRooms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{})
		round := 0
		// A bubble's T must not be asked for its deadline, so rapid is not shown that it has one.
		rapid.Check(struct{ testing.TB }{t}, func(rt *rapid.T) {
			round++
			m := &roomModel{t: t, rt: rt, house: h, names: []string{fmt.Sprintf("red %d", round), fmt.Sprintf("blue %d", round)}, rooms: map[string][]*guest{}}
			defer m.leave()
			rt.Repeat(map[string]func(*rapid.T){
				"register": m.register, "offer": m.offer, "answer": m.answer, "candidate": m.candidate,
				"close": m.close, "vanish": m.vanish, "disconnect": m.disconnect, "mistake": m.mistake,
				"wait": func(*rapid.T) { time.Sleep(7 * time.Second) }, // a ping, and never a minute between two
				"":     m.check,
			})
		})
		synctest.Wait()
		if s := h.door.Stats(); s.Peers != 0 || s.Rooms != 0 || s.OpenSockets != 0 || s.Unsettled != 0 {
			t.Errorf("the door still has %+v", s)
		}
	})
}

// guest is a client that has come in.
type guest struct {
	*ayamer
	room      string
	due       []string // what it must hear next
	offered   bool
	connected bool
	reason    string // how it ended; "": it is there
	met       time.Time
}

// roomModel is what must be true of two rooms.
type roomModel struct {
	t     *testing.T
	rt    *rapid.T
	house *house
	names []string
	rooms map[string][]*guest
	all   []*guest
}

// someone is a guest that is there; nil: nobody is.
func (m *roomModel) someone() *guest {
	var there []*guest
	for _, g := range m.all {
		if g.reason == "" {
			there = append(there, g)
		}
	}
	if len(there) == 0 {
		return nil
	}
	return rapid.SampledFrom(there).Draw(m.rt, "guest")
}

func (m *roomModel) other(g *guest) *guest {
	for _, other := range m.rooms[g.room] {
		if other != g {
			return other
		}
	}
	return nil
}

func (m *roomModel) register(*rapid.T) {
	room := rapid.SampledFrom(m.names).Draw(m.rt, "room")
	there := m.rooms[room]
	if len(there) == 2 {
		c := m.house.ayame(m.t)
		c.say(registration(room, ""))
		c.hears(`{"type":"reject","reason":"full"}`)
		c.closes("channel_full: ")
		return
	}
	g := &guest{ayamer: m.house.ayame(m.t), room: room, met: time.Now()}
	g.say(registration(room, ""))
	text := g.next()
	if want := fmt.Sprintf(`"isExistClient":%t,"isExistUser":%[1]t}`, len(there) == 1); len(text) < 60 || text[len(text)-len(want):] != want {
		m.rt.Fatalf("told %s; want %s", text, want)
	}
	_, rest, _ := strings.Cut(text, `"connectionId":"`)
	g.id, _, _ = strings.Cut(rest, `"`)
	for _, other := range there {
		other.met = g.met
	}
	m.rooms[room] = append(there, g)
	m.all = append(m.all, g)
}

// says has a guest say something that is passed on.
func (m *roomModel) says(text string) (g, other *guest) {
	if g = m.someone(); g == nil {
		return nil, nil
	}
	g.say(text)
	if other = m.other(g); other != nil {
		other.due = append(other.due, text)
	}
	return g, other
}

func (m *roomModel) candidate(*rapid.T) { m.says(`{"type":"candidate","ice":{}}`) }

func (m *roomModel) offer(*rapid.T) {
	if g, other := m.says(anOffer); other != nil {
		g.offered = true
	}
}

func (m *roomModel) answer(*rapid.T) {
	if g, other := m.says(anAnswer); other != nil && other.offered {
		g.connected, other.connected = true, true
	}
}

// goes is the end of a guest, and of its room.
func (m *roomModel) goes(g *guest, reason string, hears ...string) {
	g.reason, g.due = reason, append(g.due, append(hears, "")...)
	if other := m.other(g); other != nil {
		other.reason, other.due = tenant.EndPeerLeft, append(other.due, `{"type":"bye"}`, "")
	}
	delete(m.rooms, g.room)
}

func (m *roomModel) close(*rapid.T) {
	if g := m.someone(); g != nil {
		m.hearAll() // what is on its way to it may be lost
		g.conn.Close(websocket.StatusNormalClosure, "")
		m.goes(g, tenant.EndClient)
	}
}

func (m *roomModel) vanish(*rapid.T) {
	if g := m.someone(); g != nil {
		m.hearAll()
		g.conn.CloseNow()
		m.goes(g, tenant.EndClient)
	}
}

func (m *roomModel) disconnect(*rapid.T) {
	if g := m.someone(); g != nil {
		synctest.Wait() // what it said before is passed on
		if !m.house.door.Disconnect("ten_A", g.id, tenant.EndAPI) {
			m.rt.Fatalf("%s was not there", g.id)
		}
		m.goes(g, tenant.EndAPI, `{"type":"bye"}`)
	}
}

func (m *roomModel) mistake(*rapid.T) {
	if g := m.someone(); g != nil {
		m.hearAll()
		g.say(`{"type":"accept"}`)
		m.goes(g, tenant.EndProtocol)
	}
}

// hearAll checks that everybody heard what it must, and nothing else.
func (m *roomModel) hearAll() {
	synctest.Wait()
	for _, g := range m.all {
		for _, want := range g.due {
			g.hears(want)
		}
		g.due = nil
		if g.reason == "" && len(g.heard) > 0 {
			m.rt.Fatalf("%s heard %q", g.id, g.next())
		}
	}
}

// check holds the door and the ledger against the model.
func (m *roomModel) check(*rapid.T) {
	for _, there := range m.rooms { // who waits too long for an answer is sent away
		if len(there) == 2 && !there[0].connected && time.Since(there[0].met) > 40*time.Second {
			m.house.door.Disconnect("ten_A", there[0].id, tenant.EndAPI)
			m.goes(there[0], tenant.EndAPI, `{"type":"bye"}`)
			break
		}
	}
	m.hearAll()
	there := 0
	for _, g := range m.all {
		if g.reason == "" {
			there++
		}
	}
	if peers := m.house.door.Peers(); len(peers) != there {
		m.rt.Fatalf("%d are there, want %d: %+v", len(peers), there, peers)
	}
	m.house.books.read(func(b *books) {
		for _, g := range m.all {
			e, closed := b.closed[g.id]
			if closed != (g.reason != "") || e.Reason != g.reason || !b.connected[g.id].IsZero() != g.connected || closed && (e.Duration > 0) != g.connected {
				m.rt.Fatalf("%s: connected %t, ended %q; the ledger has %v, %+v", g.id, g.connected, g.reason, b.connected[g.id], e)
			}
		}
	})
}

// leave ends what is left of a round.
func (m *roomModel) leave() {
	for _, g := range m.all {
		g.conn.CloseNow()
	}
	synctest.Wait()
}
