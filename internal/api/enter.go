package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"github.com/hibari/hibari/internal/tenant"
)

const (
	// maxBody is the largest body of a request in bytes, and maxDepth how many
	// objects and lists may stand in each other in it.
	maxBody  = 64 << 10
	maxDepth = 32
	// requestLimit is how long a request may wait for the database.
	requestLimit = 10 * time.Second
	// bodyLimit is how long a body may take to come.
	bodyLimit = 10 * time.Second
)

// adapter lets every operation in through enter before huma reads it.
type adapter struct{ *API }

// Handle registers an operation.
func (a adapter) Handle(op *huma.Operation, handle func(huma.Context)) {
	a.router.MethodFunc(op.Method, op.Path, func(w http.ResponseWriter, r *http.Request) {
		if slices.Contains(chi.RouteContext(r.Context()).URLParams.Values, "") || checkText("", r.URL.Path) != nil {
			a.notFound(w, r) // nothing has no name, or one that no row could hold
			return
		}
		a.enter(a.operations[op.OperationID], w, r, func(w http.ResponseWriter, r *http.Request) {
			handle(humachi.NewContext(op, r, w))
		})
	})
}

// enter is the way in, in reading order: who asks, may they, and what do they
// send.
func (a *API) enter(o operation, w http.ResponseWriter, r *http.Request, handle http.HandlerFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), requestLimit)
	defer cancel()
	scope, err := Authenticate(ctx, a.Tenants, r)
	if err == nil {
		err = a.limiter.take(scope.Tenant(), w.Header(), time.Now())
	}
	if err == nil {
		err = Allow(scope, o.roles)
	}
	var body []byte
	if err == nil {
		body, err = a.readBody(w, r)
	}
	var key string
	if err == nil {
		key, err = idempotencyKey(r)
	}
	leave := func() {}
	if err == nil {
		leave, err = a.Seats.Take(ctx, scope.Tenant())
	}
	if err != nil {
		Fail(w, r, a.Log, err)
		return
	}
	ctx, leave = tenant.WithSeat(ctx, leave)
	defer leave()
	r = r.WithContext(context.WithValue(ctx, asked{}, &asking{scope, r, a.Log}))
	if key != "" {
		a.once(scope, key, body, w, r, handle)
		return
	}
	handle(w, r)
}

// Authenticate returns what the API key in a request's Authorization header
// opens; tenant.ErrAPIKey without a live one.
func Authenticate(ctx context.Context, tenants *tenant.Store, r *http.Request) (tenant.Scope, error) {
	scheme, key, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		key = ""
	}
	return tenants.AuthenticateAPIKey(ctx, strings.TrimSpace(key))
}

// Allow refuses who has none of the roles.
func Allow(scope tenant.Scope, roles []tenant.MemberRole) error {
	if scope.Role().In(roles...) {
		return nil
	}
	return newProblem(CodeForbidden, "the API key's role may not do this; make a key of another role in the console, under Keys")
}

// readBody puts the request's body, once it is known to be strict JSON, in the
// place of the stream it came by.
func (a *API) readBody(w http.ResponseWriter, r *http.Request) (body []byte, err error) {
	http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyLimit)) // not every writer can: then the server's own limits hold
	body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	http.NewResponseController(w).SetReadDeadline(time.Time{})
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, tenant.Refuse(tenant.TooLarge, "a body has at most %d bytes", maxBody)
	case err != nil:
		return nil, tenant.Refuse(tenant.BadMessage, "the body could not be read to its end")
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if len(body) == 0 {
		r.Header.Del("Content-Type") // curl names one without having any
		return nil, nil
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, newProblem(CodeUnsupportedMediaType, "send the body as JSON, with Content-Type: application/json")
	}
	return body, checkJSON(body)
}

// asked is where a request's context holds its asking.
type asked struct{}

// asking is a request that was let in.
type asking struct {
	// Static.
	scope   tenant.Scope
	request *http.Request
	log     *slog.Logger
}

// told is what the caller is told of err.
func (a *asking) told(err error) error { return told(a.request, a.log, err) }

func askingOf(ctx context.Context) *asking {
	return ctx.Value(asked{}).(*asking) // enter put it there: without it nobody gets here
}
