package signaling_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

func TestRefusalsOfTheVerifier(t *testing.T) {
	tests := []struct {
		token, reason string
		code          tenant.Code
		told          bool // the tenant learns of it
	}{
		{"nonsense", "token_invalid: send a token", tenant.TokenInvalid, false},
		{"", "token_invalid: send a token", tenant.TokenInvalid, false},
		{"token_expired", "token_expired: hint for token_expired", tenant.TokenExpired, false},
		{"channel_denied", "channel_denied: hint for channel_denied", tenant.ChannelDenied, true},
		{"role_denied", "role_denied: hint for role_denied", tenant.RoleDenied, true},
		{"banned", "banned: hint for banned", tenant.Banned, true},
		{"tenant_suspended", "tenant_suspended: hint for tenant_suspended", tenant.TenantSuspended, true},
		{"unavailable", "unavailable: hint for unavailable", tenant.Unavailable, false},
		{"broken", "unavailable: the platform can't take connections right now; try again in a few seconds", tenant.Unavailable, false},
	}
	for _, test := range tests {
		for dialect, message := range map[string]string{
			"today": knock(test.token),
			"2015":  `{"type":"connect","role":"downstream","channelId":"room","accessToken":"` + test.token + `"}`,
		} {
			t.Run(test.token+" "+dialect, func(t *testing.T) {
				h := open(t, signaling.Config{})
				c := h.visit(t)
				c.say(message)
				if code, reason := c.farewell(); code != 4490 || reason != test.reason {
					t.Errorf("closed with %d %q, want 4490 %q", code, reason, test.reason)
				}
				h.books.read(func(b *books) {
					if len(b.opened) != 0 {
						t.Error("a place was taken")
					}
					if told := len(b.rejected) == 1 && b.rejected[0].Code == test.code; told != test.told {
						t.Errorf("the tenant was told %v", b.rejected)
					}
				})
				if got := h.door.Stats().Refused; !reflect.DeepEqual(got, map[tenant.Code]int64{test.code: 1}) {
					t.Errorf("counted %v", got)
				}
			})
		}
	}
}

func TestRefusalsOfTheLedger(t *testing.T) {
	for _, refusal := range []*tenant.Refusal{
		{Code: tenant.TenantFull, Detail: "300 of 300 connections", Current: 300, Max: 300},
		{Code: tenant.ChannelFull, Detail: "150 of 150 connections in this channel", Current: 150, Max: 150},
		{Code: tenant.TenantSuspended, Detail: "ask your owner"},
		{Code: tenant.SpendCapReached, Detail: "raise the cap"},
		{Code: tenant.Unavailable, Detail: "try again"},
	} {
		t.Run(string(refusal.Code), func(t *testing.T) {
			h := open(t, signaling.Config{})
			h.books.fail = func(entry string) error {
				if entry == "open" {
					return fmt.Errorf("couldn't open: %w", refusal)
				}
				return nil
			}
			c := h.visit(t)
			c.say(knock("good"))
			if code, reason := c.farewell(); code != 4490 || reason != refusal.Error() {
				t.Errorf("closed with %d %q", code, reason)
			}
			var want []tenant.Refusal
			if refusal.Code != tenant.Unavailable {
				want = []tenant.Refusal{*refusal}
			}
			h.books.read(func(b *books) {
				if !reflect.DeepEqual(b.rejected, want) {
					t.Errorf("the tenant was told %v, want %v", b.rejected, want)
				}
				if b.tries["close"] != 0 {
					t.Error("a place that was never taken was freed")
				}
			})
			if n := h.door.Stats().Refused[refusal.Code]; n != 1 {
				t.Errorf("counted %d", n)
			}
		})
	}
}

func TestRefusalReasonFitsTheFrame(t *testing.T) {
	h := open(t, signaling.Config{})
	h.books.fail = func(entry string) error {
		if entry == "open" {
			return tenant.Refuse(tenant.TenantFull, "%s", strings.Repeat("雲雀", 100))
		}
		return nil
	}
	c := h.visit(t)
	c.say(knock("good"))
	_, reason := c.farewell()
	if len(reason) > 123 || len(reason) < 121 || !utf8.ValidString(reason) || !strings.HasPrefix(reason, "tenant_full: 雲雀") {
		t.Errorf("reason %q has %d bytes", reason, len(reason))
	}
}

func TestBadMessagesCloseOnlyTheirOwnSocket(t *testing.T) {
	h := open(t, signaling.Config{})
	bystander := h.visit(t)
	bystander.say(`{"type":"sing"}`)
	refused := map[tenant.Code]int64{}
	for name, test := range badMessages {
		c := h.visit(t)
		// A large message may meet a server that has stopped reading.
		_ = c.conn.Write(context.Background(), websocket.MessageText, []byte(test.data))
		code, reason := c.farewell()
		if code != 4490 || !strings.HasPrefix(reason, string(test.code)+": ") || len(reason) > 123 || !utf8.ValidString(reason) {
			t.Errorf("%s: closed with %d %q, want 4490 %s", name, code, reason, test.code)
		}
		refused[test.code]++
	}
	binary := h.visit(t)
	if err := binary.conn.Write(context.Background(), websocket.MessageBinary, []byte(knock("good"))); err != nil {
		t.Fatal(err)
	}
	if code, reason := binary.farewell(); code != 4490 || !strings.HasPrefix(reason, "bad_message: binary") {
		t.Errorf("binary: closed with %d %q", code, reason)
	}
	early := h.visit(t)
	early.say(`{"type":"candidate","candidate":"candidate:1"}`)
	early.say(`{"type":"answer","sdp":"v=0"}`)
	if code, reason := early.farewell(); code != 4490 || reason != "bad_message: answer came before connect" {
		t.Errorf("early answer: closed with %d %q", code, reason)
	}
	refused[tenant.BadMessage] += 2
	bystander.say(knock("nonsense"))
	if code, reason := bystander.farewell(); code != 4490 || reason != "token_invalid: send a token" {
		t.Errorf("the bystander was closed with %d %q", code, reason)
	}
	refused[tenant.TokenInvalid]++
	if got := h.door.Stats().Refused; !reflect.DeepEqual(got, refused) {
		t.Errorf("counted %v, want %v", got, refused)
	}
}

func TestChannelNameWithoutItsTenant(t *testing.T) {
	h := open(t, signaling.Config{})
	for channel, reason := range map[string]string{
		"@ten_A":                               "bad_message: channel_id must not be empty",
		strings.Repeat("x", 256) + "@ten_A":    "bad_message: channel_id must have at most 255 bytes",
		"room@ten_" + strings.Repeat("B", 250): "bad_message: channel_id must have at most 255 bytes",
	} {
		c := h.visit(t)
		c.say(strings.Replace(knock("good"), `"room"`, `"`+channel+`"`, 1))
		if code, got := c.farewell(); code != 4490 || got != reason {
			t.Errorf("%s: closed with %d %q, want %q", channel, code, got, reason)
		}
	}
}

func TestSilentSocketsAreNoFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{})
		for range 5 { // an SDK with several URLs opens them all and uses one
			c := h.visit(t)
			if err := c.conn.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
		}
		dropped := h.visit(t)
		dropped.conn.CloseNow()
		synctest.Wait()
		if got := h.door.Stats(); got.OpenSockets != 0 || len(got.Refused) != 0 {
			t.Errorf("stats %+v", got)
		}
	})
}

func TestConnectMustComeInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := openInMemory(t, signaling.Config{})
		c := h.visit(t)
		opened := time.Now()
		c.say(`{"type":"sing"}`)
		if code, reason := c.farewell(); code != 4490 || reason != "bad_message: no connect message within 10s of opening the socket" {
			t.Errorf("closed with %d %q", code, reason)
		}
		if took := time.Since(opened); took != 10*time.Second {
			t.Errorf("after %s", took)
		}
	})
}

// A client that answers no close frame holds its socket for two seconds.
func TestClientThatIgnoresTheClose(t *testing.T) {
	for name, trick := range map[string]string{
		"says nothing":         "",
		"is in a long message": "\x81\xff\x00\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00\x00more to come",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := openInMemory(t, signaling.Config{})
				conn, err := h.dial(context.Background(), "", "")
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				go func() { // reads, and answers nothing
					buffer := make([]byte, 1024)
					for {
						if _, err := conn.Read(buffer); err != nil {
							return
						}
					}
				}()
				fmt.Fprint(conn, "GET /signaling HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
					"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"+trick)
				synctest.Wait()
				if n := h.door.Stats().OpenSockets; n != 1 {
					t.Fatalf("%d sockets are open", n)
				}
				time.Sleep(10*time.Second + 2*time.Second - 1)
				synctest.Wait()
				if n := h.door.Stats().OpenSockets; n != 1 {
					t.Errorf("the client had no time to say goodbye")
				}
				time.Sleep(time.Nanosecond)
				synctest.Wait()
				if n := h.door.Stats().OpenSockets; n != 0 {
					t.Errorf("%d sockets are still open", n)
				}
			})
		})
	}
}

func TestDrainSendsClientsElsewhere(t *testing.T) {
	h := open(t, signaling.Config{})
	waiting := h.visit(t)
	h.door.Drain()
	h.door.Drain() // twice is once
	if code, reason := waiting.farewell(); code != 4490 || !strings.HasPrefix(reason, "draining: ") {
		t.Errorf("a waiting client was closed with %d %q", code, reason)
	}
	_, response, err := websocket.Dial(context.Background(), h.url, nil)
	if err == nil || response == nil || response.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("a new client got %v, %v", response, err)
	}
	defer response.Body.Close()
	var problem struct {
		Status int
		Code   tenant.Code
		Detail string
	}
	if err := json.NewDecoder(response.Body).Decode(&problem); err != nil || problem.Status != 503 || problem.Code != tenant.Draining || problem.Detail == "" {
		t.Errorf("problem document %+v, %v", problem, err)
	}
	if kind := response.Header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("content type %q", kind)
	}
	if n := h.door.Stats().Refused[tenant.Draining]; n != 2 {
		t.Errorf("counted %d", n)
	}
}

// A drain between the socket's opening and the end of its connect is heeded too.
func TestDrainDuringConnect(t *testing.T) {
	v := &drainer{}
	h := open(t, signaling.Config{Verifier: v})
	v.door = h.door
	c := h.visit(t)
	c.say(knock("good"))
	if code, reason := c.farewell(); code != 4490 || !strings.HasPrefix(reason, "draining: ") {
		t.Errorf("closed with %d %q", code, reason)
	}
	h.books.read(func(b *books) {
		if len(b.opened) != 0 || len(b.rejected) != 1 || b.rejected[0].Code != tenant.Draining {
			t.Errorf("opened %v, rejected %v", b.opened, b.rejected)
		}
	})
}

// drainer is a Verifier during whose work the node begins to drain.
type drainer struct {
	keys
	door *signaling.Door
}

func (d *drainer) Verify(ctx context.Context, w tenant.TokenWish) (tenant.Claim, string, error) {
	d.door.Drain()
	return d.keys.Verify(ctx, w)
}

func TestOrdinaryRequestIsToldToUpgrade(t *testing.T) {
	h := open(t, signaling.Config{})
	response, err := http.Get(h.url)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("status %d", response.StatusCode)
	}
}

func TestStormOfRefusedClients(t *testing.T) {
	h := open(t, signaling.Config{})
	const clients = 200
	done := make(chan error, clients)
	for i := range clients {
		go func() {
			conn, _, err := websocket.Dial(context.Background(), h.url, nil)
			if err != nil {
				done <- err
				return
			}
			defer conn.CloseNow()
			switch i % 4 {
			case 0: // leaves at once
			case 1:
				conn.Write(context.Background(), websocket.MessageText, []byte(`{"type":`))
			case 2:
				conn.Write(context.Background(), websocket.MessageText, []byte(knock("nonsense")))
				_, _, err = conn.Read(context.Background())
			case 3:
				conn.Write(context.Background(), websocket.MessageText, []byte(`{"type":"disconnect"}`))
				_, _, err = conn.Read(context.Background())
			}
			if bye := (websocket.CloseError{}); err != nil && !errors.As(err, &bye) {
				done <- err
				return
			}
			done <- nil
		}()
	}
	for range clients {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	h.door.Drain()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := h.door.Wait(ctx); err != nil {
		t.Error(err)
	}
	if s := h.door.Stats(); s.OpenSockets != 0 || s.Refused[tenant.TokenInvalid] != clients/4 {
		t.Errorf("stats %+v", s)
	}
}

// Clients that come back in a loop are turned away before they cost the ledger
// anything, and their tenant is told.
func TestTenantWhoseClientsKnockTooOften(t *testing.T) {
	h := open(t, signaling.Config{Limits: signaling.Limits{ConnectBurst: 2, ConnectRate: 1}})
	h.books.fail = func(entry string) error {
		if entry == "open" {
			return tenant.Refuse(tenant.TenantFull, "no place")
		}
		return nil
	}
	var last string
	for range 3 {
		c := h.visit(t)
		c.say(knock("good"))
		_, last = c.farewell()
	}
	if !strings.HasPrefix(last, "rate_limited: ") {
		t.Errorf("the third was told %q", last)
	}
	h.books.read(func(b *books) {
		if b.tries["open"] != 2 {
			t.Errorf("the ledger was asked %d times", b.tries["open"])
		}
		if len(b.rejected) != 3 || b.rejected[2].Code != tenant.RateLimited {
			t.Errorf("the tenant was told %v", b.rejected)
		}
	})
}
