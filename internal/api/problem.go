package api

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// Problem is a problem document (RFC 9457), and an error that is told as one.
// Code is what programs read; Detail tells a developer what to do next.
type Problem struct {
	Type   string      `json:"type" example:"about:blank" doc:"Always about:blank: code says which problem it is."`
	Title  string      `json:"title" example:"Not Found" doc:"The HTTP status in words."`
	Status int         `json:"status" example:"404" doc:"The HTTP status."`
	Code   tenant.Code `json:"code" example:"not_found" doc:"What programs tell problems apart by."`
	Detail string      `json:"detail" example:"there is no such thing in this tenant" doc:"What is wrong and what to do next, for a developer."`
	// Errors says what is wrong field by field; nil: it is not about fields.
	Errors []FieldProblem `json:"errors,omitempty" doc:"What is wrong, field by field."`
	// Current and Max come with tenant_full and channel_full.
	Current int `json:"current,omitempty" doc:"With tenant_full and channel_full: how many connections there are."`
	Max     int `json:"max,omitempty" doc:"With tenant_full and channel_full: how many there may be."`

	// RetentionFrom comes with expired.
	RetentionFrom int64 `json:"retention_from,omitempty" doc:"With expired: the seq of the first event that is still kept."`

	retryAfter int // seconds; 0: trying again is of no use
}

// FieldProblem is what is wrong with one field. It never repeats the value,
// which may be a secret.
type FieldProblem struct {
	In     string `json:"in" enum:"body,query,path,header" doc:"Where the field is."`
	Field  string `json:"field" example:"url" doc:"Its name; inside objects and lists a path, such as types[0]. Empty: the body itself."`
	Detail string `json:"detail" example:"Start it with https://." doc:"What is wrong with it."`
}

// Codes that only HTTP callers meet, beside those of package tenant.
const (
	CodeUnauthorized          tenant.Code = "unauthorized"
	CodeForbidden             tenant.Code = "forbidden"
	CodeNotFound              tenant.Code = "not_found"
	CodeMethodNotAllowed      tenant.Code = "method_not_allowed"
	CodeConflict              tenant.Code = "conflict"
	CodeLimitReached          tenant.Code = "limit_reached"
	CodeExpired               tenant.Code = "expired"
	CodeUnsupportedMediaType  tenant.Code = "unsupported_media_type"
	CodeInvalid               tenant.Code = "invalid"
	CodeIdempotencyMismatch   tenant.Code = "idempotency_key_reused"
	CodeIdempotencyInProgress tenant.Code = "idempotency_in_progress"
	CodeInternal              tenant.Code = "internal"
)

// statuses says which HTTP status each code has.
var statuses = map[tenant.Code]int{
	CodeUnauthorized:          http.StatusUnauthorized,
	CodeForbidden:             http.StatusForbidden,
	CodeNotFound:              http.StatusNotFound,
	CodeMethodNotAllowed:      http.StatusMethodNotAllowed,
	CodeConflict:              http.StatusConflict,
	CodeLimitReached:          http.StatusConflict,
	CodeExpired:               http.StatusGone,
	CodeUnsupportedMediaType:  http.StatusUnsupportedMediaType,
	CodeInvalid:               http.StatusUnprocessableEntity,
	CodeIdempotencyMismatch:   http.StatusUnprocessableEntity,
	CodeIdempotencyInProgress: http.StatusConflict,
	CodeInternal:              http.StatusInternalServerError,
	tenant.TokenInvalid:       http.StatusUnauthorized,
	tenant.TokenExpired:       http.StatusUnauthorized,
	tenant.ChannelDenied:      http.StatusForbidden,
	tenant.RoleDenied:         http.StatusForbidden,
	tenant.Banned:             http.StatusForbidden,
	tenant.AuthRejected:       http.StatusForbidden,
	tenant.AuthTimeout:        http.StatusServiceUnavailable,
	tenant.AuthUnavailable:    http.StatusServiceUnavailable,
	tenant.TenantFull:         http.StatusConflict,
	tenant.ChannelFull:        http.StatusConflict,
	tenant.SpendCapReached:    http.StatusPaymentRequired,
	tenant.TenantSuspended:    http.StatusForbidden,
	tenant.Draining:           http.StatusServiceUnavailable,
	tenant.Unavailable:        http.StatusServiceUnavailable,
	tenant.BadMessage:         http.StatusBadRequest,
	tenant.TooLarge:           http.StatusRequestEntityTooLarge,
	tenant.RateLimited:        http.StatusTooManyRequests,
}

// retryAfter is how many seconds a caller should wait who was told nothing
// more exact.
const retryAfter = 5

// newProblem makes the problem of a code.
func newProblem(code tenant.Code, detail string) *Problem {
	status := statuses[code]
	p := &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Code: code, Detail: detail}
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		p.retryAfter = retryAfter
	}
	return p
}

// invalid makes the problem of one field.
func invalid(in, field, detail string) *Problem {
	p := newProblem(CodeInvalid, "some fields are not as they must be; see errors")
	p.Errors = []FieldProblem{{In: in, Field: field, Detail: detail}}
	return p
}

// ProblemOf is the one table from errors to what callers are told. An error
// that it does not know is ours: the caller learns nothing of it, the log must.
func ProblemOf(err error) (p *Problem, known bool) {
	var (
		refusal *tenant.Refusal
		field   *tenant.FieldError
	)
	switch {
	case errors.As(err, &p):
		return p, true
	case errors.As(err, &refusal):
		p = newProblem(refusal.Code, refusal.Detail)
		p.Current, p.Max = refusal.Current, refusal.Max
		return p, true
	case errors.As(err, &field):
		return invalid("body", field.Field, field.Problem), true
	case errors.Is(err, tenant.ErrAPIKey):
		return newProblem(CodeUnauthorized, "send a live API key as Authorization: Bearer hib_live_…; the console makes them under Keys"), true
	case errors.Is(err, tenant.ErrNotFound), errors.Is(err, invoice.ErrNotFound):
		return newProblem(CodeNotFound, "there is no such thing in this tenant; it may have ended or been deleted already"), true
	case errors.Is(err, tenant.ErrNoSigningKey):
		return newProblem(CodeConflict, "the tenant has no active HS256 signing key: make one with POST /v1/signing-keys"), true
	case errors.Is(err, webhooks.ErrDisabled):
		return newProblem(CodeConflict, "the webhook endpoint is disabled: enable it with PATCH first"), true
	case errors.Is(err, billing.ErrLicenceChanged):
		return newProblem(CodeConflict, "another licence is in force than the one named: GET /v1/licence and decide anew"), true
	case errors.Is(err, tenant.ErrOwnersOnly):
		return newProblem(CodeForbidden, "only an owner may do this, and API keys are none: an owner does it in the console, under Members"), true
	case errors.Is(err, tenant.ErrLastOwner), errors.Is(err, tenant.ErrYourself):
		return newProblem(CodeConflict, err.Error()), true
	case errors.Is(err, tenant.ErrTooManyMembers):
		return newProblem(CodeLimitReached, "there are as many members and invitations as there may be: remove or cancel one first"), true
	case errors.Is(err, tenant.ErrTooManyKeys), errors.Is(err, tenant.ErrTooManyBans), errors.Is(err, webhooks.ErrTooMany):
		return newProblem(CodeLimitReached, "there are as many as there may be: delete or revoke one first"), true
	case errors.Is(err, webhooks.ErrTooManyReplays):
		return newProblem(CodeLimitReached, "as many replays run as may: wait for one to end, or cancel it with POST /v1/replays/{id}/cancel"), true
	case tenant.DatabaseAway(err):
		return newProblem(tenant.Unavailable, "the platform's database does not answer; calls go on, try again in a few seconds"), true
	}
	return newProblem(CodeInternal, "something failed on our side; try again, and tell the operator if it goes on"), false
}

// Fail answers with the problem document of err, and logs what is not the
// caller's doing.
func Fail(w http.ResponseWriter, r *http.Request, log *slog.Logger, err error) {
	p := told(r, log, err)
	maps.Copy(w.Header(), p.GetHeaders())
	w.Header().Set("Content-Type", p.ContentType("application/json"))
	w.WriteHeader(p.Status)
	json.NewEncoder(w).Encode(p) // an error here is the caller's connection
}

// told returns what the caller is told of err, and logs what is not the
// caller's doing.
func told(r *http.Request, log *slog.Logger, err error) *Problem {
	p, known := ProblemOf(err)
	switch {
	case r.Context().Err() != nil && p.Status >= http.StatusInternalServerError && !tenant.DatabaseAway(err):
		log.Debug("a caller left before the answer", "method", r.Method, "path", r.URL.Path)
	case !known:
		log.Error("request failed", "method", r.Method, "path", r.URL.Path, "err", err)
	case tenant.DatabaseAway(err):
		log.Warn("request found no database", "method", r.Method, "path", r.URL.Path, "err", err)
	}
	return p
}

// Error returns "code: detail".
func (p *Problem) Error() string { return string(p.Code) + ": " + p.Detail }

// GetStatus returns the HTTP status, for huma.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType makes JSON into a problem document, for huma.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// GetHeaders returns the headers that go with the status.
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	if p.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="hibari"`)
	}
	if p.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(p.retryAfter))
	}
	return h
}

// codeOf is the code of a status that huma chose itself.
func codeOf(status int) tenant.Code {
	switch status {
	case http.StatusUnprocessableEntity:
		return CodeInvalid
	case http.StatusRequestEntityTooLarge:
		return tenant.TooLarge
	case http.StatusUnsupportedMediaType:
		return CodeUnsupportedMediaType
	case http.StatusInternalServerError:
		return CodeInternal
	}
	return tenant.BadMessage
}

// problemOfHuma makes what huma refuses into a problem. The fields' values,
// which huma would repeat, are left out.
func problemOfHuma(status int, message string, errs ...error) huma.StatusError {
	p := newProblem(codeOf(status), message)
	for _, err := range errs {
		var known *Problem
		if errors.As(err, &known) {
			p.Errors = append(p.Errors, known.Errors...)
			continue
		}
		if detailed, ok := err.(huma.ErrorDetailer); ok {
			detail := detailed.ErrorDetail()
			in, field := whereOf(detail.Location)
			p.Errors = append(p.Errors, FieldProblem{In: in, Field: field, Detail: detail.Message})
		}
	}
	if p.Code == CodeInvalid {
		p.Detail = "some fields are not as they must be; see errors"
	}
	return p
}

// whereOf splits huma's location, such as body.types[0].
func whereOf(location string) (in, field string) {
	in, field, _ = strings.Cut(location, ".")
	if !strings.HasPrefix(location, "body") {
		return in, field
	}
	// An element of a body that is a list: body[0].
	return "body", strings.TrimPrefix(strings.TrimPrefix(location, "body"), ".")
}

// huma keeps these for the whole program, and nobody else here uses huma: one
// shape of problems, names of fields as they are written, and lists that are
// empty rather than null.
func init() {
	huma.NewError = problemOfHuma
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
}
