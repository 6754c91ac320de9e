package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// TestSpendingCap has a tenant reach its spending cap on two nodes: clients of every
// dialect are refused on both while those that are in go on, until the cap ends them;
// a higher cap lets clients in again at once.
func TestSpendingCap(t *testing.T) {
	first, second := twoNodes(t)
	a := first.tenant("Lark")
	first.run("", "plan", "set", "--tenant", a.Tenant, "--plan", "metered")
	here := mustDial2015(t, first, "downstream", "here", first.token(a, "here", "recvonly"))
	there := mustDial2015(t, second, "downstream", "there", second.token(a, "there", "recvonly"))
	scope, store := tenant.OperatorScope(tenant.ID(a.Tenant)), another(t, first)
	sign := func(channel string) string {
		token, err := store.SignToken(t.Context(), scope, tenant.TokenRequest{Channel: channel})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	type month struct {
		Total struct{ Amount int64 }
		Until *time.Time `json:"refused_until"`
	}
	spent := func(s *server) (m month) {
		s.rest(t, a, "GET", "/v1/spend", nil, &m)
		return m
	}
	// Both have begun their first ten minutes: ¥10 and the tax.
	eventually(t, "two minutes are counted", func() bool { return spent(first).Total.Amount == 11 })
	if m := spent(second); m.Total.Amount != 11 || m.Until != nil {
		t.Errorf("the second node says %+v", m)
	}

	first.rest(t, a, "PATCH", "/v1/settings", map[string]any{"spend_cap": map[string]any{"amount": 11, "action": "refuse"}}, nil)
	for door, come := range waysIn {
		for i, s := range []*server{first, second} {
			channel := door + "-late"
			if g := come(t, s, channel, sign(channel)); !strings.HasPrefix(g.refusal, "spend_cap_reached") {
				t.Errorf("%s on node %d was answered %q, connection %q", door, i, g.refusal, g.id)
			}
		}
	}
	page := newBrowser(t).sora(first, a, soraPage(t), "here")
	if j := page.join("late", "recvonly", nil); !strings.HasPrefix(j.Reason, "spend_cap_reached") || j.Code != 4490 {
		t.Errorf("sora-js-sdk was answered %+v", j)
	}
	type events struct {
		Items []struct {
			Type string
			Data struct{ Threshold, Reason, Code string }
		}
	}
	told := func(kind string) (list []string) {
		var all events
		first.rest(t, a, "GET", "/v1/events?limit=1000", nil, &all)
		for _, e := range all.Items {
			if e.Type == kind {
				list = append(list, e.Data.Threshold+e.Data.Reason)
			}
		}
		return list
	}
	eventually(t, "each threshold is told once", func() bool { return strings.Join(told("usage.threshold"), " ") == "50 80 100" })
	if n := len(first.connections(a)); n != 2 {
		t.Errorf("%d connections are left of those that were in", n)
	}
	if m := spent(second); m.Until == nil || m.Total.Amount != 11 { // nobody paid for being refused
		t.Errorf("the second node says %+v", m)
	}

	first.rest(t, a, "PATCH", "/v1/settings", map[string]any{"spend_cap": map[string]any{"amount": 11, "action": "end"}}, nil)
	for _, c := range []*client2015{here, there} {
		select {
		case <-c.ended:
		case <-time.After(patience):
			t.Fatal("the cap has not ended a connection")
		}
	}
	eventually(t, "both ended because of the cap", func() bool { return strings.Join(told("connection.destroyed"), " ") == "spend_cap spend_cap" })
	if list := told("usage.threshold"); len(list) != 3 {
		t.Errorf("was told %q", list)
	}

	second.rest(t, a, "POST", "/v1/spend/cap", map[string]any{"amount": 1000, "action": "end"}, nil)
	for channel, s := range map[string]*server{"again": first, "and-again": second} {
		if g := waysIn["sora"](t, s, channel, sign(channel)); g.id == "" {
			t.Errorf("with a higher cap: %q", g.refusal)
		}
	}
}
