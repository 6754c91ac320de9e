package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// TestSoraTokenOfAnotherHouse is a customer of Sora's who brings tokens as they
// are: without a key's id, for a channel that ends in the tenant's, and with
// claims that decide what is sent.
func TestSoraTokenOfAnotherHouse(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	b := newBrowser(t)
	site := soraPage(t)
	room := "room@" + a.Tenant
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"exp": time.Now().Add(time.Minute).Unix(), "channel_id": room, "role": "sendonly",
		"simulcast": false, "video": true, "video_codec_type": "VP8", "video_bit_rate": 321, "audio_bit_rate": 32,
	}).SignedString([]byte(a.SigningKey))
	if err != nil {
		t.Fatal(err)
	}
	p := b.sora(s, a, site, room)
	j := p.joinWith("publisher", "sendonly", token, map[string]any{"simulcast": true, "videoCodecType": "H264", "videoBitRate": 5000})
	if j.Error != "" {
		t.Fatalf("couldn't join: %+v", j)
	}
	viewer := b.sora(s, a, site, "room") // the same channel by its name alone
	viewer.mustJoin("viewer", "recvonly", nil)
	viewer.plays("viewer", 1)
	if codec := viewer.look("viewer").Codec; codec != "video/VP8" {
		t.Errorf("the viewer gets %s, want the claim's VP8", codec)
	}
	offer := p.look("publisher").Offered
	for line, want := range map[string]bool{"b=TIAS:321000": true, "b=TIAS:32000": true, "H264/90000": false, "a=simulcast": false} {
		if strings.Contains(offer, line) != want {
			t.Errorf("the offer has %s: %v", line, !want)
		}
	}
	for _, c := range s.connections(a) {
		if c.ChannelID != "room" {
			t.Errorf("a connection is in %q", c.ChannelID)
		}
	}
}

// TestSoraAuthWebhook sets a URL in the console; the tenant's server then refuses
// publishers by a word that their application sees, and tells viewers something.
// When it hangs up, nobody comes in.
func TestSoraAuthWebhook(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	b := newBrowser(t)
	var mu sync.Mutex
	var secret string
	var asked []map[string]any
	customer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		verifier, err := standardwebhooks.NewWebhook(secret)
		if err == nil {
			err = verifier.Verify(body, r.Header)
		}
		var question map[string]any
		if err == nil {
			err = json.Unmarshal(body, &question)
		}
		if err != nil {
			t.Errorf("the question %s: %v", body, err)
		}
		asked = append(asked, question)
		w.Header().Set("Content-Type", "application/json")
		if question["role"] == "sendonly" {
			io.WriteString(w, `{"allowed":false,"reason":"NO-PUBLISHERS-TODAY"}`)
			return
		}
		io.WriteString(w, `{"allowed":true,"client_id":"guest-7","metadata":{"welcome":"back"}}`)
	}))
	t.Cleanup(customer.Close)

	settings := b.logIn(s, a, "/console/settings")
	settings.fill("Auth webhook URL", customer.URL+"/auth")
	settings.press("Save")
	settings.until("the secret is shown", `!!document.querySelector("[data-secret]")`)
	mu.Lock()
	secret = eval[string](settings, `document.querySelector("[data-secret]").innerText`)
	mu.Unlock()

	p := b.sora(s, a, soraPage(t), "hello")
	if j := p.join("publisher", "sendonly", nil); j.Code != 4490 || j.Reason != "NO-PUBLISHERS-TODAY" {
		t.Errorf("the publisher's error is %+v", j)
	}
	id := p.mustJoin("viewer", "recvonly", nil)
	v := p.look("viewer")
	if fmt.Sprint(v.Metadata) != "map[welcome:back]" || v.ClientID != "guest-7" {
		t.Errorf("the viewer sees %v, client id %q", v.Metadata, v.ClientID)
	}
	mu.Lock()
	if len(asked) != 2 || asked[1]["clientId"] != id || asked[1]["channelId"] != "hello" || asked[1]["role"] != "recvonly" {
		t.Errorf("asked %v", asked)
	}
	mu.Unlock()
	customer.Close()
	if j := p.join("late", "recvonly", nil); j.Code != 4490 || !strings.HasPrefix(j.Reason, "auth_unavailable: ") {
		t.Errorf("without the server the error is %+v", j)
	}
	for _, want := range []string{`{outcome="allowed"}`, `{outcome="rejected"}`, `{outcome="unavailable"}`} {
		if n := s.metric("hibari_auth_webhooks_total" + want); n != "1" {
			t.Errorf("%s counts %s", want, n)
		}
	}
}

// TestSoraSigningSecret turns raw secrets on and off in the console, with the
// keyboard, as somebody who develops does.
func TestSoraSigningSecret(t *testing.T) {
	s := newServer(t)
	a := s.tenant("Lark")
	b := newBrowser(t)
	p := b.sora(s, a, soraPage(t), "hello@"+a.Tenant)
	refused := func() {
		t.Helper()
		if j := p.joinWith("refused", "sendrecv", a.SigningKey, nil); !strings.HasPrefix(j.Reason, "token_invalid: ") {
			t.Errorf("the raw secret: %+v", j)
		}
	}
	refused()
	settings := b.logIn(s, a, "/console/settings")
	settings.reach("Accept signing secrets", "\r")
	settings.until("it asks", `!!document.querySelector("dialog[open]")`)
	settings.reach("Accept them", " ")
	settings.until("the page warns", `!!document.querySelector("#secret-warning")`)
	if j := p.joinWith("developer", "sendrecv", a.SigningKey, nil); j.Error != "" {
		t.Errorf("the raw secret: %+v", j)
	}
	if list := s.connections(a); !slices.ContainsFunc(list, func(c struct{ ConnectionID, ChannelID, Role string }) bool { return c.ChannelID == "hello" }) {
		t.Errorf("connections are %v", list)
	}
	settings.reach("Accept only tokens", "\r")
	settings.until("the warning is gone", `document.readyState === "complete" && !document.querySelector("#secret-warning")`)
	refused()
	if strings.Contains(s.log.String(), a.SigningKey) {
		t.Error("the secret stands in the log")
	}
}
