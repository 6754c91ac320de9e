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

// roles are one role or a list of them, as the claim has them.
type roles []string

// Schema says that a list may also be one role.
func (roles) Schema(huma.Registry) *huma.Schema {
	role := func() *huma.Schema {
		return &huma.Schema{Type: huma.TypeString, Enum: []any{string(tenant.SendOnly), string(tenant.RecvOnly), string(tenant.SendRecv)}}
	}
	list := &huma.Schema{Type: huma.TypeArray, Items: role(), MinItems: new(1), UniqueItems: true}
	one := &huma.Schema{OneOf: []*huma.Schema{role(), list}, Description: "One role, or a list of those of which the client may choose. Absent: any."}
	one.PrecomputeMessages()
	return one
}

// UnmarshalJSON reads both.
func (r *roles) UnmarshalJSON(text []byte) error {
	var role string
	if json.Unmarshal(text, &role) == nil {
		*r = roles{role}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(r))
}

// newToken is an access token that was signed just now.
type newToken struct {
	Token     string    `json:"token" doc:"The access token. It is in this answer only."`
	ExpiresAt time.Time `json:"expires_at" doc:"Until when a client may come in with it; it may stay longer."`
}

func (a *API) createAccessToken(ctx context.Context, scope tenant.Scope, in *struct {
	Body struct {
		Channel               string            `json:"channel_id" minLength:"1" maxLength:"255" example:"hello" doc:"The channel's exact name, or a prefix that ends in *."`
		Role                  roles             `json:"role,omitempty"`
		ClientID              string            `json:"client_id,omitempty" maxLength:"255" doc:"Absent: the client may choose."`
		TTL                   int64             `json:"ttl,omitempty" minimum:"1" maximum:"86400" default:"600" doc:"For how many seconds a client may come in with it."`
		MaxDuration           int64             `json:"max_duration,omitempty" minimum:"0" maximum:"2592000" doc:"After how many seconds a connection ends; absent or 0: never."`
		MaxChannelConnections int               `json:"max_channel_connections,omitempty" minimum:"1" maximum:"100000" doc:"Refused if the channel has as many connections already; absent: the licence's own cap holds alone."`
		Duplicates            tenant.Duplicates `json:"duplicate_client_id,omitempty" enum:"allow,refuse,replace" doc:"What becomes of a client whose client_id is in the channel already. Absent: what the settings say."`
		Metadata              object            `json:"metadata,omitempty" doc:"Handed to webhooks and events; at most 4 KiB."`
	}
}) (t newToken, err error) {
	request := tenant.TokenRequest{
		Channel: in.Body.Channel, Roles: in.Body.Role, ClientID: in.Body.ClientID,
		TTL:                   time.Duration(in.Body.TTL) * time.Second,
		MaxDuration:           time.Duration(in.Body.MaxDuration) * time.Second,
		MaxChannelConnections: in.Body.MaxChannelConnections, Duplicates: in.Body.Duplicates,
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
