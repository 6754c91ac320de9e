package signaling

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/hibari/hibari/internal/tenant"
)

// statuses says which HTTP status each refusal code has. A full licence is a
// matter of time, so it is not 403: somebody will leave.
var statuses = map[tenant.Code]int{
	tenant.TokenInvalid:    http.StatusUnauthorized,
	tenant.TokenExpired:    http.StatusUnauthorized,
	tenant.ChannelDenied:   http.StatusForbidden,
	tenant.RoleDenied:      http.StatusForbidden,
	tenant.Banned:          http.StatusForbidden,
	tenant.AuthRejected:    http.StatusForbidden,
	tenant.TenantSuspended: http.StatusForbidden,
	tenant.SpendCapReached: http.StatusPaymentRequired,
	tenant.TenantFull:      http.StatusTooManyRequests,
	tenant.ChannelFull:     http.StatusTooManyRequests,
	tenant.RateLimited:     http.StatusTooManyRequests,
	tenant.BadMessage:      http.StatusBadRequest,
	tenant.TooLarge:        http.StatusRequestEntityTooLarge,
	tenant.AuthTimeout:     http.StatusServiceUnavailable,
	tenant.AuthUnavailable: http.StatusServiceUnavailable,
	tenant.Draining:        http.StatusServiceUnavailable,
	tenant.Unavailable:     http.StatusServiceUnavailable,
}

// retryAfter is how many seconds a client should wait before it tries again; 0:
// trying again is of no use.
func retryAfter(code tenant.Code) int {
	switch code {
	case tenant.Draining: // the next request reaches another node
		return 1
	case tenant.Unavailable, tenant.AuthTimeout, tenant.AuthUnavailable, tenant.RateLimited:
		return 5
	case tenant.TenantFull, tenant.ChannelFull:
		return 30
	}
	return 0
}

// problem is a refusal whose HTTP status is not that of its code: several ways to
// misuse HTTP are bad_message.
type problem struct {
	*tenant.Refusal
	status int
}

func (p problem) Unwrap() error { return p.Refusal }

// badHTTP makes one.
func badHTTP(status int, format string, args ...any) problem {
	return problem{tenant.Refuse(tenant.BadMessage, format, args...), status}
}

// refuseHTTP refuses a request as a problem document (RFC 9457).
func refuseHTTP(w http.ResponseWriter, r *tenant.Refusal) {
	writeProblem(w, problem{r, statuses[r.Code]})
}

func writeProblem(w http.ResponseWriter, p problem) {
	h := w.Header()
	switch p.status {
	case http.StatusUnauthorized: // RFC 6750 §3
		challenge := `Bearer realm="hibari"`
		if p.Refusal != errNoToken {
			challenge += `, error="invalid_token"`
		}
		h.Set("WWW-Authenticate", challenge)
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(retryAfter(p.Code)))
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	detail := p.Detail
	if p.Word != "" { // the tenant's own
		detail = p.Word
	}
	w.WriteHeader(p.status)
	json.NewEncoder(w).Encode(struct { // a failure means nobody listens
		Type    string      `json:"type"`
		Title   string      `json:"title"`
		Status  int         `json:"status"`
		Code    tenant.Code `json:"code"`
		Detail  string      `json:"detail"`
		Current int         `json:"current,omitempty"`
		Max     int         `json:"max,omitempty"`
	}{"about:blank", http.StatusText(p.status), p.status, p.Code, detail, p.Current, p.Max})
}
