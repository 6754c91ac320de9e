package ui_test

import (
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/hibari/hibari/internal/tenant"
)

// The page shows what is spent and sets the cap; while that refuses connections every
// page says so.
func TestSpendingPage(t *testing.T) {
	s := newSite(t)
	p := s.owner(t, "Skylark")
	if _, err := s.pool.Exec(t.Context(), `insert into tenant_plan (tenant_id, from_day, plan_id, created_by) values ($1, '2000-01-02', 'metered', 'test')`, p.signed.Tenant); err != nil {
		t.Fatal(err)
	}
	said := words(p.get("/console/spending").want(http.StatusOK).page())
	for _, part := range []string{"JPY 0", "Nothing yet", "By the plan Metered", "It takes a day of use"} {
		if !strings.Contains(said, part) {
			t.Errorf("the page lacks %q: %s", part, said)
		}
	}
	for _, wrong := range []string{"", "0", "-5", "ten", "1.5"} {
		said := words(p.post("/console/spending/cap", "amount", wrong, "action", "refuse").want(http.StatusUnprocessableEntity).page())
		if !strings.Contains(said, "Write an amount above 0 in JPY") {
			t.Errorf("%q: %s", wrong, said)
		}
	}
	p.post("/console/spending/cap", "amount", "10", "action", "shout").want(http.StatusBadRequest)
	p.post("/console/spending/cap", "amount", "10,000", "action", "refuse").wantTo("/console/spending?done=cap")
	page := p.get("/console/spending").want(http.StatusOK).page()
	if said := words(page); !strings.Contains(said, "0 % of JPY 10,000") || !strings.Contains(said, "new connections are refused then") {
		t.Errorf("with a cap: %s", said)
	}
	if fields := all(page, func(n *html.Node) bool { return value(n, "name") == "amount" }); len(fields) != 1 || value(fields[0], "value") != "10000" {
		t.Error("the form does not have the cap")
	}
	if _, err := s.pool.Exec(t.Context(), `update tenant_live set spend_capped_until = clock_timestamp() + interval '1 hour' where tenant_id = $1`, p.signed.Tenant); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/console", "/console/usage", "/console/spending"} {
		if said := words(p.get(path).want(http.StatusOK).page()); !strings.Contains(said, "Your spending cap is reached: new connections are refused until") {
			t.Errorf("%s does not say that connections are refused", path)
		}
	}
	p.post("/console/spending/cap/drop").wantTo("/console/spending?done=cap-none")
	if said := words(p.get("/console").want(http.StatusOK).page()); strings.Contains(said, "spending cap is reached") {
		t.Error("without a cap the console still says that connections are refused")
	}
	if limit, err := s.spend.Cap(t.Context(), tenant.OperatorScope(p.signed.Tenant)); err != nil || limit != nil {
		t.Error(limit, err)
	}
}
