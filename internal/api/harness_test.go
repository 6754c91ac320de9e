package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/stats"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
	"github.com/hibari/hibari/migrations/dbtest"
)

// service is the API on a database of its own, with the real packages behind
// it. Only the media plane is missing: connections are opened in the ledger,
// and a disconnect closes them there, as the signalling door would.
type service struct {
	complain func(string, ...any)
	pool     *pgxpool.Pool
	tenants  *tenant.Store
	ledger   *billing.Ledger
	invoices *invoice.Invoices
	credit   *invoice.Credit
	hooks    *webhooks.Webhooks
	node     *cluster.Node
	stats    *stats.Store
	api      *api.API
	url      string
	schemas  *document

	mu sync.Mutex
	// Guarded by mu
	ended  map[string]string // connection id to the reason it was ended for
	orders []cluster.Order
	answer func(cluster.Order) (any, error) // nil: nothing is here
}

var masterKey = []byte("0123456789abcdef0123456789abcdef")

func newService(t *testing.T, change ...func(*api.Config)) *service {
	t.Helper()
	return serviceOn(t, dbtest.New(t), change...)
}

// serviceOn is another process on the same database.
func serviceOn(t *testing.T, pool *pgxpool.Pool, change ...func(*api.Config)) *service {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s := &service{complain: t.Errorf, pool: pool, ended: map[string]string{}}
	var err error
	if s.tenants, err = tenant.NewStore(pool, masterKey, log); err != nil {
		t.Fatal(err)
	}
	s.hooks = webhooks.New(pool, s.tenants, webhooks.Config{EgressAllow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, Log: log})
	s.ledger = billing.NewLedger(pool, s.hooks.Queue, log)
	s.ledger.OnChange(s.hooks.Wake)
	s.node, err = cluster.Start(ctx, pool, cluster.Config{Name: "test", Instance: t.Name() + tenant.NewID(), Reaper: s.ledger, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s.node.UseHands((*media)(s))
	s.stats = stats.New(pool, log)
	plans := billing.NewPlans(s.pool)
	spend := billing.NewSpend(billing.SpendConfig{Pool: s.pool, Ledger: s.ledger, Plans: plans, Mail: s.tenants, PublicURL: "http://hibari.test", Log: log})
	s.credit = invoice.NewCredit(pool, log)
	s.invoices = invoice.New(invoice.Config{Pool: pool, Ledger: s.ledger, Plans: plans, Credit: s.credit, PublicURL: "http://hibari.test", Log: log})
	config := api.Config{Stats: s.stats, Tenants: s.tenants, Ledger: s.ledger, Spend: spend, Plans: plans, Invoices: s.invoices, Credit: s.credit, Hooks: s.hooks, Node: s.node, DB: pool,
		Seats: tenant.NewSeats("requests", 8, 64, 2*time.Second), PublicURL: "http://hibari.test", Version: "test", Log: log}
	for _, f := range change {
		f(&config)
	}
	s.api = api.New(config)
	server := httptest.NewServer(s.api)
	s.url = server.URL
	s.schemas = readDocument(t, s.url)
	var loops sync.WaitGroup
	loops.Go(func() { s.hooks.Run(ctx) })
	t.Cleanup(func() {
		server.Close()
		cancel()
		loops.Wait()
	})
	return s
}

// media stands for the media plane: it has every connection, and closes it in the
// ledger, as the signalling door would.
type media service

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

func (s *media) Do(_ context.Context, _ tenant.ID, o cluster.Order) (any, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.answer == nil {
		return nil, false, nil
	}
	s.orders = append(s.orders, o)
	result, err := s.answer(o)
	return result, true, err
}

// endOf returns why a connection was ended; "" if it was not.
func (s *service) endOf(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended[id]
}

// caller is a tenant's server with an API key.
type caller struct {
	*service
	t     *testing.T
	key   string
	made  tenant.Created
	scope tenant.Scope
}

// caller makes a tenant and is its server.
func (s *service) caller(t *testing.T, name string) *caller {
	t.Helper()
	made, err := s.tenants.CreateTenant(t.Context(), tenant.NewTenant{Name: name, Email: name + "@example.com", Password: "larks sing at dawn"})
	if err != nil {
		t.Fatal(err)
	}
	return &caller{s, t, made.APIKey, made, tenant.OperatorScope(made.Tenant)}
}

// as is the same tenant's server with a key of another role.
func (c *caller) as(role tenant.MemberRole) *caller {
	c.t.Helper()
	key, _, err := c.tenants.CreateAPIKey(c.t.Context(), c.scope, string(role), role)
	if err != nil {
		c.t.Fatal(err)
	}
	return &caller{c.service, c.t, key, c.made, c.scope}
}

// reply is what the server said.
type reply struct {
	t      *testing.T
	status int
	header http.Header
	body   []byte
}

// do asks for something. body is sent as JSON, a string as it stands; nil is no
// body. What the answer must look like is looked up in the OpenAPI document.
func (c *caller) do(method, path string, body any, header ...string) reply {
	c.t.Helper()
	var sent io.Reader
	switch v := body.(type) {
	case nil:
	case string:
		sent = strings.NewReader(v)
	default:
		text, err := json.Marshal(body)
		if err != nil {
			c.t.Fatal(err)
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, sent)
	if err != nil {
		c.t.Fatal(err)
	}
	if c.key != "" {
		r.Header.Set("Authorization", "Bearer "+c.key)
	}
	if sent != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer w.Body.Close()
	text, err := io.ReadAll(w.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	answered := reply{c.t, w.StatusCode, w.Header, text}
	c.schemas.check(c.t, r, answered)
	return answered
}

func (c *caller) get(path string) reply { c.t.Helper(); return c.do("GET", path, nil) }

// want fails the test unless the answer has this status.
func (r reply) want(status int) reply {
	r.t.Helper()
	if r.status != status {
		r.t.Fatalf("status %d, want %d: %s", r.status, status, r.body)
	}
	return r
}

// into reads the answer into v.
func (r reply) into(v any) {
	r.t.Helper()
	if err := json.Unmarshal(r.body, v); err != nil {
		r.t.Fatalf("%v: %s", err, r.body)
	}
}

// object reads the answer.
func (r reply) object() map[string]any {
	r.t.Helper()
	var v map[string]any
	r.into(&v)
	return v
}

// items reads the answer as a page.
func (r reply) items() []map[string]any {
	r.t.Helper()
	var p struct{ Items []map[string]any }
	r.into(&p)
	return p.Items
}

// next is the cursor of the next page; "": none.
func (r reply) next() string {
	r.t.Helper()
	var p struct{ Next *string }
	r.into(&p)
	if p.Next == nil {
		return ""
	}
	return *p.Next
}

// problem fails the test unless the answer is a problem document of this status
// and code.
func (r reply) problem(status int, code tenant.Code) api.Problem {
	r.t.Helper()
	var p api.Problem
	if json.Unmarshal(r.body, &p) != nil || r.status != status || p.Status != status || p.Code != code || p.Detail == "" ||
		p.Title != http.StatusText(status) || r.header.Get("Content-Type") != "application/problem+json" {
		r.t.Fatalf("status %d, want %d %s: %s", r.status, status, code, r.body)
	}
	return p
}

// open lets a client into a channel, with media, and returns its connection id
// and token.
func (c *caller) open(channel string, role tenant.Role) (id, token string) {
	c.t.Helper()
	ctx := c.t.Context()
	token, err := c.tenants.SignToken(ctx, c.scope, tenant.TokenRequest{Channel: channel, Roles: []string{string(role)}})
	if err != nil {
		c.t.Fatal(err)
	}
	claim, _, err := c.tenants.Verify(ctx, tenant.TokenWish{Token: token, Channel: channel, Role: role})
	if err != nil {
		c.t.Fatal(err)
	}
	id = tenant.NewID()
	_, err = c.ledger.Open(ctx, c.node.ID(), tenant.Opening{ConnectionID: id, Tenant: claim.Tenant, Channel: channel, Role: role,
		ClientID: "client-of-" + channel, Protocol: "sora", KeyID: claim.KeyID, TokenHash: claim.TokenHash, TokenExpiresAt: claim.ExpiresAt,
		Metadata: json.RawMessage(`{"seat":7}`), RemoteAddress: "192.0.2.7", UserAgent: "test"})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.ledger.Connected(ctx, id, 0); err != nil {
		c.t.Fatal(err)
	}
	return id, token
}

// document is the OpenAPI document, by which every answer is judged.
type document struct {
	Paths    map[string]map[string]described
	compiler *jsonschema.Compiler

	mu       sync.Mutex
	compiled map[string]*jsonschema.Schema // Guarded by mu
}

type described struct {
	OperationID string `json:"operationId"`
	Summary     string
	Description string
	Security    []map[string][]string
	Parameters  []struct {
		Name, In, Description string
		Required              bool
		Schema                json.RawMessage
	}
	RequestBody struct {
		Content map[string]struct{ Schema json.RawMessage }
	} `json:"requestBody"`
	Responses map[string]struct {
		Content map[string]struct{ Schema json.RawMessage }
	}
}

// docURL is where the document is for the compiler of schemas.
const docURL = "https://hibari.test/openapi.json"

func readDocument(t *testing.T, url string) *document {
	t.Helper()
	r, err := http.Get(url + "/v1/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	d := &document{compiler: jsonschema.NewCompiler(), compiled: map[string]*jsonschema.Schema{}}
	if err := json.Unmarshal(text, d); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	whole, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource(docURL, whole); err != nil {
		t.Fatal(err)
	}
	return d
}

// schema returns the schema at a JSON pointer into the document.
func (d *document) schema(t *testing.T, parts ...string) *jsonschema.Schema {
	t.Helper()
	pointer := "#"
	for _, part := range parts {
		pointer += "/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(part))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.compiled[pointer]; known != nil {
		return known
	}
	schema, err := d.compiler.Compile(docURL + pointer)
	if err != nil {
		t.Fatalf("no schema at %s: %v", pointer, err)
	}
	d.compiled[pointer] = schema
	return schema
}

// check fails the test for an answer that the document does not foresee.
func (d *document) check(t *testing.T, r *http.Request, a reply) {
	t.Helper()
	path, method := d.match(r.URL.EscapedPath()), strings.ToLower(r.Method)
	operation, ok := d.Paths[path][method]
	if !ok {
		if a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s answers %d and is not in the document", r.Method, r.URL.Path, a.status)
		}
		return
	}
	status := strconv.Itoa(a.status)
	response, ok := operation.Responses[status]
	if !ok {
		t.Errorf("%s %s answers %s, which the document does not foresee: %s", r.Method, path, status, a.body)
		return
	}
	if len(response.Content) == 0 {
		if len(a.body) > 0 {
			t.Errorf("%s %s has a body with %s: %s", r.Method, path, status, a.body)
		}
		return
	}
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if _, ok := response.Content[kind]; !ok {
		t.Errorf("%s %s answers %s as %q, which the document does not foresee", r.Method, path, status, kind)
		return
	}
	if !strings.HasSuffix(kind, "/json") && !strings.HasSuffix(kind, "+json") {
		return
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.body))
	if err == nil {
		err = d.schema(t, "paths", path, method, "responses", status, "content", kind, "schema").Validate(value)
	}
	if err != nil {
		t.Errorf("%s %s answers %s not as the document says: %v\n%s", r.Method, path, status, err, a.body)
	}
}

// match returns the path of the document that a request's path is one of.
func (d *document) match(path string) string {
	asked := strings.Split(path, "/")
	for template := range d.Paths {
		parts := strings.Split(template, "/")
		fits := len(parts) == len(asked)
		for i := 0; fits && i < len(parts); i++ {
			fits = parts[i] == asked[i] || strings.HasPrefix(parts[i], "{") && asked[i] != ""
		}
		if fits {
			return template
		}
	}
	return ""
}
