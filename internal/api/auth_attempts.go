package api

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// AuthAttempt is one question to the auth webhook.
type AuthAttempt struct {
	ID           string      `json:"id" example:"aut_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	At           time.Time   `json:"at" doc:"When the client came."`
	ConnectionID string      `json:"connection_id"`
	Channel      string      `json:"channel_id"`
	ClientID     string      `json:"client_id"`
	Role         tenant.Role `json:"role" enum:"sendonly,recvonly,sendrecv"`
	Protocol     string      `json:"protocol" example:"sora"`
	Test         bool        `json:"test" doc:"A test question: nobody came."`
	Decision     string      `json:"decision" enum:"allowed,rejected,timeout,unavailable,bad_response,breaker_open" doc:"rejected: the server's word; breaker_open: not asked, since it has not answered for a while."`
	Status       *int        `json:"status" doc:"The HTTP status of the answer; null: none."`
	DurationMS   int64       `json:"duration_ms" doc:"How long the client waited."`
	Reason       *string     `json:"reason" doc:"Why the client was kept out; null: it was not."`
	ErrorClass   *string     `json:"error_class" example:"timeout" doc:"The kind of failure; null: it was answered."`
	AnswerHead   string      `json:"answer_head" doc:"The first 4 KiB of the answer, without access token and metadata."`
}

func showAuthAttempt(a webhooks.AuthAttempt) AuthAttempt {
	shown := AuthAttempt{
		ID: a.ID, At: a.At.UTC(), ConnectionID: a.ConnectionID, Channel: a.Channel, ClientID: a.ClientID, Role: a.Role, Protocol: a.Protocol,
		Test: a.Test, Decision: string(a.Decision), DurationMS: a.DurationMS, Reason: textOrNull(a.Reason),
		ErrorClass: textOrNull(string(a.ErrorClass)), AnswerHead: a.AnswerHead,
	}
	if a.Status != 0 {
		shown.Status = &a.Status
	}
	return shown
}

func (a *API) listAuthAttempts(ctx context.Context, scope tenant.Scope, in *struct {
	Paging
	Decision     string `query:"decision" enum:"allowed,rejected,timeout,unavailable,bad_response,breaker_open" doc:"Only those of which this came."`
	Channel      string `query:"channel_id" maxLength:"255" doc:"Only those about clients of this channel."`
	ConnectionID string `query:"connection_id" maxLength:"64" doc:"Only the one about this connection."`
	ClientID     string `query:"client_id" maxLength:"255" doc:"Only those about this client."`
	Status       int    `query:"status" minimum:"100" maximum:"999" doc:"Only those that were answered with this HTTP status."`
	From         string `query:"from" maxLength:"40" example:"2026-11-01" doc:"Not before this day (UTC) or time (RFC 3339)."`
	To           string `query:"to" maxLength:"40" example:"2026-12-01" doc:"Before this day (UTC) or time (RFC 3339)."`
}) (p page[AuthAttempt], err error) {
	q := webhooks.AuthQuery{Decision: webhooks.AuthDecision(in.Decision), Channel: in.Channel, ConnectionID: in.ConnectionID, ClientID: in.ClientID,
		Status: in.Status, Limit: in.Limit + 1}
	if q.Before, err = in.after("auth-attempts"); err != nil {
		return p, err
	}
	if in.From != "" {
		if q.From, err = readTime("from", in.From, time.UTC); err != nil {
			return p, err
		}
	}
	if in.To != "" {
		if q.Until, err = readTime("to", in.To, time.UTC); err != nil {
			return p, err
		}
	}
	rows, err := a.Hooks.AuthAttempts(ctx, scope, q)
	if field := (*tenant.FieldError)(nil); errors.As(err, &field) {
		return p, errCursor // all else was checked
	}
	return pageOf(rows, in.Limit, showAuthAttempt, func(a webhooks.AuthAttempt) string { return newCursor("auth-attempts", a.AuthPlace()) }), err
}

func (a *API) getAuthAttempt(ctx context.Context, scope tenant.Scope, in *struct {
	ID string `path:"id" maxLength:"64" example:"aut_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
}) (AuthAttempt, error) {
	one, err := a.Hooks.AuthAttempt(ctx, scope, in.ID)
	return showAuthAttempt(one), err
}

// authTrial is the answer to a test question.
type authTrial struct {
	AuthAttempt
	Grant   json.RawMessage `json:"grant" doc:"What a client would be granted, by name; null: it would not come in."`
	Refusal *string         `json:"refusal" doc:"What a client would be told; null: it would come in."`
}

func (a *API) testAuthWebhook(ctx context.Context, scope tenant.Scope, _ *none) (authTrial, error) {
	hook, err := a.Tenants.AuthWebhook(ctx, scope)
	if err != nil {
		return authTrial{}, err
	}
	trial, err := a.Hooks.AskTest(ctx, scope, hook)
	if err != nil {
		return authTrial{}, err
	}
	shown := authTrial{showAuthAttempt(trial.AuthAttempt), trial.Grant, textOrNull(trial.Refusal)}
	if shown.Grant == nil {
		shown.Grant = json.RawMessage("null")
	}
	return shown, nil
}
