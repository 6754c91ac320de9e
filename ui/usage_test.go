package ui_test

import (
	"encoding/csv"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// spend writes a connection of the past: so many seconds, that long ago.
func (p *person) spend(channel string, ago, lasted time.Duration) {
	p.t.Helper()
	id, _ := p.open(channel, tenant.RecvOnly)
	if err := p.site.ledger.Close(p.t.Context(), id, tenant.Ending{Reason: tenant.EndClient}); err != nil {
		p.t.Fatal(err)
	}
	_, err := p.site.pool.Exec(p.t.Context(), `
		update connection set opened_at = now() - $2::interval, connected_at = now() - $2::interval,
			metered_through = now() - $2::interval + $3::interval, ended_at = now() - $2::interval + $3::interval,
			bytes_out = 1000
		where connection_id = $1`, id, ago, lasted)
	if err != nil {
		p.t.Fatal(err)
	}
}

// The page, the drawing, the file and the ledger must say the same.
func TestUsage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	if empty := p.get("/console/usage").want(http.StatusOK); !strings.Contains(empty.body, "/demo/hello") {
		t.Error("the empty page does not say what to do")
	}
	day := 24 * time.Hour
	p.spend("alpha", 2*day, 61*time.Second)
	p.spend("alpha", 3*day, 10*time.Second)
	p.spend("beta", 12*day, time.Hour)
	p.spend("beta", 80*day, time.Hour)
	for key, want := range map[string]int64{"7d": 3, "30d": 63, "90d": 123, "12m": 123, "nonsense": 63} {
		lines, err := csv.NewReader(strings.NewReader(p.get("/console/usage.csv?range=" + key).want(http.StatusOK).body)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var sum int64
		for _, line := range lines[1:] {
			n, err := strconv.ParseInt(line[3], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			sum += n
		}
		days := map[string]int{"7d": 7, "30d": 30, "90d": 90, "12m": 365, "nonsense": 30}[key]
		if sum != want || len(lines) != days+1 {
			t.Errorf("%s: %d minutes on %d days, want %d on %d", key, sum, len(lines)-1, want, days)
		}
		root := p.get("/console/usage?range=" + key).want(http.StatusOK).page()
		tile := all(root, func(n *html.Node) bool { return value(n, "aria-label") == "Minutes" })
		if len(tile) != 1 || words(tile[0]) != "Minutes "+strconv.FormatInt(want, 10)+" billed" {
			t.Errorf("%s: the tile says %q", key, words(tile[0]))
		}
		bars := all(root, func(n *html.Node) bool { return n.Data == "g" && value(n, "class") == "day" })
		if len(bars) != days {
			t.Errorf("%s: %d bars, want %d", key, len(bars), days)
		}
	}
	table := all(p.get("/console/usage?range=30d").page(), func(n *html.Node) bool { return value(n, "id") == "usage-days" })
	if rows := all(table[0], tag("tr")); len(rows) != 4 { // the head and three days
		t.Errorf("%d rows", len(rows))
	}
	from := time.Now().AddDate(0, 0, -30)
	rows, err := s.ledger.Usage(t.Context(), p.scope, from, time.Now(), billing.ByChannel)
	if err != nil || len(rows) != 2 {
		t.Fatalf("%d channels, %v", len(rows), err)
	}
}

func TestOverviewCounts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	if err := s.ledger.SetLicence(t.Context(), p.scope, 4, 3); err != nil {
		t.Fatal(err)
	}
	p.open("hello", tenant.SendOnly)
	p.open("hello", tenant.RecvOnly)
	p.open("other", tenant.RecvOnly)
	root := p.get("/console").want(http.StatusOK).page()
	for name, want := range map[string]string{"connections": "3", "channels": "2", "minutes": "3"} {
		n := all(root, func(n *html.Node) bool { return value(n, "data-count") == name })
		if len(n) != 1 || words(n[0]) != want {
			t.Errorf("%s: %q, want %s", name, words(n[0]), want)
		}
	}
	if strings.Contains(words(root), "first call in five minutes") {
		t.Error("the first steps are shown to somebody who has made them")
	}
	meter := all(root, func(n *html.Node) bool { return value(n, "class") == "meter-fill" })
	if len(meter) != 1 || value(meter[0], "width") != "75.0" {
		t.Errorf("the meter is %q wide", value(meter[0], "width"))
	}
}

// Long lists begin with their newest rows and offer more.
func TestLongListsOfferMore(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	for range 105 {
		p.open("hello", tenant.RecvOnly)
	}
	first := p.get("/console/connections").want(http.StatusOK)
	if rows := strings.Count(first.body, "data-connection="); rows != 100 || !strings.Contains(first.body, "/console/connections?limit=300") {
		t.Errorf("%d rows", rows)
	}
	more := p.get("/console/connections?limit=300").want(http.StatusOK)
	if rows := strings.Count(more.body, "data-connection="); rows != 105 || strings.Contains(more.body, "Load more") {
		t.Errorf("%d rows", rows)
	}
	for i := range 60 {
		if err := s.tenants.Audit(t.Context(), s.pool, p.scope, "test", strconv.Itoa(i), nil); err != nil {
			t.Fatal(err)
		}
	}
	log := p.get("/console/audit").want(http.StatusOK).page()
	next := all(log, func(n *html.Node) bool { _, ok := attr(n, "data-more"); return ok })
	if len(next) != 1 {
		t.Fatal("the audit log does not offer more")
	}
	rest := p.get(value(next[0], "href")).want(http.StatusOK)
	if !strings.Contains(rest.body, "tenant.created") {
		t.Error("the rest of the log lacks its first entry")
	}
}
