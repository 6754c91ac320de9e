package ui_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/net/html"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/stats"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
	"github.com/hibari/hibari/migrations/dbtest"
	"github.com/hibari/hibari/ui"
)

// site is the console on a database of its own, with the real packages behind
// it. Only the media plane is missing: connections are opened in the ledger,
// and a disconnect closes them there, as the signalling door would.
type site struct {
	complain func(string, ...any)
	pool     *pgxpool.Pool
	tenants  *tenant.Store
	ledger   *billing.Ledger
	spend    *billing.Spend
	invoices *invoice.Invoices
	credit   *invoice.Credit
	hooks    *webhooks.Webhooks
	node     *cluster.Node
	stats    *stats.Store
	console  *ui.Console
	server   *httptest.Server

	mu sync.Mutex
	// Guarded by mu
	ended map[string]string // connection id to the reason it was ended for
}

func newSite(t *testing.T, change ...func(*ui.Config)) *site {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s := &site{complain: t.Errorf, pool: dbtest.New(t), ended: map[string]string{}}
	var err error
	if s.tenants, err = tenant.NewStore(s.pool, []byte("0123456789abcdef0123456789abcdef"), log); err != nil {
		t.Fatal(err)
	}
	s.hooks = webhooks.New(s.pool, s.tenants, webhooks.Config{EgressAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Log: log})
	s.ledger = billing.NewLedger(s.pool, s.hooks.Queue, log)
	s.ledger.OnChange(s.hooks.Wake)
	s.node, err = cluster.Start(ctx, s.pool, cluster.Config{Name: "test", Instance: t.Name(), Reaper: s.ledger, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s.node.UseHands((*media)(s))
	s.stats = stats.New(s.pool, log)
	s.spend = billing.NewSpend(billing.SpendConfig{Pool: s.pool, Ledger: s.ledger, Plans: billing.NewPlans(s.pool), Mail: s.tenants, PublicURL: "http://hibari.test", Log: log})
	s.credit = invoice.NewCredit(s.pool, log)
	s.invoices = invoice.New(invoice.Config{Pool: s.pool, Ledger: s.ledger, Plans: billing.NewPlans(s.pool), Credit: s.credit, PublicURL: "http://hibari.test", Log: log})
	config := ui.Config{Stats: s.stats, Tenants: s.tenants, Ledger: s.ledger, Spend: s.spend, Invoices: s.invoices, Credit: s.credit, Hooks: s.hooks, Node: s.node, DB: s.pool,
		PublicURL: "http://hibari.test", SignupOpen: true, Log: log}
	for _, f := range change {
		f(&config)
	}
	s.console = ui.New(config)
	router := chi.NewRouter()
	s.console.Routes(router)
	s.server = httptest.NewServer(router)
	var loops sync.WaitGroup
	loops.Go(func() { s.hooks.Run(ctx) })
	loops.Go(func() { s.stats.Run(ctx, noMedia{}, func(id string) string { return id }) })
	t.Cleanup(func() {
		s.console.Close()
		s.server.Close()
		cancel()
		loops.Wait()
	})
	return s
}

// media stands for the media plane: it has every connection, and closes it in the
// ledger, as the signalling door would.
type media site

func (s *media) End(_ tenant.ID, id string, why tenant.Parting) bool {
	s.mu.Lock()
	s.ended[id] = why.Reason
	s.mu.Unlock()
	if err := s.ledger.Close(context.Background(), id, tenant.Ending{Reason: why.Reason, Duration: time.Second, Said: why.Said}); err != nil {
		s.complain("couldn't close %s: %v", id, err)
	}
	return true
}

func (s *media) Here(tenant.ID, tenant.Choice) []string { return nil }

func (s *media) Do(context.Context, tenant.ID, cluster.Order) (any, bool, error) {
	return nil, false, nil
}

// noMedia has nothing to sample: tests give samples by stats.Store.Ended.
type noMedia struct{}

func (noMedia) Readings(list []sfu.Reading, _, _ int) []sfu.Reading { return list }

// endOf returns why a connection was ended; "" if it was not.
func (s *site) endOf(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended[id]
}

// person is somebody with a browser of their own.
type person struct {
	t      *testing.T
	site   *site
	client *http.Client
	scope  tenant.Scope // of the tenant they signed up with
	signed tenant.Created
}

func (s *site) stranger(t *testing.T) *person {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &person{t: t, site: s, client: &http.Client{Jar: jar, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

const password = "larks sing at dawn"

// owner is somebody who has signed up, and not by the form.
func (s *site) owner(t *testing.T, name string) *person {
	t.Helper()
	created, err := s.tenants.CreateTenant(t.Context(), tenant.NewTenant{Name: name, Email: emailOf(name), Password: password})
	if err != nil {
		t.Fatal(err)
	}
	return s.enter(t, created, created.MemberID)
}

// emailOf makes an address of a name, whatever is in it.
func emailOf(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, strings.ToLower(name)) + "@example.com"
}

// member is somebody with a role in p's tenant.
func (p *person) member(role tenant.MemberRole) *person {
	p.t.Helper()
	id := "mem_" + tenant.NewID()
	_, err := p.site.pool.Exec(p.t.Context(), `
		insert into member (member_id, tenant_id, email, password_hash, role) values ($1, $2, $3, '', $4)`,
		id, p.signed.Tenant, id+"@example.com", role)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.site.enter(p.t, p.signed, id)
}

func (s *site) enter(t *testing.T, created tenant.Created, memberID string) *person {
	t.Helper()
	cookie, err := s.tenants.StartSession(t.Context(), memberID, "192.0.2.1", "test")
	if err != nil {
		t.Fatal(err)
	}
	p := s.stranger(t)
	p.signed, p.scope = created, tenant.OperatorScope(created.Tenant)
	home, err := url.Parse(s.server.URL)
	if err != nil {
		t.Fatal(err)
	}
	p.client.Jar.SetCookies(home, []*http.Cookie{{Name: "hibari", Value: cookie}})
	return p
}

// wantCookies checks the names of all cookies the person's browser still has.
func (p *person) wantCookies(names ...string) {
	p.t.Helper()
	home, err := url.Parse(p.site.server.URL)
	if err != nil {
		p.t.Fatal(err)
	}
	var got []string
	for _, cookie := range p.client.Jar.Cookies(home) {
		got = append(got, cookie.Name)
	}
	if !slices.Equal(got, names) {
		p.t.Errorf("the browser keeps the cookies %v, want %v", got, names)
	}
}

// answer is what the server said.
type answer struct {
	t        *testing.T
	status   int
	header   http.Header
	body     string
	location string // of a redirect
}

func (p *person) do(method, path string, form url.Values, header ...string) answer {
	p.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(p.t.Context(), method, p.site.server.URL+path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w, err := p.client.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer{p.t, w.StatusCode, w.Header, string(text), w.Header.Get("Location")}
}

func (p *person) get(path string) answer { p.t.Helper(); return p.do("GET", path, nil) }

// post sends a form as a page of the site does.
func (p *person) post(path string, fields ...string) answer {
	p.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return p.do("POST", path, form, "Sec-Fetch-Site", "same-origin")
}

// want fails the test unless the answer has this status.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d:\n%s", a.status, status, a.body)
	}
	return a
}

// wantTo fails the test unless the answer leads to path.
func (a answer) wantTo(path string) answer {
	a.t.Helper()
	if a.want(http.StatusSeeOther); a.location != path {
		a.t.Fatalf("leads to %q, want %q", a.location, path)
	}
	return a
}

// json reads the answer into v.
func (a answer) json(v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		a.t.Fatalf("%v: %s", err, a.body)
	}
}

// page parses the answer.
func (a answer) page() *html.Node {
	a.t.Helper()
	root, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		a.t.Fatal(err)
	}
	return root
}

// all returns the elements that match, in document order.
func all(root *html.Node, match func(*html.Node) bool) (found []*html.Node) {
	for n := range root.Descendants() {
		if n.Type == html.ElementNode && match(n) {
			found = append(found, n)
		}
	}
	return found
}

func tag(names ...string) func(*html.Node) bool {
	return func(n *html.Node) bool {
		for _, name := range names {
			if n.Data == name {
				return true
			}
		}
		return false
	}
}

// attr returns an attribute, and whether there is one.
func attr(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func value(n *html.Node, name string) string { v, _ := attr(n, name); return v }

// words returns the text below n with single spaces.
func words(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// open lets a client into a channel of p's tenant, with media, and returns its
// connection id and token.
func (p *person) open(channel string, role tenant.Role) (id, token string) {
	p.t.Helper()
	return p.openBy("sora", channel, role)
}

// openBy lets a client in that speaks a protocol.
func (p *person) openBy(protocol, channel string, role tenant.Role) (id, token string) {
	p.t.Helper()
	ctx := p.t.Context()
	token, err := p.site.tenants.SignToken(ctx, p.scope, tenant.TokenRequest{Channel: channel, Roles: []string{string(role)}})
	if err != nil {
		p.t.Fatal(err)
	}
	claim, channel, err := p.site.tenants.Verify(ctx, tenant.TokenWish{Token: token, Channel: channel, Role: role})
	if err != nil {
		p.t.Fatal(err)
	}
	id = tenant.NewID()
	_, err = p.site.ledger.Open(ctx, p.site.node.ID(), tenant.Opening{ConnectionID: id, Tenant: claim.Tenant, Channel: channel, Role: role,
		ClientID: "client-of-" + channel, Protocol: protocol, KeyID: claim.KeyID, TokenHash: claim.TokenHash, TokenExpiresAt: claim.ExpiresAt,
		RemoteAddress: "192.0.2.7", UserAgent: "test"})
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.site.ledger.Connected(ctx, id, 0); err != nil {
		p.t.Fatal(err)
	}
	return id, token
}
