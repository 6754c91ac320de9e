package signaling_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// elsewhere is a house whose ledger knows every channel on another node.
func elsewhere(t *testing.T) *house {
	h := openInMemory(t, signaling.Config{})
	h.books.fail = func(entry string) error {
		if entry == "open" {
			return fmt.Errorf("couldn't open: %w", &tenant.Elsewhere{NodeID: "node_b", PublicURL: "https://b.example:8443"})
		}
		return nil
	}
	return h
}

// tookNothing checks that nobody took a place or told the tenant anything.
func (h *house) tookNothing(t *testing.T, redirected int64) {
	t.Helper()
	synctest.Wait()
	s := h.door.Stats()
	if s.Redirected != redirected || s.Unsettled != 0 || s.OpenSockets != 0 || s.Rooms != 0 {
		t.Errorf("the door has %+v, want %d redirected", s, redirected)
	}
	h.books.read(func(b *books) {
		if len(b.opened)+len(b.rejected)+b.tries["close"] != 0 {
			t.Errorf("the books have %v, %v, %v", b.opened, b.rejected, b.tries)
		}
	})
}

// A client of today is sent to the channel's node, and closes the socket itself.
func TestRedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := elsewhere(t)
		c := h.visit(t)
		c.say(knock("good"))
		text, _ := c.hear()
		if text != `{"type":"redirect","location":"wss://b.example:8443/signaling"}` {
			t.Errorf("heard %s", text)
		}
		conforms(t, "redirect", []byte(text))
		left := time.Now()
		c.conn.Close(websocket.StatusNormalClosure, "")
		h.tookNothing(t, 1)
		if took := time.Since(left); took != 0 {
			t.Errorf("the close took %s", took)
		}

		// One that stays all the same is closed.
		c = h.visit(t)
		c.say(knock("good"))
		c.hear()
		if code, reason := c.farewell(); code != 1000 || reason != "" || time.Since(left) != 2*time.Second {
			t.Errorf("closed with %d %q after %s", code, reason, time.Since(left))
		}
		h.tookNothing(t, 2)
	})
}

// Who was sent here by another node is not sent on, and who does not know the word
// is told in another way.
func TestRedirectRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := elsewhere(t)
		for _, message := range []string{
			strings.TrimSuffix(knock("good"), "}") + `,"redirect":true}`,
			`{"type":"connect","role":"downstream","channelId":"room","accessToken":"good"}`,
		} {
			c := h.visit(t)
			c.say(message)
			if code, reason := c.farewell(); code != 4490 || reason != "unavailable: another node has this channel; connect to https://b.example:8443" {
				t.Errorf("closed with %d %q", code, reason)
			}
		}
		a := h.ayame(t)
		a.say(registration("room", ""))
		a.hears(`{"type":"reject","reason":"unavailable"}`)
		a.closes("unavailable: another node has this channel; connect to https://b.example:8443")
		h.tookNothing(t, 0)
		if n := h.door.Stats().Refused[tenant.Unavailable]; n != 3 {
			t.Errorf("counted %d", n)
		}
	})
}
