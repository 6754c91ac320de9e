package webhooks

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/tenant"
)

// model is what the lanes promise, said without heaps and lists.
type model struct {
	t      *rapid.T
	lanes  *lanes
	now    time.Time
	queued map[string][]string // by endpoint: ids, in order
	open   []job
	count  map[string]int // of open, by endpoint and by tenant
	owned  map[string]tenant.ID
	served map[string]int
	turn   int
	until  map[tenant.ID]time.Time
	rests  map[string]time.Time // by endpoint: no request before
	less   map[string]int       // slots that its receiver made it lose
	nr     int
}

// targets are a tenant's endpoints, as they are read.
func (m *model) targets(id tenant.ID) (list []target) {
	for endpoint, of := range m.owned {
		if of == id {
			list = append(list, target{id: endpoint, tenant: id, until: m.rests[endpoint]})
		}
	}
	return list
}

// may says whether an endpoint may have a slot now.
func (m *model) may(endpoint string) bool {
	t := m.owned[endpoint]
	slots := maxPerEndpoint - m.less[endpoint]
	own := m.count[endpoint]
	return len(m.queued[endpoint]) > 0 && own < slots && !m.now.Before(m.rests[endpoint]) && m.now.Before(m.until[t]) &&
		m.count[string(t)] < maxPerTenant &&
		len(m.open) < maxPerNode && (own == 0 || len(m.open) < maxPerNode-keptForIdle)
}

// next takes a slot and compares it with what the model says.
func (m *model) next() bool {
	j, ok := m.lanes.next(m.now)
	var may []string
	for endpoint := range m.owned {
		if m.may(endpoint) {
			may = append(may, endpoint)
		}
	}
	if !ok {
		if len(may) > 0 {
			m.t.Fatalf("nobody is served, though %v may be; %d open", may, len(m.open))
		}
		return false
	}
	if !slices.Contains(may, j.endpoint) {
		m.t.Fatalf("%s is served, and may not be: %d open", j.endpoint, len(m.open))
	}
	for _, other := range may {
		if m.served[other] < m.served[j.endpoint] {
			m.t.Fatalf("%s is served before %s, which was served longer ago", j.endpoint, other)
		}
	}
	if j.id != m.queued[j.endpoint][0] {
		m.t.Fatalf("%s sends %s, want %s first", j.endpoint, j.id, m.queued[j.endpoint][0])
	}
	m.queued[j.endpoint] = m.queued[j.endpoint][1:]
	m.turn++
	m.served[j.endpoint] = m.turn
	m.open = append(m.open, j)
	m.count[j.endpoint]++
	m.count[string(j.tenant)]++
	return true
}

// TestLanesAreFairAndKeepTheirLimits: whatever comes, ends, fails and pauses, the lane
// that was served longest ago is next of those that may be, each lane keeps its order,
// and no limit is passed.
func TestLanesAreFairAndKeepTheirLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &model{t: t, lanes: newLanes(), now: time.Unix(1e9, 0), queued: map[string][]string{}, owned: map[string]tenant.ID{},
			served: map[string]int{}, until: map[tenant.ID]time.Time{}, rests: map[string]time.Time{}, less: map[string]int{}, count: map[string]int{}}
		tenants := rapid.IntRange(1, 10).Draw(t, "tenants")
		perTenant := rapid.IntRange(1, 10).Draw(t, "endpoints")
		var endpoints []string
		for i := range tenants {
			id := tenant.ID(fmt.Sprint("t", i))
			for k := range perTenant {
				endpoint := fmt.Sprintf("%d/%d", i, k)
				m.owned[endpoint] = id
				endpoints = append(endpoints, endpoint)
			}
			m.until[id] = m.now.Add(time.Hour)
			m.lanes.keep(id, m.until[id], m.targets(id), m.now)
		}
		endpoint := rapid.SampledFrom(endpoints)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				to := endpoint.Draw(t, "endpoint")
				for range rapid.IntRange(1, 40).Draw(t, "jobs") {
					if len(m.queued[to]) == laneRoom {
						break
					}
					m.nr++
					j := job{id: fmt.Sprint("d", m.nr), endpoint: to, tenant: m.owned[to], due: m.now}
					m.lanes.add([]job{j}, m.now)
					m.queued[to] = append(m.queued[to], j.id)
				}
			},
			"flood": func(t *rapid.T) {
				for _, to := range endpoints {
					for range min(9, laneRoom-len(m.queued[to])) {
						m.nr++
						j := job{id: fmt.Sprint("d", m.nr), endpoint: to, tenant: m.owned[to], due: m.now}
						m.lanes.add([]job{j}, m.now)
						m.queued[to] = append(m.queued[to], j.id)
					}
				}
				m.lanes.wants(m.now) // wakes who slept, as the engine does with every tick
				for m.next() {
				}
			},
			"next": func(*rapid.T) {
				m.lanes.wants(m.now)
				m.next()
			},
			"done": func(t *rapid.T) {
				if len(m.open) == 0 {
					t.Skip("nothing is open")
				}
				for range rapid.IntRange(1, min(30, len(m.open))).Draw(t, "n") {
					i := rapid.IntRange(0, len(m.open)-1).Draw(t, "which")
					j := m.open[i]
					m.open = slices.Delete(m.open, i, i+1)
					m.count[j.endpoint]--
					m.count[string(j.tenant)]--
					o := outcome{status: rapid.SampledFrom([]int{200, 200, 500, 429, 504}).Draw(t, "status")}
					switch o.status {
					case 200:
						m.less[j.endpoint] = max(0, m.less[j.endpoint]-1)
					default:
						o.problem = "no"
						if o.status != 500 {
							m.less[j.endpoint] = maxPerEndpoint - max(1, (maxPerEndpoint-m.less[j.endpoint])/2)
						}
					}
					m.lanes.done(j, o, true)
					m.lanes.recorded(j, time.Time{})
				}
			},
			"pause": func(t *rapid.T) {
				to := endpoint.Draw(t, "endpoint")
				m.rests[to] = m.now.Add(time.Minute)
				m.lanes.keep(m.owned[to], m.until[m.owned[to]], m.targets(m.owned[to]), m.now)
				// What those that rest had is read again when they may go on; the model has it at once.
				for _, other := range m.targets(m.owned[to]) {
					if !m.now.Before(other.until) {
						continue
					}
					var jobs []job
					for _, id := range m.queued[other.id] {
						jobs = append(jobs, job{id: id, endpoint: other.id, tenant: m.owned[to], due: m.now})
					}
					m.lanes.fill(m.owned[to], other.id, jobs, laneRoom+1, time.Time{}, m.now)
				}
			},
			"lose": func(t *rapid.T) { // the hold is not renewed, and later it is
				id := m.owned[endpoint.Draw(t, "endpoint")]
				m.until[id] = m.now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "s")) * time.Second)
				m.lanes.renew([]tenant.ID{id}, m.until[id])
			},
			"time": func(t *rapid.T) {
				m.now = m.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "s")) * time.Second)
			},
			"": func(t *rapid.T) {
				open, waiting, _ := m.lanes.load(m.now)
				want := 0
				for _, list := range m.queued {
					want += len(list)
				}
				if open != len(m.open) || waiting != want {
					t.Fatalf("%d open and %d waiting, want %d and %d", open, waiting, len(m.open), want)
				}
			},
		})
	})
}

// TestLanesReadOnFromWhereTheyAre: with far more due than there is room for, everything
// is sent once and in order, whatever comes meanwhile.
func TestLanesReadOnFromWhereTheyAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, now := newLanes(), time.Unix(1e9, 0)
		l.keep("t", now.Add(time.Hour), []target{{id: "e", tenant: "t"}}, now)
		var table []job // pending in the database, in the order of due, seq
		var sent []string
		seq, checked := int64(0), 0
		fresh := func(n int) []job {
			var list []job
			for range n {
				seq++
				j := job{id: fmt.Sprint(seq), endpoint: "e", tenant: "t", due: now}
				j.event.Seq = seq
				list = append(list, j)
			}
			table = append(table, list...)
			return list
		}
		refill := func() {
			for _, w := range l.wants(now) {
				var read []job
				for _, j := range table {
					if len(read) < w.n && (j.due.After(w.after.due) || j.due.Equal(w.after.due) && j.event.Seq > w.after.seq) {
						read = append(read, j)
					}
				}
				l.fill("t", "e", read, w.n, time.Time{}, now)
			}
		}
		var open []job
		finish := func() {
			j := open[0]
			open = open[1:]
			l.done(j, outcome{status: 200}, true)
			if i := slices.IndexFunc(table, func(row job) bool { return row.id == j.id }); i >= 0 {
				table = slices.Delete(table, i, i+1)
			}
			l.recorded(j, time.Time{})
		}
		t.Repeat(map[string]func(*rapid.T){
			"events": func(t *rapid.T) {
				now = now.Add(time.Millisecond)
				l.add(fresh(rapid.IntRange(1, 400).Draw(t, "n")), now)
			},
			"look": func(*rapid.T) { l.look("t") },
			"read": func(*rapid.T) { refill() },
			"send": func(t *rapid.T) {
				for range rapid.IntRange(1, 300).Draw(t, "n") {
					j, ok := l.next(now)
					if !ok {
						if len(open) == 0 {
							return
						}
						finish()
						continue
					}
					sent = append(sent, j.id)
					open = append(open, j)
				}
			},
			"": func(t *rapid.T) {
				for i := checked; i < len(sent); i++ {
					if id := sent[i]; id != fmt.Sprint(i+1) {
						t.Fatalf("the %d. that was sent is %s", i+1, id)
					}
				}
				checked = len(sent)
			},
		})
		for len(sent) < int(seq) {
			before, busy := len(sent), len(open) > 0
			refill()
			for {
				j, ok := l.next(now)
				if !ok {
					break
				}
				sent = append(sent, j.id)
				open = append(open, j)
			}
			for len(open) > 0 {
				finish()
			}
			if len(sent) == before && !busy {
				t.Fatalf("%d of %d were sent", len(sent), seq)
			}
		}
		for i, id := range sent {
			if id != fmt.Sprint(i+1) {
				t.Fatalf("the %d. that was sent is %s", i+1, id)
			}
		}
	})
}
