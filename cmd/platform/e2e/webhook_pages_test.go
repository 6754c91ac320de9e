package e2e

import (
	"cmp"
	"os"
	"testing"
)

// Somebody sends a test by keyboard and sees how it goes, without a reload; then
// looks at the delivery and at how the endpoint does, on any screen.
func TestWebhookTestIsSeenLive(t *testing.T) {
	s := newServer(t)
	b := newBrowser(t)
	p := b.signUp(s, "Lark")
	hook := newReceiver(t)
	hook.failed = true // answer from the first request on
	hook.trust(p.addEndpoint(s, hook.url))
	page := b.open(s.url + "/console/webhooks") // few tabs: each live page keeps a connection of the six there are
	page.until("the endpoint is listed", `!!document.querySelector('main a[href*="/console/webhooks/ep_"]')`)
	path := eval[string](page, `document.querySelector('main a[href*="/console/webhooks/ep_"]').getAttribute('href')`)

	page.goes(path)
	page.until("there is a choice of types", `!!document.querySelector('#test-type option[value="connection.destroyed"]')`)
	eval[bool](page, `(document.querySelector('#test-type').value = 'connection.destroyed', true)`)
	page.reach("Send test", "\r")
	page.until("the page has the test", `!!document.querySelector('#test-result')`)
	page.until("it is delivered", `document.querySelector('#test-result').dataset.test === 'delivered'
		&& document.querySelector('#test-result').innerText.includes('connection.destroyed')`)
	page.until("the log has it too", `document.querySelector('#delivery-log tbody tr').dataset.state === 'delivered'`)
	delivery := eval[string](page, `document.querySelector('#test-result a').getAttribute('href')`)

	dir := cmp.Or(os.Getenv("HIBARI_SCREENSHOTS"), t.TempDir())
	page.everyLook(t, dir, "webhook-endpoint")
	page.goes(delivery)
	page.until("the try is shown", `!!document.querySelector('#attempt-1 .timing') && !!document.querySelector('#verify-curl')`)
	page.until("what was sent is marked", `document.querySelector('#envelope').innerText.includes('"test": true')`)
	eval[bool](page, `(document.querySelector('#request-1 summary').focus(), true)`)
	page.typeKeys("\r")
	page.until("our header is open", `document.querySelector('#request-1').open && document.querySelector('#sent-1').innerText.includes('Webhook-Signature: v1,')`)
	page.everyLook(t, dir, "webhook-delivery")

	page.goes(path + "/health")
	page.until("it is drawn", `document.querySelectorAll('svg.chart').length === 2 && !!document.querySelector('svg.chart .line-p50')`)
	page.everyLook(t, dir, "webhook-health")
	page.goes("/console/webhooks/health")
	page.until("the endpoint is there", `!!document.querySelector('tr[id^=health-ep_]')`)
	page.everyLook(t, dir, "webhooks-health")
	page.goes(path + "/edit")
	page.until("the form is there", `document.querySelectorAll('input[name=types]').length > 8`)
	page.everyLook(t, dir, "webhook-edit")
}

// everyLook takes a page's pictures, which fails where it is wider than its window.
func (p *tab) everyLook(t *testing.T, dir, name string) {
	t.Helper()
	p.picture(t, dir, name, false, false)
	p.picture(t, dir, name, true, true)
}

// goes follows a link in the same tab.
func (p *tab) goes(path string) {
	p.t.Helper()
	eval[bool](p, "(setTimeout(() => location.assign(%s)), true)", path)
	p.arrives(path)
}
