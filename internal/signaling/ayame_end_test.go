package signaling_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// Every mistake ends the one who made it, and the other in an orderly way.
func TestAyameMistakes(t *testing.T) {
	for _, test := range []struct{ name, message, reason string }{
		{"bad JSON", `{"type":"offer"`, "bad_message: expected a JSON object"},
		{"no object", `["offer"]`, "bad_message: expected a JSON object"},
		{"no type", `{}`, "bad_message: type must be register"},
		{"unknown type", `{"type":"bye"}`, "bad_message: type must be register"},
		{"second register", registration("room", ""), "bad_message: register came twice"},
		{"broken UTF-8", "{\"type\":\"offer\",\"sdp\":\"\xff\"}", "bad_message: a message must be UTF-8"},
		{"too large", `{"type":"offer","sdp":"` + strings.Repeat("x", 1<<20) + `"}`, "too_large: "},
		{"binary", "", "bad_message: binary"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openInMemory(t, signaling.Config{})
				a, b := h.meet(t, "room", "")
				kind := websocket.MessageText
				if test.message == "" {
					kind = websocket.MessageBinary
				}
				if err := b.conn.Write(context.Background(), kind, []byte(test.message)); err != nil {
					t.Fatal(err)
				}
				b.closes(test.reason)
				a.hears(`{"type":"bye"}`)
				a.closes("")
				b.ended(h, tenant.EndProtocol)
				a.ended(h, tenant.EndPeerLeft)
			})
		})
	}
}

func TestAyameBeforeRegister(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{})
		for message, reason := range map[string]string{
			anOffer:                                    "bad_message: offer came before register",
			`{"type":"connected"}`:                     "bad_message: connected came before register",
			`{"type":"register"}`:                      "bad_message: roomId is missing",
			registration("", ""):                       "bad_message: roomId must not be empty",
			registration("a\\u0000", ""):               "bad_message: roomId must not have control",
			registration(strings.Repeat("x", 256), ""): "bad_message: roomId must have at most 255",
			registration("room", `,"clientId":7`):      "bad_message: clientId must be a string",
			registration("room", `,"x":`+strings.Repeat("[", 65)+strings.Repeat("]", 65)): "bad_message: objects and arrays",
			`{"type":"pong"}`: "bad_message: no register message within 10s",
		} {
			c := h.ayame(t)
			c.say(message)
			c.closes(reason)
		}
		h.books.read(func(b *books) {
			if len(b.opened) != 0 {
				t.Errorf("places were taken: %v", b.opened)
			}
		})
	})
}

// However a call ends, both sides are told and the ledger has both ends.
func TestAyameEnds(t *testing.T) {
	tests := []struct {
		name           string
		end            func(h *house, a, b *ayamer)
		closed         string // b's close reason
		ending         string // b's
		otherwise      string // a's, if it is not that the peer left
		alsoClosedWith string // a's close reason
	}{
		{name: "API", end: func(h *house, _, b *ayamer) { h.door.Disconnect("ten_A", b.id, tenant.EndAPI) },
			closed: "DISCONNECTED-API", ending: tenant.EndAPI},
		{name: "console", end: func(h *house, _, b *ayamer) { h.door.Disconnect("ten_A", b.id, tenant.EndConsole) },
			closed: "DISCONNECTED-API", ending: tenant.EndConsole},
		{name: "shutdown", end: func(h *house, _, _ *ayamer) { h.door.Drain(); h.door.Close(tenant.EndShutdown) },
			closed: "SERVER-SHUTDOWN", ending: tenant.EndShutdown, otherwise: tenant.EndShutdown, alsoClosedWith: "SERVER-SHUTDOWN"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openInMemory(t, signaling.Config{})
				a, b := h.meet(t, "room", "")
				test.end(h, a, b)
				a.hears(`{"type":"bye"}`)
				b.hears(`{"type":"bye"}`)
				a.closes(test.alsoClosedWith)
				b.closes(test.closed)
				b.ended(h, test.ending)
				if test.otherwise == "" {
					test.otherwise = tenant.EndPeerLeft
				}
				a.ended(h, test.otherwise)
			})
		})
	}
}

// A token's max_duration counts from the answer, as from media elsewhere.
func TestAyameLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{Verifier: keys{tenant.Claim{MaxDuration: 15 * time.Second}}})
		a, b := h.meet(t, "room", "")
		met := time.Now()
		a.hears(`{"type":"bye"}`)
		b.hears(`{"type":"bye"}`)
		if took := time.Since(met); took != 15*time.Second {
			t.Errorf("the call ended after %s", took)
		}
		a.hears("")
		b.hears("")
		if a.end.Reason != "LIFETIME-EXPIRED" && b.end.Reason != "LIFETIME-EXPIRED" { // one of them is first
			t.Errorf("closed with %v and %v", a.end, b.end)
		}
		h.books.await(t, "both ends", func(b *books) bool { return len(b.closed) == 2 })
	})
}

func TestAyameDisconnectKnowsItsTenant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{})
		a, b := h.meet(t, "room", "")
		if h.door.Disconnect("ten_B", a.id, tenant.EndAPI) || h.door.Disconnect("ten_A", "nobody", tenant.EndAPI) {
			t.Error("somebody else's connection was ended")
		}
		b.say(anOffer)
		a.hears(anOffer)
	})
}

// A client that vanishes is found by its pongs, and one that asked for no pings
// by its silence.
func TestAyameSilence(t *testing.T) {
	for more, after := range map[string]time.Duration{"": time.Minute, `,"standalone":true`: 90 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			h := openInMemory(t, signaling.Config{})
			conn, _, err := websocket.Dial(context.Background(), strings.TrimSuffix(h.url, "signaling")+"ayame", &websocket.DialOptions{HTTPClient: h.http})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.CloseNow()
			if err := conn.Write(context.Background(), websocket.MessageText, []byte(registration("room", more))); err != nil {
				t.Fatal(err)
			}
			started := time.Now()
			for err == nil {
				_, _, err = conn.Read(context.Background())
			}
			// It is looked for with each ping.
			if took := time.Since(started); websocket.CloseStatus(err) != 1000 || !strings.Contains(err.Error(), "timeout: ") || took < after || took > after+10*time.Second {
				t.Errorf("ended after %s with %v, want %s", took, err, after)
			}
			h.books.await(t, "the end", func(b *books) bool {
				for _, e := range b.closed {
					return e.Reason == tenant.EndTimeout && e.Duration == 0
				}
				return false
			})
		})
	}
}

// Two who meet and get no further do not hold their places for ever; one who
// waits for another may.
func TestAyameWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{})
		a := h.enters(t, "room", "")
		time.Sleep(24 * time.Hour)
		b := h.enters(t, "room", "")
		b.say(anOffer)
		a.hears(anOffer)
		a.say(anOffer) // is no answer
		b.hears(anOffer)
		met := time.Now()
		time.Sleep(50 * time.Second)
		b.hears(`{"type":"bye"}`)
		b.closes("setup_timeout: no answer within 1m0s")
		a.hears(`{"type":"bye"}`)
		a.closes("")
		if took := time.Since(met); took != time.Minute {
			t.Errorf("the call was given up after %s", took)
		}
		if e := b.ended(h, tenant.EndSetupTimeout); e.Duration != 0 {
			t.Errorf("it costs %s", e.Duration)
		}
		a.ended(h, tenant.EndPeerLeft)
	})
}

// Clients on their own leave when their media is up: nobody says bye.
func TestAyameStandalone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{})
		a, b := h.meet(t, "room", `,"standalone":true`)
		time.Sleep(5 * time.Second)
		b.say(`{"type":"connected"}`)
		b.closes("")
		a.closes("")
		if e := b.ended(h, tenant.EndClient); e.Duration != 5*time.Second {
			t.Errorf("it was connected for %s", e.Duration)
		}
		a.ended(h, tenant.EndPeerLeft)
	})
}

// A client that floods ends for it, and the other hears all that was passed on
// before.
func TestAyameFlood(t *testing.T) {
	for name, message := range map[string]string{
		"large":   `{"type":"candidate","x":"` + strings.Repeat("x", 1<<20-100) + `"}`,
		"short":   `{"type":"candidate"}`,
		"useless": `{"type":"pong"}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openInMemory(t, signaling.Config{})
				a, b := h.meet(t, "room", "")
				heard := make(chan int)
				go func() {
					n := 0
					for text := range a.heard {
						if text == message {
							n++
						}
					}
					heard <- n
				}()
				sent := 0
				for b.conn.Write(context.Background(), websocket.MessageText, []byte(message)) == nil {
					sent++
				}
				b.closes("rate_limited: ")
				b.ended(h, tenant.EndRateLimited)
				a.ended(h, tenant.EndPeerLeft)
				cost := max(len(message), 256)
				if n := <-heard; name != "useless" && (n < (2<<20)/cost-2 || n > (2<<20)/cost) {
					t.Errorf("the other heard %d of %d messages of %d bytes", n, sent, len(message))
				}
				if n := h.door.Stats().Refused[tenant.RateLimited]; n != 1 {
					t.Errorf("counted %d", n)
				}
			})
		})
	}
}

// A client that does not read is let go; the other is not held up by it.
func TestAyameStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{})
		stalled := h.visit(t)
		stalled.conn.CloseNow()
		conn, _, err := websocket.Dial(context.Background(), strings.TrimSuffix(h.url, "signaling")+"ayame", &websocket.DialOptions{HTTPClient: h.http})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		c := &client{t, conn}
		c.say(registration("room", ""))
		_, welcome := c.hear()
		b := h.enters(t, "room", "")
		began := time.Now()
		for range 100 {
			b.say(anOffer)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("the other was held up for %s", waited)
		}
		b.hears(`{"type":"bye"}`)
		b.closes("")
		h.books.await(t, "the stalled client's end", func(b *books) bool {
			return b.closed[welcome["connectionId"].(string)].Reason == tenant.EndTimeout
		})
		if took := time.Since(began); took > 11*time.Second {
			t.Errorf("it stayed for %s", took)
		}
	})
}
