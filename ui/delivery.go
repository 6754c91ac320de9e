package ui

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// deliveryData is one delivery: what was sent and how each try went.
type deliveryData struct {
	delivery webhooks.Delivery
	endpoint webhooks.Endpoint
	attempts []webhooks.Attempt
	event    string // the envelope, indented; "": no longer kept
	body     string // exactly what is posted
}

func (c *Console) delivery(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.readDelivery(r, v)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, deliveryPage(v, d))
}

func (c *Console) deliveryFragment(r *http.Request, v *visit) (templ.Component, error) {
	d, err := c.readDelivery(r, v)
	return deliveryBody(v, d), err
}

func (c *Console) readDelivery(r *http.Request, v *visit) (d deliveryData, err error) {
	ctx, scope := r.Context(), v.login.Scope
	if d.delivery, err = c.oneDelivery(r, v, param(r, "delivery")); err != nil {
		return d, err
	}
	if d.endpoint, err = c.Hooks.Endpoint(ctx, scope, d.delivery.EndpointID); err != nil {
		return d, err
	}
	if d.attempts, err = c.Hooks.Attempts(ctx, scope, d.delivery.ID); err != nil {
		return d, err
	}
	events, err := c.Hooks.Events(ctx, scope, d.delivery.EventSeq-1, 1)
	if err != nil || len(events) != 1 || events[0].ID != d.delivery.EventID {
		return d, err
	}
	_, body, err := webhooks.Posted(events[0])
	if err != nil {
		return d, fmt.Errorf("couldn't show event %s: %w", events[0].ID, err)
	}
	d.body, d.event = string(body), indented(body)
	return d, nil
}

// oneDelivery is a delivery by its id.
func (c *Console) oneDelivery(r *http.Request, v *visit, id string) (webhooks.Delivery, error) {
	found, err := c.Hooks.Deliveries(r.Context(), v.login.Scope, webhooks.DeliveryQuery{ID: id, Limit: 1})
	if err == nil && (len(found) == 0 || id == "") {
		err = tenant.ErrNotFound
	}
	if err != nil {
		return webhooks.Delivery{}, err
	}
	return found[0], nil
}

// path is the delivery's page, or something below it.
func (d deliveryData) path(below string) string {
	return "/console/deliveries/" + d.delivery.ID + below
}

// last is the latest attempt; nil: there was none, or it is no longer kept.
func (d deliveryData) last() *webhooks.Attempt {
	if len(d.attempts) == 0 {
		return nil
	}
	return &d.attempts[len(d.attempts)-1]
}

// phase is a part of an attempt's time.
type phase struct {
	name, class string
	took        int64 // µs
	x, width    float64
}

// phases are where an attempt's time went, in order, on a line of 100.
func phases(t webhooks.Timing) []phase {
	list := []phase{
		{name: "name look-up", class: "phase-dns", took: t.DNS}, {name: "connect", class: "phase-connect", took: t.Connect},
		{name: "TLS", class: "phase-tls", took: t.TLS}, {name: "waiting for the first byte", class: "phase-wait", took: t.Wait},
	}
	rest := t.Total
	for _, p := range list {
		rest -= p.took
	}
	list = append(list, phase{name: "sending, reading and the rest", class: "phase-rest", took: max(0, rest)})
	at := 0.0
	for i := range list {
		list[i].x = at
		list[i].width = 100 * float64(list[i].took) / float64(max(1, t.Total))
		at += list[i].width
	}
	return slices.DeleteFunc(list, func(p phase) bool { return p.took == 0 })
}

// micros writes microseconds as milliseconds, in as many digits as tell something.
func micros(us int64) string {
	switch {
	case us < 10_000:
		return strconv.FormatFloat(float64(us)/1000, 'f', 2, 64) + " ms"
	case us < 100_000:
		return strconv.FormatFloat(float64(us)/1000, 'f', 1, 64) + " ms"
	}
	return whole(us/1000) + " ms"
}

// headText is a header as HTTP writes it.
func headText(head map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(head)) {
		b.WriteString(name + ": " + head[name] + "\n")
	}
	return b.String()
}

// bodyNote says how much of an answer's body is shown.
func bodyNote(a webhooks.Attempt) string {
	if a.Exchange == nil {
		return "the answer's first bytes"
	}
	kept, all := int64(len(a.ResponseHead)), a.Exchange.AnswerBytes
	switch {
	case all > kept && all >= 64<<10:
		return "the answer's body, cut: the first 4 KiB of 64 KiB or more"
	case all > kept:
		return fmt.Sprintf("the answer's body, cut: the first 4 KiB of %s bytes", whole(all))
	}
	return fmt.Sprintf("the answer's body, %s", plural(all, "byte", "bytes"))
}

// answerAdvice says what to do about a kind of failure.
var answerAdvice = map[webhooks.ErrorClass]string{
	webhooks.FailedInternal:   "This is ours to mend: tell the operator of this platform the delivery's id.",
	webhooks.FailedURL:        "Edit the endpoint's URL.",
	webhooks.FailedDNS:        "Check the host name in the endpoint's URL, and that it is in the public DNS.",
	webhooks.FailedAddress:    "The host name leads to an address that is not public. Give it a public one; requests to private networks are never made.",
	webhooks.FailedConnect:    "Nobody took the connection. Check that your server runs and that its firewall lets us in.",
	webhooks.FailedTLS:        "Check the certificate: its chain must be whole, its name that of the URL, and it must not have expired.",
	webhooks.FailedTimeout:    "Answer within 15 seconds: take the event, answer 2xx, and work on it afterwards.",
	webhooks.FailedReset:      "Something closed the connection while it was in use: look into the log of your server or of the proxy before it.",
	webhooks.FailedClosed:     "The connection was closed before the answer was whole: look into the log of your server or of the proxy before it.",
	webhooks.FailedProtocol:   "What answers there does not speak HTTP as it should. Check the port in the URL.",
	webhooks.FailedTooLarge:   "Answer with less than 64 KiB; the status is all we need.",
	webhooks.FailedRedirect:   "Redirects are not followed. Edit the endpoint's URL so that it names the last address.",
	webhooks.FailedHTTPStatus: "Your server refused it. Its answer below may say why; any 2xx status takes the event.",
}

// stepAfter is what to do about a failed attempt.
func stepAfter(a webhooks.Attempt) string {
	switch a.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return "Your server did not trust the request. Check that it has this endpoint's secret, and see below how the signature is made."
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return "Check the path in the endpoint's URL, and that your server takes POST there."
	case http.StatusGone:
		return "410 asks us never to call again: the endpoint is disabled. Enable it if that was a mistake."
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout:
		return "Your server, or the proxy before it, is busy or down. We slow down and try again."
	}
	return answerAdvice[a.Class]
}

// quoted is text as one word of a shell.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// verifySnippet makes a signature by hand, from the latest attempt.
func (d deliveryData) verifySnippet() string {
	sent := d.last().Exchange.Sent
	return "# Prints what stands in webhook-signature after \"v1,\":\n" +
		"#   " + sent["Webhook-Signature"] + "\n" +
		"SECRET='whsec_…'   # the endpoint's, as the console showed it\n" +
		"KEY=$(printf %s \"${SECRET#whsec_}\" | base64 -d | od -An -vtx1 | tr -d ' \\n')\n" +
		"printf %s " + quoted(sent["Webhook-Id"]+"."+sent["Webhook-Timestamp"]+"."+d.body) +
		" |\n  openssl dgst -sha256 -mac HMAC -macopt \"hexkey:$KEY\" -binary | base64\n"
}

// curlSnippet sends the latest attempt to the developer's own machine.
func (d deliveryData) curlSnippet() string {
	var b strings.Builder
	b.WriteString("curl -i http://localhost:3000/ \\\n")
	sent := d.last().Exchange.Sent
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		if name != "Host" && name != "Content-Length" {
			b.WriteString("  -H " + quoted(strings.ToLower(name)+": "+sent[name]) + " \\\n")
		}
	}
	b.WriteString("  --data-raw " + quoted(d.body) + "\n")
	return b.String()
}

// canVerify reports whether there is what the snippets are made of.
func (d deliveryData) canVerify() bool {
	last := d.last()
	return last != nil && last.Exchange != nil && last.Exchange.Sent["Webhook-Signature"] != "" && d.body != ""
}

// errEndpointDisabled is a test or replay to an endpoint that gets nothing.
var errEndpointDisabled = errors.New("the endpoint is disabled")

// nextTry says when a delivery is tried next.
func nextTry(due, now time.Time) string {
	if !due.After(now) {
		return "The next try is due now."
	}
	return "The next try comes " + ago(due, now) + "."
}
