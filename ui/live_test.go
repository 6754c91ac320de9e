package ui_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// streamEvent is one server-sent event.
type streamEvent struct{ name, data string }

// follow opens a live page's stream. The channel is closed when the stream
// ends; stop ends it from this side.
func (p *person) follow(path string) (events <-chan streamEvent, stop func()) {
	p.t.Helper()
	ctx, cancel := context.WithCancel(p.t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", p.site.server.URL+path, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	client := *p.client
	client.Timeout = 0
	w, err := client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	if w.StatusCode != http.StatusOK || w.Header.Get("Content-Type") != "text/event-stream" {
		p.t.Fatalf("%s: status %d, type %q", path, w.StatusCode, w.Header.Get("Content-Type"))
	}
	out := make(chan streamEvent, 100)
	go func() { // ends with the stream
		defer close(out)
		defer w.Body.Close()
		var e streamEvent
		lines := bufio.NewScanner(w.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			name, rest, _ := strings.Cut(lines.Text(), ": ")
			switch {
			case lines.Text() == "" && e.name != "":
				out <- e
				e = streamEvent{}
			case name == "event":
				e.name = rest
			case name == "data":
				e.data += rest + "\n"
			}
		}
	}()
	p.t.Cleanup(cancel)
	return out, cancel
}

// next returns the next event, which must come within limit.
func next(t *testing.T, events <-chan streamEvent, limit time.Duration) streamEvent {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the stream has ended")
		}
		return e
	case <-time.After(limit):
		t.Fatalf("no event within %v", limit)
	}
	return streamEvent{}
}

// until reads events until one is good, within limit in all.
func until(t *testing.T, events <-chan streamEvent, limit time.Duration, good func(streamEvent) bool) streamEvent {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		if e := next(t, events, time.Until(deadline)); good(e) {
			return e
		}
	}
}

func TestRowsComeAndGo(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p, other := s.owner(t, "Skylark"), s.owner(t, "Other")
	events, _ := p.follow("/console/live/connections")
	foreign, _ := other.follow("/console/live/connections")
	if first := next(t, events, 5*time.Second); first.name != "fragment" || !strings.Contains(first.data, "Nobody is connected") {
		t.Fatalf("first %+v", first)
	}
	next(t, foreign, 5*time.Second)

	id, _ := p.open("hello", tenant.SendOnly)
	came := until(t, events, time.Second, func(e streamEvent) bool { return strings.Contains(e.data, `id="connection-`+id+`"`) })
	if strings.Contains(came.data, "<html") {
		t.Error("the fragment is a whole page")
	}
	p.post("/console/connections/" + id + "/disconnect").want(http.StatusSeeOther)
	until(t, events, time.Second, func(e streamEvent) bool { return !strings.Contains(e.data, id) })

	select {
	case e := <-foreign:
		t.Errorf("another tenant's page was sent %+v", e)
	default:
	}
}

// A running clock is the page's own; nothing is sent when nothing happens.
func TestNothingIsSentWhenNothingHappens(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	p.open("hello", tenant.SendOnly)
	more := make(chan string, 100)
	for _, path := range []string{"/console/live/connections", "/console/live/channels", "/console/live/channels/hello", "/console/live/overview"} {
		events, _ := p.follow(path)
		if first := next(t, events, 5*time.Second); !strings.Contains(first.data, "data-since") {
			t.Errorf("%s: no running clock in %s", path, first.data)
		}
		go func() { // ends with the stream
			for e := range events {
				more <- path + ": " + e.data
			}
		}()
	}
	select {
	case text := <-more:
		t.Errorf("another fragment without a change: %s", text)
	case <-time.After(2500 * time.Millisecond): // longer than the safety poll
	}
}

// What no change was told about is found by looking.
func TestSafetyPoll(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	id, _ := p.open("hello", tenant.SendOnly)
	events, _ := p.follow("/console/live/connections")
	next(t, events, 5*time.Second)
	if _, err := s.pool.Exec(t.Context(), `update connection set bytes_in = 123456789 where connection_id = $1`, id); err != nil {
		t.Fatal(err)
	}
	until(t, events, 4*time.Second, func(e streamEvent) bool { return strings.Contains(e.data, "123.5 MB") })
}

// Many changes at once make few fragments.
func TestChangesAreCoalesced(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	events, _ := p.follow("/console/live/connections")
	next(t, events, 5*time.Second)
	began := time.Now()
	for range 40 {
		p.open("hello", tenant.RecvOnly)
	}
	count := 0
	until(t, events, 5*time.Second, func(e streamEvent) bool {
		count++
		return strings.Contains(e.data, "40 connections")
	})
	if most := int(time.Since(began)/(250*time.Millisecond)) + 2; count > most {
		t.Errorf("%d fragments in %v, want at most %d", count, time.Since(began), most)
	}
}

func TestStreamsEndWithTheConsole(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	var streams []<-chan streamEvent
	for _, path := range []string{"/console/live/connections", "/console/live/overview", "/console/live/channels"} {
		events, _ := p.follow(path)
		next(t, events, 5*time.Second)
		streams = append(streams, events)
	}
	s.console.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := s.server.Config.Shutdown(ctx); err != nil {
		t.Errorf("the server does not shut down: %v", err)
	}
	for _, events := range streams {
		for range events { // ends when the stream has
		}
	}
	s.console.Close() // a second time does no harm
}

// A page whose log-in is gone is told to reload; the reload leads to the log-in.
func TestStreamOfAStranger(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	events, _ := s.stranger(t).follow("/console/live/connections")
	if e := next(t, events, 5*time.Second); e.name != "gone" {
		t.Errorf("event %+v", e)
	}
	p := s.owner(t, "Skylark")
	events, _ = p.follow("/console/live/connections/" + tenant.NewID())
	if e := next(t, events, 5*time.Second); e.name != "gone" {
		t.Errorf("event %+v", e)
	}
}
