package ui_test

import (
	"encoding/csv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
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

// sumOf is the sum of a column of a file of CSV.
func sumOf(t *testing.T, file, column string) (sum int64) {
	t.Helper()
	lines, err := csv.NewReader(strings.NewReader(file)).ReadAll()
	if err != nil || len(lines) == 0 || !slices.Contains(lines[0], column) {
		t.Fatalf("no %s in %v, %v", column, lines, err)
	}
	at := slices.Index(lines[0], column)
	for _, line := range lines[1:] {
		n, err := strconv.ParseInt(line[at], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// The page, the drawing, the files and the ledger must say the same.
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
	// The tenant's clock is Tokyo's: how far its months reach back depends on today.
	now := time.Now().In(time.FixedZone("JST", 9*3600))
	months := time.Date(now.Year(), now.Month()-11, 1, 0, 0, 0, 0, now.Location())
	for _, c := range []struct {
		query         string
		minutes, bars int
		by            string
	}{
		{"range=7d", 3, 7, "day"}, {"range=30d", 63, 30, "day"}, {"range=90d", 123, 90, "day"}, {"range=nonsense", 63, 30, "day"},
		{"range=12m", 123, 12, "month"}, {"range=12m&by=day", 123, int(now.Sub(months)/day) + 1, "day"}, {"range=12m&by=hour", 123, 12, "month"},
		{"range=7d&by=hour", 3, 6*24 + now.Hour() + 1, "hour"}, {"range=90d&channel=beta", 120, 90, "day"}, {"range=90d&role=sendonly", 0, 90, "day"},
		{"from=" + now.AddDate(0, 0, -2).Format(time.DateOnly) + "&to=" + now.AddDate(0, 0, -2).Format(time.DateOnly), 2, 24, "hour"},
	} {
		want := int64(c.minutes)
		file := p.get("/console/export/usage.csv?" + c.query).want(http.StatusOK)
		root := p.get("/console/usage?" + c.query).want(http.StatusOK).page()
		for name, sum := range map[string]int64{
			"the file":     sumOf(t, file.body, "minutes"),
			"the channels": sumOf(t, p.get("/console/export/usage.csv?group_by=channel&"+c.query).want(http.StatusOK).body, "minutes"),
			"the roles":    sumOf(t, p.get("/console/export/usage.csv?group_by=role&"+c.query).want(http.StatusOK).body, "minutes"),
			"the segments": sumOf(t, p.get("/console/export/segments.csv?"+c.query).want(http.StatusOK).body, "minutes"),
		} {
			if sum != want {
				t.Errorf("%s: %s has %d minutes, want %d", c.query, name, sum, want)
			}
		}
		tile := all(root, func(n *html.Node) bool { return value(n, "aria-label") == "Minutes" })
		if len(tile) != 1 || words(tile[0]) != "Minutes "+strconv.FormatInt(want, 10)+" billed" {
			t.Errorf("%s: the tile says %q", c.query, words(tile[0]))
		}
		if through := all(root, func(n *html.Node) bool { _, ok := attr(n, "data-through"); return ok }); len(through) != 1 {
			t.Errorf("%s: the page does not say until when it counts", c.query)
		}
		bars := all(root, func(n *html.Node) bool {
			return n.Data == "g" && value(n, "class") == "day" && strings.Contains(words(n), "minute")
		})
		if want == 0 {
			c.bars = 0
		}
		if len(bars) != c.bars {
			t.Errorf("%s: %d bars, want %d", c.query, len(bars), c.bars)
		}
		if table := all(root, func(n *html.Node) bool { return value(n, "id") == "usage-"+c.by+"s" }); (len(table) == 1) != (want > 0) {
			t.Errorf("%s: %d tables by %s", c.query, len(table), c.by)
		}
	}
	for _, query := range []string{"from=x&to=y", "from=2026-11-02&to=2026-11-01", "from=2020-01-01&to=2026-01-01", "from=2026-01-01"} {
		p.get("/console/usage?" + query).want(http.StatusUnprocessableEntity)
	}
	p.get("/console/usage?channel=%00&role=x&by=week").want(http.StatusOK)
	table := all(p.get("/console/usage?range=30d").page(), func(n *html.Node) bool { return value(n, "id") == "usage-days" })
	if rows := all(table[0], tag("tr")); len(rows) != 5 { // the head, three days and the sum
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

// What the month costs stands beside what was used, as Spending has it.
func TestUsageSaysWhatTheMonthCosts(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	costs := func() []*html.Node {
		return all(p.get("/console/usage").want(http.StatusOK).page(), func(n *html.Node) bool { _, ok := attr(n, "data-spent"); return ok })
	}
	if shown := costs(); len(shown) != 0 {
		t.Errorf("where nothing costs anything the page says %q", words(shown[0]))
	}
	if _, err := s.pool.Exec(t.Context(), `insert into tenant_plan (tenant_id, from_day, plan_id, created_by) values ($1, '2000-01-02', 'metered', 'test')`, p.signed.Tenant); err != nil {
		t.Fatal(err)
	}
	if _, err := s.spend.SetCap(t.Context(), p.scope, &billing.SpendCap{Currency: "JPY", Amount: 10_000, Action: billing.CapAlert}); err != nil {
		t.Fatal(err)
	}
	p.spend("alpha", 2*time.Minute, time.Minute)
	month, err := s.spend.Month(t.Context(), p.scope)
	if err != nil {
		t.Fatal(err)
	}
	if shown := costs(); len(shown) != 1 || words(shown[0]) != rating.Money("JPY", month.Bill.Total) {
		t.Errorf("%d amounts on the page, want %d", len(shown), month.Bill.Total)
	}
}
