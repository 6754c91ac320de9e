package tenant

import (
	"errors"
	"fmt"
)

// Code names why a client or request is refused. The codes are a contract:
// they appear in WebSocket close reasons and in problem documents.
type Code string

// The refusal codes (DESIGN A6).
const (
	TokenInvalid    Code = "token_invalid"
	TokenExpired    Code = "token_expired"
	ChannelDenied   Code = "channel_denied"
	RoleDenied      Code = "role_denied"
	Banned          Code = "banned"
	AuthRejected    Code = "auth_rejected"
	AuthTimeout     Code = "auth_timeout"
	AuthUnavailable Code = "auth_unavailable"
	TenantFull      Code = "tenant_full"
	ChannelFull     Code = "channel_full"
	SpendCapReached Code = "spend_cap_reached"
	TenantSuspended Code = "tenant_suspended"
	Draining        Code = "draining"
	Unavailable     Code = "unavailable"
	BadMessage      Code = "bad_message"
	TooLarge        Code = "too_large"
	RateLimited     Code = "rate_limited"
)

// Refusal is an error meant for the client: a code, and a sentence that says
// what to do next. It never carries a secret.
type Refusal struct {
	Code         Code
	Detail       string
	Current, Max int // tenant_full, channel_full: how many, of how many
	// Word is what the tenant's own server wants the client to be told, as it
	// stands and instead of the rest (auth_rejected); "": nothing.
	Word string
	// Internal is what only the tenant is told, in its events, instead of Detail:
	// where its own server failed; "": Detail.
	Internal string
}

// Refuse makes a Refusal whose detail is formatted.
func Refuse(code Code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// AsRefusal returns the refusal that an error is; nil: it is none.
func AsRefusal(err error) *Refusal {
	var refusal *Refusal
	errors.As(err, &refusal)
	return refusal
}

// Error returns "code: detail".
func (r *Refusal) Error() string { return string(r.Code) + ": " + r.Detail }

// ForClient returns what the client is told, in one line.
func (r *Refusal) ForClient() string {
	if r.Word != "" {
		return r.Word
	}
	return r.Error()
}

// ForTenant returns the refusal as the tenant is told of it.
func (r *Refusal) ForTenant() *Refusal {
	if r.Internal == "" {
		return r
	}
	told := *r
	told.Detail, told.Internal = r.Internal, ""
	return &told
}
