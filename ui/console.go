// Package ui is the console: what people see of the platform in a browser.
//
// Every page is rendered here on the server by templ and works as plain links
// and forms; the scripts in assets only make it quicker. A request goes
//
//	headers ─► cross-origin check ─► session ─► role ─► action ─► page
//
// where the first four are guard.go's and the roles stand in one table,
// routes.go. There is one action per small file and one page per .templ. Pages
// that show something live keep a stream open (live.go, hub.go) over which the
// server sends the whole fragment anew whenever it changed.
package ui

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/stats"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// Config is what the console stands on. All fields but the flags are required.
type Config struct {
	Tenants  *tenant.Store
	Ledger   *billing.Ledger
	Spend    *billing.Spend
	Invoices *invoice.Invoices
	Credit   *invoice.Credit
	Hooks    *webhooks.Webhooks
	Node     *cluster.Node
	Stats    *stats.Store // nil: there are no statistics
	// DB is where the console writes the audit entries of what it does itself.
	DB *pgxpool.Pool
	// Requests are the seats of members' requests; nil: without end.
	Requests *tenant.Seats
	// Exports are the seats of files on their way; nil: without end.
	Exports *tenant.Seats
	// PublicURL is the origin people reach us by, such as https://hibari.example.
	PublicURL string
	// SignupOpen lets strangers make a tenant.
	SignupOpen bool
	// Secure means that people reach us by HTTPS: cookies are marked Secure and
	// browsers are told to stay on HTTPS.
	Secure bool
	Log    *slog.Logger
}

// Console serves the pages. Its methods may be called from any goroutine.
type Console struct {
	// Static
	Config
	assets *assets
	plans  *billing.Plans
	csrf   *http.CrossOriginProtection
	hub    *hub          // locks for itself
	lives  *tenant.Seats // of live pages
	// fragments are the seats of those that are rendered.
	fragments *tenant.Seats
	closing   context.Context // done after Close
	close     context.CancelFunc
}

// New returns a console. It subscribes to the ledger's changes for its live
// pages, so there should be one per ledger. It panics without a DB and on
// broken assets: both are mistakes of the program and not of the day.
func New(c Config) *Console {
	if c.DB == nil {
		panic("ui.New: Config.DB is missing")
	}
	bundle, err := loadAssets()
	if err != nil {
		panic("ui.New: " + err.Error())
	}
	console := &Console{Config: c, assets: bundle, csrf: http.NewCrossOriginProtection(), hub: newHub(),
		lives:     tenant.NewSeats("live pages", maxLivePages, 0, 0),
		fragments: tenant.NewSeats("live pages being rendered", maxFragments, maxLivePages, pageLimit)}
	console.plans = billing.NewPlans(c.DB)
	console.closing, console.close = context.WithCancel(context.Background())
	// Behind a proxy that rewrites Host, the browser's Origin is the public one.
	if public, err := url.Parse(c.PublicURL); err == nil && public.Host != "" {
		if err := console.csrf.AddTrustedOrigin(public.Scheme + "://" + public.Host); err != nil {
			c.Log.Warn("forms can't be trusted to come from the public URL", "url", c.PublicURL, "error", err)
		}
	}
	console.csrf.SetDenyHandler(http.HandlerFunc(console.refuseCrossOrigin))
	c.Ledger.OnChange(console.hub.changed)
	return console
}

// Close ends the streams of all live pages, so that the HTTP server can shut
// down without waiting for people to close their tabs. The pages come back by
// themselves when a server answers again.
func (c *Console) Close() { c.close() }
