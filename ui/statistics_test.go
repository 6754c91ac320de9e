package ui_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// sampled gives a connection samples of the last minutes, of which a part of the
// packets was lost.
func (p *person) sampled(id string, samples int, loss float64) {
	p.t.Helper()
	if _, err := p.site.pool.Exec(p.t.Context(), `update connection set opened_at = opened_at - interval '2 minutes',
		connected_at = connected_at - interval '2 minutes' where connection_id = $1`, id); err != nil {
		p.t.Fatal(err)
	}
	for i := 1; i <= samples; i++ {
		seconds := int64(10 * i)
		r := sfu.Reading{Tenant: p.signed.Tenant, ConnectionID: id, At: time.Now().Add(-time.Duration(samples-i) * 10 * time.Second),
			Connected: time.Duration(seconds) * time.Second, RTT: 42 * time.Millisecond, Shown: sfu.LayerCounts{0, 0, 1}, Target: sfu.LayerCounts{0, 0, 0, 1}}
		r.Out.Video = sfu.Flow{Bytes: 125_000 * seconds, Packets: 120 * seconds, Expected: 100 * seconds, Lost: int64(loss * 100 * float64(seconds)), Frames: 30 * seconds, Jitter: 5 * time.Millisecond}
		p.site.stats.Ended(r)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		var n int
		if err := p.site.pool.QueryRow(p.t.Context(), `select count(*) from connection_sample where connection_id = $1`, id).Scan(&n); err != nil || time.Now().After(deadline) {
			p.t.Fatalf("%d samples are there (%v)", n, err)
		}
		if n == samples {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A connection's page tells how it does: in words, drawn, and as a table; and what
// there is instead before the first sample, and when there never will be one.
func TestAConnectionsQuality(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Lark")
	id, _ := p.open("hello", tenant.RecvOnly)
	path := "/console/connections/" + id
	p.get(path).want(http.StatusOK).has("The first sample comes within ten seconds")
	if list := p.get("/console/connections").want(http.StatusOK); strings.Contains(list.body, "data-quality") {
		t.Error("a connection without a sample is judged")
	}
	p.sampled(id, 6, 0.03)
	page := p.get(path).want(http.StatusOK).has("fair", "Loss 3.0 %, round trip 42 ms, jitter 5.0 ms over the last 60 seconds", "sends to it 1.00 Mbit/s", "Frames a second", "30.0", "r1", "r2")
	checkPage(t, path, page)
	rows := all(page.page(), func(n *html.Node) bool { return n.Data == "tr" && strings.HasPrefix(value(n, "id"), "plot-") })
	if len(rows) != 6 {
		t.Errorf("the table has %d rows", len(rows))
	}
	if drawn := all(page.page(), func(n *html.Node) bool { return n.Data == "path" && strings.HasPrefix(value(n, "class"), "line-") }); len(drawn) < 5 {
		t.Errorf("%d lines are drawn", len(drawn))
	}
	for _, r := range []string{"1h", "6h", "24h"} {
		checkPage(t, path+"?range="+r, p.get(path+"?range="+r).want(http.StatusOK).has("fair", "Loss 3.0 %"))
	}
	p.get("/console/connections").want(http.StatusOK).has("fair")

	// Another tenant has neither page nor samples; a member who may not see
	// connections is refused.
	s.owner(t, "Owl").get(path).want(http.StatusNotFound)
	p.member(tenant.Billing).get(path).want(http.StatusForbidden)

	bad, _ := p.open("hello", tenant.RecvOnly)
	p.sampled(bad, 2, 0.2)
	p.get("/console/connections/"+bad).want(http.StatusOK).has("poor", "Loss 20.0 %")
	if err := s.ledger.Close(t.Context(), bad, tenant.Ending{Reason: tenant.EndClient, Duration: 20 * time.Second}); err != nil {
		t.Fatal(err)
	}
	p.get("/console/connections/"+bad).want(http.StatusOK).has("ended", "poor", "Loss 20.0 %")

	call, _ := p.openBy(tenant.ProtocolAyame, "call", tenant.SendRecv)
	p.get("/console/connections/"+call).want(http.StatusOK).has("No statistics", "only media that passes the platform")
}
