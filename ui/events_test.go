package ui_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// The page of events: live, filtered, held still, and back into the past.
func TestEventsPage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	if body := p.get("/console/events").want(http.StatusOK).body; !strings.Contains(body, "Nothing has happened yet") {
		t.Error("there is no word about an empty page")
	}
	url, got := receiver(t, http.StatusNoContent)
	if _, _, err := s.hooks.CreateEndpoint(t.Context(), p.scope, url, webhooks.Choice{Types: []string{"connection.connecting"}}); err != nil {
		t.Fatal(err)
	}
	all, _ := p.follow("/console/live/events")
	only, _ := p.follow("/console/live/events?type=connection.connecting&channel=garden")
	first, _ := p.open("garden", tenant.SendOnly)
	second, _ := p.open("meadow", tenant.RecvOnly)
	until(t, all, 10*time.Second, func(e streamEvent) bool {
		return strings.Contains(e.data, first) && strings.Contains(e.data, second) && strings.Contains(e.data, "channel.started")
	})
	filtered := until(t, only, 10*time.Second, func(e streamEvent) bool { return strings.Contains(e.data, first) })
	if strings.Contains(filtered.data, second) || strings.Contains(filtered.data, "channel.started") {
		t.Error("the filter lets others through")
	}
	last, err := s.hooks.LastSeq(t.Context(), p.scope)
	if err != nil {
		t.Fatal(err)
	}
	p.get("/console/events?type=ping&pause=on").wantTo(fmt.Sprintf("/console/events?before=%d&type=ping", last+1))
	held := p.get(fmt.Sprintf("/console/events?before=%d", last)).want(http.StatusOK).body
	if strings.Contains(held, "data-live=") || strings.Contains(held, fmt.Sprintf(`id="event-%d"`, last)) || !strings.Contains(held, fmt.Sprintf(`id="event-%d"`, last-1)) {
		t.Error("the page that is held still is not what was asked for")
	}
	if body := p.get("/console/events?connection=" + second).want(http.StatusOK).body; strings.Contains(body, first) || !strings.Contains(body, second) {
		t.Error("the events of one connection are not alone")
	}
	if body := p.get("/console/events?channel=nowhere").want(http.StatusOK).body; !strings.Contains(body, "Nothing found") {
		t.Error("there is no word about a filter that finds nothing")
	}
	// An event by itself, with who was told.
	<-got
	<-got
	events, _, err := s.hooks.FindEvents(t.Context(), p.scope, webhooks.Filter{Types: []string{"connection.connecting"}, Connection: first}, 0, 1)
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; {
		body := p.get(fmt.Sprintf("/console/events/%d", events[0].Seq)).want(http.StatusOK).body
		if strings.Contains(body, events[0].ID) && strings.Contains(body, url) && strings.Contains(body, ">delivered<") && strings.Contains(body, "/console/deliveries/dlv_") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the event's page does not say who was told")
		}
	}
	for _, path := range []string{"/console/events/0", "/console/events/999999", "/console/events/x"} {
		p.get(path).want(http.StatusNotFound)
	}
}

// Whoever goes back page by page sees each event once.
func TestOlderEvents(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	for range 40 {
		id, _ := p.open("garden", tenant.RecvOnly)
		if err := s.ledger.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient}); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	path, pages := "/console/events", 0
	for ; path != ""; pages++ {
		root := p.get(path).want(http.StatusOK).page()
		for _, row := range all(root, tag("tr")) {
			if id := value(row, "id"); id != "" {
				if seen[id] {
					t.Errorf("%s twice", id)
				}
				seen[id] = true
			}
		}
		path = ""
		for _, link := range all(root, tag("a")) {
			if strings.Contains(value(link, "class"), "btn-s") && strings.HasPrefix(value(link, "href"), "/console/events?") {
				path = value(link, "href")
			}
		}
		if pages > 20 {
			t.Fatal("the pages do not end")
		}
	}
	last, err := s.hooks.LastSeq(t.Context(), p.scope)
	if err != nil || int64(len(seen)) != last || pages < 3 {
		t.Errorf("%d of %d events on %d pages, %v", len(seen), last, pages, err)
	}
}
