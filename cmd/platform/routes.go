package main

import (
	"context"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
)

// routes is every URL but the console's own, which ui lists in its one table.
func (p *platform) routes() http.Handler {
	r := chi.NewRouter()
	r.Use(p.recoverPanics, p.withCaller)
	r.Use(middleware.GetHead) // load balancers ask for health with HEAD

	// Clients: a token in the first message, or request, says who they are.
	r.Get("/signaling", p.door.Signaling)
	r.Get("/ayame", p.door.Ayame)
	r.Handle("/whip/*", http.HandlerFunc(p.door.WHIP))
	r.Handle("/whep/*", http.HandlerFunc(p.door.WHEP))

	// A tenant's server: API key.
	r.Handle("/v1", p.api)
	r.Handle("/v1/*", p.api)
	r.Get("/stream", p.withAPIKey(p.stream))
	r.Post("/", p.withAPIKey(p.inTurn(p.action)))

	// Operators.
	r.Get("/livez", func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) })
	r.Get("/readyz", p.ready)
	r.Method(http.MethodGet, "/metrics", p.metrics())

	// People.
	p.console.Routes(r)
	r.NotFound(p.console.NotFound)
	return r
}

// askLimit is how long a tenant's server waits for the database at most.
const askLimit = 10 * time.Second

// withAPIKey lets a request in whose Authorization header has a live API key
// and hands on the scope it proves.
func (p *platform) withAPIKey(next func(http.ResponseWriter, *http.Request, tenant.Scope)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), askLimit)
		scope, err := api.Authenticate(ctx, p.tenants, r)
		cancel()
		if err != nil {
			p.fail(w, r, err)
			return
		}
		next(w, r, scope)
	}
}

// How many requests of one tenant are answered at once on this node, how many
// more wait for their turn, and for how long: the database's connections are
// everybody's.
const (
	requestsAtOnce  = 8
	requestsWaiting = 64
	requestPatience = 2 * time.Second
)

// exportsAtOnce is how many files of one tenant are on their way at once from this
// node. They have seats of their own, because each may take as long as its client reads.
const exportsAtOnce = 4

// How many actions a tenant's servers may ask for on this node, a second in the
// long run and at once: as many as of REST. The processors are everybody's, too.
const (
	actionsPerSecond = 50
	actionBurst      = 200
)

// inTurn lets a request of a tenant's server go on when the tenant has a seat.
func (p *platform) inTurn(next func(http.ResponseWriter, *http.Request, tenant.Scope)) func(http.ResponseWriter, *http.Request, tenant.Scope) {
	return func(w http.ResponseWriter, r *http.Request, scope tenant.Scope) {
		if !p.paces.Allow(scope.Tenant()) {
			p.fail(w, r, tenant.Refuse(tenant.RateLimited, "a tenant may ask for %d actions at once and then %d each second; slow down", actionBurst, actionsPerSecond))
			return
		}
		leave, err := p.requests.Take(r.Context(), scope.Tenant())
		if err != nil {
			p.fail(w, r, err)
			return
		}
		ctx, leave := tenant.WithSeat(r.Context(), leave)
		defer leave()
		next(w, r.WithContext(ctx), scope)
	}
}

// ready answers whether this node may take new channels; livez is about the
// process only, so that a database outage does not get calls killed.
func (p *platform) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if !p.node.Live() {
		p.fail(w, r, tenant.Refuse(tenant.Unavailable, "the node's lease is not renewed; is Postgres reachable?"))
		return
	}
	if p.node.Draining() {
		p.fail(w, r, tenant.Refuse(tenant.Draining, "the node is drained: it takes no new channels"))
		return
	}
	if err := p.db.Ping(ctx); err != nil {
		p.fail(w, r, tenant.Refuse(tenant.Unavailable, "Postgres does not answer"))
		return
	}
	w.Write([]byte("ready\n"))
}

// recoverPanics turns a panic in one request into its 500.
func (p *platform) recoverPanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler:
				panic(v)
			default:
				// Not the path: that of a WHIP session is its key.
				p.log.Error("a request panicked", "method", r.Method, "route", chi.RouteContext(r.Context()).RoutePattern(), "panic", v)
				http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
			}
		}()
		next.ServeHTTP(w, r)
	})
}
