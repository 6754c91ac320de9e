//go:build linux && (amd64 || arm64)

package e2e

import (
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// By how much an instant of the ledger may differ from what a visitor knows.
const (
	// hourSlack is a few steps of the clock: an instant is the database's time less
	// what the server has measured since, and the clock goes on between the two.
	hourSlack = 8 * clockStep
	// hourUnproven is what a server that is killed may not have proven of a
	// connection: it beats every ten seconds, and looks each second whether it is time.
	hourUnproven = 11 * time.Second
)

// segment is a connection as the ledger has it.
type segment struct {
	ID, Channel, Role string
	Connected, Ended  time.Time
	Reason            string
	In, Out           int64
}

// checkLog reads the ledger and compares it with what the visitors noted.
func (h *hour) checkLog() {
	t := h.t
	t.Helper()
	rows, err := h.pool.Query(t.Context(), `select connection_id, channel_id, role, connected_at, ended_at, end_reason, bytes_in, bytes_out
		from connection where tenant_id = $1 and connected_at is not null`, h.account.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	if h.ledger, err = pgx.CollectRows(rows, pgx.RowToStructByPos[segment]); err != nil {
		t.Fatal(err)
	}
	noted := map[string]stay{}
	for _, v := range h.log {
		noted[v.ConnectionID] = v
		if v.Trouble != "" {
			t.Logf("%s, a %s in %s: %s", v.ConnectionID, v.Role, v.Channel, v.Trouble)
		}
		if v.Told != nil && !slices.ContainsFunc(h.ledger, func(s segment) bool { return s.ID == v.ConnectionID }) {
			// The platform says so to the channel when media connect, and to the ledger at
			// the same time: of a server killed between the two nothing is proven.
			if v.Lost && !v.Told.Before(h.killed[0].Add(-hourSlack)) && !v.Told.After(h.killed[1].Add(hourSlack)) {
				continue
			}
			t.Errorf("%s was told at %s that it is in, and the ledger does not say so; the server was killed from %s to %s",
				v.ConnectionID, v.Told, h.killed[0], h.killed[1])
		}
	}
	reasons := map[string]int{}
	exact := 0
	for _, s := range h.ledger {
		reasons[s.Reason]++
		v, ok := noted[s.ID]
		if !ok {
			t.Errorf("%s is in the ledger, and no visitor knows of it", s.ID)
			continue
		}
		if h.checkStay(s, v) {
			exact++
		}
	}
	t.Logf("%d connections, which ended for %v; of %d the visitors know how many minutes they are", len(h.ledger), reasons, exact)
	if n := len(h.ledger); exact < n/2 || reasons[tenant.EndNodeLost] == 0 || reasons[tenant.EndClient] < n/2 {
		t.Errorf("that proves little")
	}
}

// checkStay compares one. It reports whether the visitor knows the minutes.
func (h *hour) checkStay(s segment, v stay) bool {
	t := h.t
	t.Helper()
	if s.Channel != v.Channel || s.Role != v.Role {
		t.Errorf("%s was a %s in %s, the ledger has a %s in %s", s.ID, v.Role, v.Channel, s.Role, s.Channel)
	}
	told := v.Gone // who was never told that it is in was so at some time, if at all
	if v.Told != nil {
		told = *v.Told
	}
	within := func(what string, at, from, to time.Time) {
		t.Helper()
		if at.Before(from.Add(-hourSlack)) || at.After(to.Add(hourSlack)) {
			t.Errorf("%s %s at %s by the ledger; the visitor knows that it was from %s to %s", s.ID, what, at, from, to)
		}
	}
	within("connected", s.Connected, v.Answered, told)
	if s.Reason == tenant.EndNodeLost {
		within("ended", s.Ended, later(s.Connected, h.killed[0].Add(-hourUnproven)), h.killed[1])
		return false
	}
	first := v.Left
	if v.Lost {
		first = v.Gone.Add(-hourUnproven)
	}
	within("ended", s.Ended, first, v.Gone)
	least, most := first.Sub(told)-2*hourSlack, v.Gone.Sub(v.Answered)+2*hourSlack
	if minutesFor(least) != minutesFor(most) {
		return false
	}
	if got := minutesFor(s.Ended.Sub(s.Connected)); got != minutesFor(most) {
		t.Errorf("%s lasted from %s to %s by its visitor, which is %d minutes; by the ledger it was %d", s.ID, least, most, minutesFor(most), got)
	}
	return true
}

// minutesFor is the published rule: each started minute, and at least one.
func minutesFor(d time.Duration) int64 { return max(1, int64((d+time.Minute-1)/time.Minute)) }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
