package e2e

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/browsertest"
)

// TestScreenshots looks at every page of a tenant with calls in progress and
// two weeks behind it, wide and narrow, light and dark. No page may be wider
// than its window. HIBARI_SCREENSHOTS names the directory that keeps the
// pictures; without it they are taken all the same.
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("HIBARI_SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	b := newBrowser(t)
	visitor := b.open(s.url + "/login")
	visitor.picture(t, dir, "login", false, false)
	console := b.signUp(s, "Lark")
	console.picture(t, dir, "welcome", false, false)
	endpoint := console.webhookWithDeliveries(t, s)
	s.seedUsage(t)
	invoice := s.seedInvoice(t)
	key := s.seedBans(t)

	stage := b.open(s.url + "/demo/hello?source=canvas&role=publish")
	stage.until("it is on air", "document.querySelector('#status').dataset.state === 'connected'")
	viewer := b.open(s.url + "/demo/hello?role=watch")
	viewer.until("it plays", "(document.querySelector('video.remote')?.getVideoPlaybackQuality().totalVideoFrames ?? 0) >= 30")
	b.open(s.url+"/demo/rehearsal?source=canvas&role=publish").until("it is on air", "document.querySelector('#status').dataset.state === 'connected'")
	viewer.picture(t, dir, "demo", false, false)

	connections := b.open(s.url + "/console/connections?channel=hello")
	connections.until("the viewer is judged", `!!document.querySelector("tr[data-role=recvonly] [data-quality]")`)
	watching := browsertest.Eval[string](connections.Page, `document.querySelector("tr[data-role=recvonly]").dataset.connection`)
	statistics := b.open(s.url + "/console/connections/" + watching)
	statistics.readsPlots(t)

	for name, path := range map[string]string{
		"overview": "/console", "connection": "/console/connections/" + watching, "connections": "/console/connections", "channels": "/console/channels",
		"channel": "/console/channels/hello", "keys": "/console/keys", "rotate": "/console/keys/signing/" + key + "/rotate", "bans": "/console/bans", "webhooks": endpoint, "events": "/console/events", "event": "/console/events/2",
		"settings": "/console/settings", "usage": "/console/usage", "licence": "/console/licence", "plan": "/console/plan", "spending": "/console/spending", "invoices": "/console/invoices", "invoice": "/console/invoices/" + invoice,
		"explain": "/console/invoices/" + invoice + "/lines/1", "start": "/console/start", "audit": "/console/audit",
		"members": "/console/members", "profile": "/console/profile",
	} {
		p := b.open(s.url + path)
		p.until("the page is there", "document.readyState === 'complete' && !!document.querySelector('main h1')")
		for _, dark := range []bool{false, true} {
			for _, narrow := range []bool{false, true} {
				p.picture(t, dir, name, narrow, dark)
			}
		}
		p.Close()
	}
}

// readsPlots has somebody without a mouse read a moment of the plots.
func (p *tab) readsPlots(t *testing.T) {
	t.Helper()
	p.until("two samples are drawn", `document.querySelectorAll("#plots-table tbody tr").length >= 2 && !!document.querySelector(".plot path")`)
	const press = `const press = (key) => document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }))`
	// A new sample may come at any moment: what is pressed is looked at before that.
	p.until("the cross and the figures are the newest row's", `(() => {
		`+press+`
		document.querySelector("[data-plots]").focus()
		press("Escape")
		press("ArrowLeft")
		const row = document.querySelector("#plots-table tbody tr"), cross = document.querySelector(".cross.shown")
		return cross?.getAttribute("x1") === row.dataset.x && document.querySelector("[data-plots-at]").textContent.includes("to it: " + row.cells[2].textContent)
	})()`)
	browsertest.Eval[bool](p.Page, `(() => { `+press+`; return press("Escape") || true })()`)
	p.until("it is gone", `!document.querySelector(".cross.shown")`)
	if words := browsertest.Eval[string](p.Page, `document.querySelector("#quality-words").textContent`); !strings.Contains(words, "over the last") || !strings.Contains(words, "bit/s") {
		t.Errorf("in words: %q", words)
	}
}

// picture takes one screenshot and checks that the page fits its window.
func (p *tab) picture(t *testing.T, dir, name string, narrow, dark bool) {
	t.Helper()
	width, height, scheme := int64(1280), int64(800), "light"
	if narrow {
		width, name = 400, name+"-narrow"
	}
	if dark {
		scheme, name = "dark", name+"-dark"
	}
	ctx, cancel := context.WithTimeout(p.DevTools(), patience)
	defer cancel()
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(width, height), emulate(scheme)); err != nil {
		t.Fatal(err)
	}
	// Two frames later everything is painted in the new colours.
	p.until("it is painted", `document.fonts.ready.then(() => Promise.all(document.getAnimations().map((a) => a.finished.catch(() => 0))))
		.then(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))))`)
	if over := eval[int](p, "Math.max(0, document.documentElement.scrollWidth - innerWidth)"); over > 0 {
		t.Errorf("%s is %d px wider than its window of %d", name, over, width)
	}
	shot, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		t.Fatal(err)
	}
	if picture, err := png.DecodeConfig(bytes.NewReader(shot)); err != nil || int64(picture.Width) != width {
		t.Errorf("%s: no picture of %d px: %v", name, width, err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), shot, 0o644); err != nil {
		t.Fatal(err)
	}
}

// emulate asks the page for its light or dark colours, standing still.
func emulate(scheme string) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
		})
		return chromedp.Void{}, err
	}
}

// webhookWithDeliveries adds an endpoint that answers, sends it a test and
// returns its page's path.
func (p *tab) webhookWithDeliveries(t *testing.T, s *server) string {
	t.Helper()
	hook := newReceiver(t)
	hook.failed = true // answer from the first request on
	hook.trust(p.addEndpoint(s, hook.url))
	list := p.browser.open(s.url + "/console/webhooks")
	list.until("the endpoint is listed", "!!document.querySelector('main a[href*=\"/console/webhooks/ep_\"]')")
	path := eval[string](list, "document.querySelector('main a[href*=\"/console/webhooks/ep_\"]').getAttribute('href')")
	page := p.browser.open(s.url + path)
	page.press("Send test")
	eventually(t, "the test arrives", func() bool {
		hook.mu.Lock()
		defer hook.mu.Unlock()
		return len(hook.events) > 0
	})
	return path
}

// seedBans bars some clients of the only tenant, and returns the id of its signing
// key, which has been used a moment ago and retires in a week.
func (s *server) seedBans(t *testing.T) (key string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.setting("HIBARI_DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), `
		insert into ban (ban_id, tenant_id, kind, subject, channel_id, client_id, reason, created_by, created_at, expires_at)
		select 'ban_' || n, tenant_id, kind, subject, channel, client, reason, 'operator', now() - interval '7 minutes' * n, now() + interval '1 day' * n
		from tenant, (values
			(1, 'client', 'mallory@example.com', 'lesson-12', '', 'shouted at everybody'),
			(2, 'connection', '7PCV0Z61BQTTVX534SK3WDAJG4', 'hello', 'guest-4711-with-a-rather-long-name-of-its-own', ''),
			(3, 'channel', 'old-lobby', '', '', 'moved to the new lobby; this name is never to be used again'),
			(4, 'token', repeat('9f86d081', 8), '', '', 'disconnected in the console')) as b (n, kind, subject, channel, client, reason)`)
	if err != nil {
		t.Fatal(err)
	}
	err = conn.QueryRow(t.Context(), `update signing_key set last_used_at = now() - interval '5 minutes', retires_at = now() + interval '7 days'
		returning signing_key_id`).Scan(&key)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// seedUsage writes two weeks of ended connections for the only tenant.
func (s *server) seedUsage(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	db := s.database(t)
	defer db.Close(ctx)
	for _, sql := range []string{
		`insert into node (node_id, name, instance, lease_until, state) values ('seed', 'seed', 'seed', now(), 'stopped')`,
		`insert into channel_session (session_id, tenant_id, channel_id, started_at, ended_at)
		 select 'seed', tenant_id, 'hello', now() - interval '15 days', now() - interval '1 day' from tenant`,
		`insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol,
		                         opened_at, connected_at, metered_through, ended_at, end_reason, bytes_in, bytes_out)
		 select 'seed-' || d || '-' || n, tenant_id, 'hello', 'seed', 'seed', case when n = 0 then 'sendonly' else 'recvonly' end,
		        'seed', 'sora', at, at, at + length, at + length, 'client', 0, 1000000
		 from tenant, generate_series(1, 14) d, generate_series(0, 3 + (d * 7) % 11) n,
		      lateral (select now() - d * interval '1 day' + n * interval '3 minutes' as at, (n * 37 + d * 91) % 1900 * interval '1 second' as length) x`,
	} {
		if _, err := db.Exec(ctx, sql); err != nil {
			t.Fatal(fmt.Errorf("couldn't seed usage: %w", err))
		}
	}
}

// seedInvoice has the two weeks be a billing period that is over, of a tenant with
// metered prices, and returns the invoice that the server makes of it.
func (s *server) seedInvoice(t *testing.T) (invoice string) {
	t.Helper()
	ctx := context.Background()
	db := s.database(t)
	defer db.Close(ctx)
	do := func(sql string, args ...any) {
		t.Helper()
		if _, err := db.Exec(ctx, sql, args...); err != nil {
			t.Fatal(fmt.Errorf("couldn't seed an invoice: %w", err))
		}
	}
	s.stop()
	do(`insert into tenant_plan (tenant_id, from_day, plan_id, created_by) select tenant_id, current_date - 20, 'metered', 'seed' from tenant`)
	do(`update issuer set name = 'Hibari Inc.', address = E'1-1-1 Marunouchi\nChiyoda-ku, Tokyo', email = 'billing@hibari.example',
		registration = 'T1234567890123', set_at = now()`)
	do(`set session_replication_role = replica`) // past the keeping of periods
	do(`delete from billing_period`)
	do(`insert into billing_period (tenant_id, month, starts_at, ends_at, time_zone)
		select tenant_id, date_trunc('month', now() - interval '18 days'), (current_date - 18)::timestamp at time zone 'Asia/Tokyo',
			date_trunc('hour', now() - interval '2 hours'), 'Asia/Tokyo' from tenant`)
	do(`set session_replication_role = origin`)
	becomes := func(state string) {
		t.Helper()
		eventually(t, "the invoice is "+state, func() bool {
			return db.QueryRow(ctx, `select invoice_id from invoice where state = $1`, state).Scan(&invoice) == nil
		})
	}
	s.start()
	becomes("draft")
	s.stop()
	do(`update invoice set review_until = now()`)
	s.start()
	becomes("final")
	return invoice
}

// database is a connection to the server's database, as its owner.
func (s *server) database(t *testing.T) *pgx.Conn {
	t.Helper()
	url := ""
	for _, setting := range s.env {
		if v, ok := strings.CutPrefix(setting, "HIBARI_DATABASE_URL="); ok {
			url = v
		}
	}
	db, err := pgx.Connect(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	return db
}
