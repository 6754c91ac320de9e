package main

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// problem is a problem document (RFC 9457). Code is what programs read;
// Detail tells a developer what to do next.
type problem struct {
	Type   string      `json:"type"`
	Title  string      `json:"title"`
	Status int         `json:"status"`
	Code   tenant.Code `json:"code"`
	Detail string      `json:"detail"`
	// Current and Max come with tenant_full and channel_full.
	Current int `json:"current,omitempty"`
	Max     int `json:"max,omitempty"`
}

// Codes that only HTTP callers meet, beside those of package tenant.
const (
	codeUnauthorized tenant.Code = "unauthorized"
	codeNotFound     tenant.Code = "not_found"
	codeInternal     tenant.Code = "internal"
)

// statuses says which HTTP status each code has.
var statuses = map[tenant.Code]int{
	codeUnauthorized:       http.StatusUnauthorized,
	codeNotFound:           http.StatusNotFound,
	codeInternal:           http.StatusInternalServerError,
	tenant.TokenInvalid:    http.StatusUnauthorized,
	tenant.TokenExpired:    http.StatusUnauthorized,
	tenant.ChannelDenied:   http.StatusForbidden,
	tenant.RoleDenied:      http.StatusForbidden,
	tenant.Banned:          http.StatusForbidden,
	tenant.AuthRejected:    http.StatusForbidden,
	tenant.AuthTimeout:     http.StatusServiceUnavailable,
	tenant.AuthUnavailable: http.StatusServiceUnavailable,
	tenant.TenantFull:      http.StatusConflict,
	tenant.ChannelFull:     http.StatusConflict,
	tenant.SpendCapReached: http.StatusPaymentRequired,
	tenant.TenantSuspended: http.StatusForbidden,
	tenant.Draining:        http.StatusServiceUnavailable,
	tenant.Unavailable:     http.StatusServiceUnavailable,
	tenant.BadMessage:      http.StatusBadRequest,
	tenant.TooLarge:        http.StatusRequestEntityTooLarge,
	tenant.RateLimited:     http.StatusTooManyRequests,
}

// asProblem is the one table from errors to what callers are told. An error
// it does not know is ours: the caller learns nothing of it, the log does.
func asProblem(err error) (p problem, known bool) {
	var refusal *tenant.Refusal
	switch {
	case errors.As(err, &refusal):
	case errors.Is(err, tenant.ErrAPIKey):
		refusal = tenant.Refuse(codeUnauthorized, "send a live API key as Authorization: Bearer hib_live_…; the console makes them under Keys")
	case errors.Is(err, billing.ErrNotFound), errors.Is(err, tenant.ErrNotFound):
		refusal = tenant.Refuse(codeNotFound, "there is no such live connection or channel in this tenant; it may have ended already")
	case tenant.DatabaseAway(err):
		refusal = tenant.Refuse(tenant.Unavailable, "the platform's database does not answer; calls go on, try again in a few seconds")
	default:
		return problem{
			Type: "about:blank", Title: http.StatusText(http.StatusInternalServerError), Status: http.StatusInternalServerError,
			Code: codeInternal, Detail: "something failed on our side; try again, and tell the operator if it goes on",
		}, false
	}
	status := statuses[refusal.Code]
	return problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Code: refusal.Code,
		Detail: refusal.Detail, Current: refusal.Current, Max: refusal.Max,
	}, true
}

// fail answers with the problem document of err.
func (p *platform) fail(w http.ResponseWriter, r *http.Request, err error) {
	doc, known := asProblem(err)
	switch {
	case !known:
		p.log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	case tenant.DatabaseAway(err):
		p.log.Warn("request found no database", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	switch doc.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="hibari"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(doc.Status)
	json.NewEncoder(w).Encode(doc) // an error here is the caller's connection
}

// reply answers 200 with v as JSON.
func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // an error here is the caller's connection
}
