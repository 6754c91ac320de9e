package ui_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/hibari/hibari/internal/tenant"
)

// received is a request that an endpoint got.
type received struct {
	header http.Header
	body   []byte
}

// receiver is a tenant's server: it keeps what it gets and answers status.
func receiver(t *testing.T, status int) (url string, got <-chan received) {
	t.Helper()
	out := make(chan received, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		out <- received{r.Header, body}
		w.WriteHeader(status)
		io.WriteString(w, "thank you & goodbye")
	}))
	t.Cleanup(server.Close)
	return server.URL, out
}

// The whole story of an endpoint, as somebody at the console lives it.
func TestWebhookEndpoint(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	url, got := receiver(t, http.StatusNoContent)

	a := p.post("/console/webhooks", "url", url, "types", "connection.created", "types", "channel.ended").want(http.StatusSeeOther)
	path, query, _ := strings.Cut(a.location, "?")
	if query != "done=endpoint" {
		t.Errorf("leads to %q", a.location)
	}
	secret := p.get(path).want(http.StatusOK).shown()["Webhook secret"]
	if !strings.HasPrefix(secret, "whsec_") {
		t.Fatalf("secret %q", secret)
	}
	if again := p.get(path); strings.Contains(again.body, "whsec_") {
		t.Error("the secret is shown twice")
	}

	events, _ := p.follow("/console/live" + strings.TrimPrefix(path, "/console"))
	test := p.post(path+"/test", "type", "connection.created").want(http.StatusSeeOther).location
	if !strings.HasPrefix(test, path+"?test=dlv_") {
		t.Fatalf("leads to %q", test)
	}
	tested, _ := p.follow("/console/live" + strings.TrimPrefix(test, "/console"))
	until(t, tested, 10*time.Second, func(e streamEvent) bool {
		return strings.Contains(e.data, `data-test="delivered"`) && strings.Contains(e.data, "Your server answered 204.")
	})
	var request received
	select {
	case request = <-got:
	case <-time.After(10 * time.Second):
		t.Fatal("the test did not arrive")
	}
	verifier, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := verifier.Verify(request.body, request.header); err != nil {
		t.Errorf("the secret shown does not verify the request: %v", err)
	}
	done := until(t, events, 10*time.Second, func(e streamEvent) bool { return strings.Contains(e.data, `data-state="delivered"`) })
	_, rest, _ := strings.Cut(done.data, `href="/console/deliveries/`)
	delivery, _, _ := strings.Cut(rest, `"`)

	detail := p.get("/console/deliveries/" + delivery).want(http.StatusOK)
	for _, want := range []string{"204", "1 try", "connection.created", "&#34;test&#34;: true", "Webhook-Signature: v1,", "waiting for the first byte", "openssl dgst", strings.TrimPrefix(url, "http://"), "HTTP/1.1"} {
		if !strings.Contains(detail.body, want) {
			t.Errorf("the delivery's page lacks %q", want)
		}
	}
	again := p.post("/console/deliveries/" + delivery + "/replay").want(http.StatusSeeOther)
	if !strings.HasPrefix(again.location, "/console/deliveries/dlv_") || strings.HasPrefix(again.location, "/console/deliveries/"+delivery) {
		t.Errorf("leads to %q", again.location)
	}
	select {
	case second := <-got:
		if second.header.Get("webhook-id") != request.header.Get("webhook-id") {
			t.Error("the event sent again has another id")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the event was not sent again")
	}

	rotated := p.post(path + "/rotate").want(http.StatusSeeOther)
	if fresh := p.get(strings.TrimSuffix(rotated.location, "?done=rotate")).shown()["Webhook secret"]; fresh == secret || !strings.HasPrefix(fresh, "whsec_") {
		t.Errorf("secret %q after rotation", fresh)
	}
	if body := p.get(path).body; strings.Contains(body, "Old secret") {
		t.Error("a secret that leaked goes on")
	}
	p.post(path+"/rotate", "overlap", "on").wantTo(path + "?done=rotate-overlap")
	for _, want := range []string{"Old secret", "data-until=", path + "/previous-secret/end"} {
		if body := p.get(path).body; !strings.Contains(body, want) {
			t.Errorf("the page lacks %q while two secrets sign", want)
		}
	}
	p.post(path + "/previous-secret/end").wantTo(path + "?done=overlap-ended")
	if body := p.get(path).body; strings.Contains(body, "Old secret") {
		t.Error("the old secret goes on")
	}

	if body := p.get(path + "/edit").body; !strings.Contains(body, `value="channel.ended" checked`) || strings.Contains(body, `value="channel.started" checked`) {
		t.Error("the form does not show what was chosen")
	}
	p.post(path+"/edit", "url", url, "types", "channel.started", "channel_prefix", "lobby-").wantTo(path + "?done=endpoint-changed")
	if body := p.get(path).body; !strings.Contains(body, "<dd>channel.started</dd>") || !strings.Contains(body, "<code>lobby-</code>") {
		t.Error("the page does not show what was chosen anew")
	}
	if a := p.post(path+"/edit", "url", "nonsense", "types", "channel.ended").want(http.StatusUnprocessableEntity); !strings.Contains(a.body, `id="field-url-problem"`) || !strings.Contains(a.body, `value="channel.ended" checked`) {
		t.Error("a wrong change is not said beside the field")
	}
	p.post(path + "/delete").wantTo("/console/webhooks?done=delete")
	p.get(path).want(http.StatusNotFound)
	log := p.get("/console/audit").body
	for _, want := range []string{"webhook_endpoint.created", "webhook_endpoint.secret_rotated", "webhook_endpoint.overlap_ended", "webhook_endpoint.changed", "webhook_endpoint.deleted"} {
		if !strings.Contains(log, want) {
			t.Errorf("the audit log lacks %s", want)
		}
	}
	if strings.Contains(log, secret) {
		t.Error("the audit log holds the secret")
	}
}

func TestFailingEndpointIsSeen(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	url, _ := receiver(t, http.StatusTeapot)
	a := p.post("/console/webhooks", "url", url).want(http.StatusSeeOther)
	path, _, _ := strings.Cut(a.location, "?")
	p.open("hello", tenant.SendOnly)
	events, _ := p.follow("/console/live/overview")
	until(t, events, 15*time.Second, func(e streamEvent) bool {
		return strings.Contains(e.data, "has been failing") && strings.Contains(e.data, path)
	})
	if body := p.get(path).body; !strings.Contains(body, "failing") || !strings.Contains(body, "418") {
		t.Error("the endpoint's page does not show the answer")
	}
	// A disabled one is said so, and can be enabled.
	if err := s.hooks.DisableEndpoint(t.Context(), p.scope, strings.TrimPrefix(path, "/console/webhooks/")); err != nil {
		t.Fatal(err)
	}
	if body := p.get(path).body; !strings.Contains(body, "disabled: it gets no events") {
		t.Error("the page does not say that the endpoint is disabled")
	}
	if strings.Contains(p.get(path).body, `name="type" id="test-type"`) {
		t.Error("a test is offered to a disabled endpoint")
	}
	p.post(path + "/test").want(http.StatusConflict)
	p.post(path + "/enable").wantTo(path + "?done=enable")
	p.post(path + "/test").want(http.StatusSeeOther)
}

func TestWrongEndpointIsSaidBesideTheField(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	for _, wrong := range []string{"", "ftp://example.com", "http://10.0.0.1/", "not a url"} {
		a := p.post("/console/webhooks", "url", wrong, "types", "channel.started").want(http.StatusUnprocessableEntity)
		if !strings.Contains(a.body, `id="field-url-problem"`) {
			t.Errorf("%q: the problem is not beside the field", wrong)
		}
		if !strings.Contains(a.body, `value="channel.started" checked`) {
			t.Errorf("%q: the choice of types is lost", wrong)
		}
	}
	if a := p.post("/console/webhooks", "url", "http://127.0.0.1:9/", "types", "no.such.type").want(http.StatusUnprocessableEntity); !strings.Contains(a.body, "no.such.type") {
		t.Error("an unknown type is not named")
	}
}
