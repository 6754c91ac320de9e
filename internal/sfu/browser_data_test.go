package sfu_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/browsertest"
	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// got waits until so many messages have come on a label of the page.
func (p tab) got(label string, compress bool, n int) []string {
	p.t.Helper()
	var all []string
	p.eventually("messages on "+label, func() bool {
		all = browsertest.Eval[[]string](p.Page, "got(%s, %s)", label, compress)
		return len(all) >= n
	})
	return all
}

func (p tab) says(label, text string, compress bool) {
	p.t.Helper()
	browsertest.Eval[bool](p.Page, "send(%s, %s, %s)", label, text, compress)
}

func (p tab) events() []string { return browsertest.Eval[[]string](p.Page, "events()") }

// TestChromiumDataChannels has Chromium exchange messages beside media and without,
// with its door and with others, and watches how its channels end.
func TestChromiumDataChannels(t *testing.T) {
	s := newStage(t)
	b := browsertest.Chromium(t, nil)
	tries := uint16(0)
	publisher := s.enter(t, b, request(tenant.SendOnly, withData(
		sfu.DataChannel{Label: "signaling", Compress: true},
		sfu.DataChannel{Label: "#chat", Direction: tenant.SendRecv, Compress: true},
		sfu.DataChannel{Label: "#move", Direction: tenant.SendOnly, Unordered: true, MaxRetransmits: &tries, Protocol: "mouse"})),
		&camera{Width: 320, Height: 240})
	viewer := s.enter(t, b, request(tenant.RecvOnly, withData(
		sfu.DataChannel{Label: "#chat", Direction: tenant.SendRecv, SenderHeader: true},
		sfu.DataChannel{Label: "#move", Direction: tenant.RecvOnly})), nil)
	talker := s.enter(t, b, request(tenant.SendOnly, onlyData, withData(
		sfu.DataChannel{Label: "#chat", Direction: tenant.SendRecv, Compress: true, SenderHeader: true})), nil)
	for _, p := range []tab{publisher, viewer, talker} {
		p.eventually("its channels open", func() bool {
			events := p.events()
			return len(events) > 0 && !slices.ContainsFunc(events, func(e string) bool { return !strings.HasSuffix(e, ": open") })
		})
	}
	viewer.plays(publisher, 5)
	if got := browsertest.Eval[[]any](publisher.Page, "[channels['#move'].channel].map((c) => [c.ordered, c.maxRetransmits, c.protocol, c.id])"); !slices.Equal(got[0].([]any), []any{false, 0.0, "mouse", 5.0}) {
		t.Errorf("the channel of the mouse is %v", got)
	}

	long := strings.Repeat("0123456789abcdef", 12_000) // 192 kB
	publisher.says("#chat", "hello", true)
	publisher.says("#chat", long, true)
	publisher.says("#move", "1,2", false)
	id := publisher.conn.ID()
	if got := viewer.got("#chat", false, 2); got[0] != id+"hello" || got[1] != id+long {
		t.Errorf("the viewer got %.60q", got)
	}
	if got := talker.got("#chat", true, 2); got[0] != id+"hello" || got[1] != id+long {
		t.Errorf("the talker got %.60q", got)
	}
	if got := viewer.got("#move", false, 1); got[0] != "1,2" {
		t.Errorf("the viewer got %q", got)
	}
	viewer.says("#chat", long, false)
	if got := publisher.got("#chat", true, 1); got[0] != long {
		t.Errorf("the publisher got %.60q", got)
	}
	if err := publisher.conn.SendData("signaling", []byte(`{"type":"close"}`), false); err != nil {
		t.Error(err)
	}
	publisher.conn.Disconnect(tenant.EndAPI)
	publisher.eventually("its channels close", func() bool {
		return !slices.ContainsFunc(publisher.events(), func(e string) bool { return !strings.HasSuffix(e, " close") })
	})
	if events := strings.Join(publisher.events(), ", "); strings.Contains(events, "error") {
		t.Errorf("the publisher's channels: %s", events)
	}
	if got := publisher.got("signaling", true, 1); got[0] != `{"type":"close"}` {
		t.Errorf("the last word was %q", got)
	}
}
