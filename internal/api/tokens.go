package api

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hibari/hibari/internal/tenant"
)

// object is any JSON object, kept as it was written: numbers lose no digit.
type object json.RawMessage

// Schema says that it is an object.
func (object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}

// UnmarshalJSON keeps the text.
func (o *object) UnmarshalJSON(text []byte) error {
	*o = append((*o)[:0], text...)
	return nil
}

// newToken is an access token that was signed just now.
type newToken struct {
	Token     string    `json:"token" doc:"The access token. It is in this answer only."`
	ExpiresAt time.Time `json:"expires_at" doc:"Until when a client may come in with it; it may stay longer."`
}

func (a *API) createAccessToken(ctx context.Context, scope tenant.Scope, in *struct {
	Body struct {
		Channel     string `json:"channel_id" minLength:"1" maxLength:"255" example:"hello" doc:"The channel's exact name, or a prefix that ends in *."`
		Role        string `json:"role,omitempty" enum:"sendonly,recvonly,sendrecv" doc:"Absent: any."`
		ClientID    string `json:"client_id,omitempty" maxLength:"255" doc:"Absent: the client may choose."`
		TTL         int64  `json:"ttl,omitempty" minimum:"1" maximum:"86400" default:"600" doc:"For how many seconds a client may come in with it."`
		MaxDuration int64  `json:"max_duration,omitempty" minimum:"0" maximum:"2592000" doc:"After how many seconds a connection ends; absent or 0: never."`
		Metadata    object `json:"metadata,omitempty" doc:"Handed to webhooks and events; at most 4 KiB."`
	}
}) (t newToken, err error) {
	request := tenant.TokenRequest{
		Channel: in.Body.Channel, Role: in.Body.Role, ClientID: in.Body.ClientID,
		TTL:         time.Duration(in.Body.TTL) * time.Second,
		MaxDuration: time.Duration(in.Body.MaxDuration) * time.Second,
	}
	if in.Body.Metadata != nil {
		request.Metadata = json.RawMessage(in.Body.Metadata)
	}
	t.ExpiresAt = time.Now().Add(request.TTL).Truncate(time.Second).UTC()
	t.Token, err = a.Tenants.SignToken(ctx, scope, request)
	return t, renamed(err, "channel_id", "channel")
}

// inQuery is err about a field that stood in the query.
func inQuery(err error) error {
	var field *tenant.FieldError
	if !errors.As(err, &field) {
		return err
	}
	return invalid("query", field.Field, field.Problem)
}

// renamed is err about a field that callers know by another name; about any
// field if none is named.
func renamed(err error, name string, fields ...string) error {
	var field *tenant.FieldError
	if !errors.As(err, &field) || len(fields) > 0 && field.Field != fields[0] {
		return err
	}
	return &tenant.FieldError{Field: name, Problem: field.Problem}
}
