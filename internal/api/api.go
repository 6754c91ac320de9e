package api

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/stats"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// Config is what the API stands on. All fields but the limits are required.
type Config struct {
	Tenants  *tenant.Store
	Ledger   *billing.Ledger
	Spend    *billing.Spend
	Plans    *billing.Plans
	Invoices *invoice.Invoices
	Credit   *invoice.Credit
	Hooks    *webhooks.Webhooks
	Node     *cluster.Node
	Stats    *stats.Store
	Seats    *tenant.Seats // how many requests of a tenant are answered at once
	Exports  *tenant.Seats // how many files of a tenant are on their way at once; nil: without end
	// DB is where the API writes the audit entries of what it does itself.
	DB *pgxpool.Pool
	// PublicURL is the origin that callers reach us by, without a path.
	PublicURL string
	Version   string
	// RequestRate and RequestBurst bound the requests of a tenant, per second and
	// at once; 0: RequestsPerSecond and RequestBurst.
	RequestRate  float64
	RequestBurst int
	Log          *slog.Logger
}

// API serves /v1. Its methods may be called from any goroutine.
type API struct {
	// Static
	Config
	router     chi.Router
	limiter    *limiter             // locks for itself
	wholes     chan struct{}        // one for each request that is one transaction
	operations map[string]operation // by operation id
	document   []byte               // the OpenAPI document
}

// New returns the API. It panics on an operation that huma can't make sense of:
// a mistake of the program and not of the day.
func New(c Config) *API {
	a := &API{Config: c, router: chi.NewRouter(), limiter: newLimiter(c.RequestRate, c.RequestBurst), operations: map[string]operation{},
		wholes: make(chan struct{}, wholesAtOnce(c.DB.Config().MaxConns))}
	a.router.Use(middleware.GetHead)
	a.router.NotFound(a.notFound)
	a.router.MethodNotAllowed(a.methodNotAllowed)
	described := huma.NewAPI(a.huma(), adapter{a})
	for _, o := range a.table() {
		a.operations[o.id] = o
		o.serve(described, o.huma())
	}
	a.document = document(described.OpenAPI())
	a.router.Get("/v1/openapi.json", a.openAPI)
	return a
}

// ServeHTTP answers everything under /v1.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store") // answers hold secrets and the state of a moment
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	defer a.recoverPanic(w, r)
	// A router inside another's context would take up its routing.
	a.router.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), chi.RouteCtxKey, (*chi.Context)(nil))))
}

// recoverPanic turns a panic in one request into its 500.
func (a *API) recoverPanic(w http.ResponseWriter, r *http.Request) {
	switch v := recover(); v {
	case nil:
	case http.ErrAbortHandler:
		panic(v)
	default:
		a.Log.Error("a request panicked", "method", r.Method, "path", r.URL.Path, "panic", v)
		Fail(w, r, a.Log, newProblem(CodeInternal, "something broke on our side; it has been written to the log"))
	}
}

func (a *API) notFound(w http.ResponseWriter, r *http.Request) {
	Fail(w, r, a.Log, newProblem(CodeNotFound, "there is no such operation; GET /v1/openapi.json lists them"))
}

// methodNotAllowed says which methods the path has (RFC 9110 §15.5.6).
func (a *API) methodNotAllowed(w http.ResponseWriter, r *http.Request) {
	path := r.URL.RawPath
	if path == "" {
		path = r.URL.Path
	}
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodDelete} {
		if a.router.Match(chi.NewRouteContext(), method, path) {
			w.Header().Add("Allow", method)
		}
	}
	Fail(w, r, a.Log, newProblem(CodeMethodNotAllowed, "the path has no such method; the Allow header names those it has"))
}
