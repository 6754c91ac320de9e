package api

import (
	"context"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// SigningKey is what access tokens are signed with.
type SigningKey struct {
	ID         string     `json:"id" example:"key_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M" doc:"What a token's header names it by, as kid."`
	Name       string     `json:"name"`
	Algorithm  string     `json:"algorithm" enum:"HS256,ES256,EdDSA"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at" doc:"About half a minute late; null: never."`
	RevokedAt  *time.Time `json:"revoked_at" doc:"null: it is active."`
}

func showSigningKey(k tenant.SigningKey) SigningKey {
	return SigningKey{k.ID, k.Name, k.Algorithm, k.CreatedAt.UTC(), utcOrNull(k.LastUsedAt), utcOrNull(k.RevokedAt)}
}

func (a *API) listSigningKeys(ctx context.Context, scope tenant.Scope, in *Paging) (p page[SigningKey], err error) {
	rows, err := a.Tenants.SigningKeys(ctx, scope)
	if err != nil {
		return p, err
	}
	at := func(k tenant.SigningKey) place { return place{k.CreatedAt, k.ID} }
	rows, err = from(rows, "signing-keys", in, newestFirst, at)
	return pageOf(rows, in.Limit, showSigningKey, func(k tenant.SigningKey) string { return at(k).cursor("signing-keys") }), err
}

// newSigningKey is a signing key with the secret that is told once.
type newSigningKey struct {
	SigningKey
	Secret string `json:"secret" doc:"The text as it stands is the HS256 key. It is in this answer only."`
}

func (a *API) createSigningKey(ctx context.Context, scope tenant.Scope, in *struct {
	Body struct {
		Name string `json:"name,omitempty" maxLength:"255" example:"web app"`
	}
}) (k newSigningKey, err error) {
	secret, made, err := a.Tenants.CreateSigningKey(ctx, scope, in.Body.Name)
	return newSigningKey{showSigningKey(made), secret}, err
}

// keyInput names a key.
type keyInput struct {
	ID string `path:"id" maxLength:"64"`
}

func (a *API) revokeSigningKey(ctx context.Context, scope tenant.Scope, in *keyInput) error {
	return a.Tenants.RevokeSigningKey(ctx, scope, in.ID)
}

// APIKey is what a tenant's server calls us with.
type APIKey struct {
	ID         string            `json:"id" example:"9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Name       string            `json:"name"`
	Role       tenant.MemberRole `json:"role" enum:"admin,developer,billing,viewer" doc:"It may do what a member of this role may do in the console."`
	Last4      string            `json:"last4" doc:"The last characters of the key."`
	CreatedAt  time.Time         `json:"created_at"`
	LastUsedAt *time.Time        `json:"last_used_at" doc:"At most a minute late; null: never."`
	RevokedAt  *time.Time        `json:"revoked_at" doc:"null: it is active."`
}

func showAPIKey(k tenant.APIKey) APIKey {
	return APIKey{k.ID, k.Name, k.Role, k.Last4, k.CreatedAt.UTC(), utcOrNull(k.LastUsedAt), utcOrNull(k.RevokedAt)}
}

func (a *API) listAPIKeys(ctx context.Context, scope tenant.Scope, in *Paging) (p page[APIKey], err error) {
	rows, err := a.Tenants.APIKeys(ctx, scope)
	if err != nil {
		return p, err
	}
	at := func(k tenant.APIKey) place { return place{k.CreatedAt, k.ID} }
	rows, err = from(rows, "api-keys", in, newestFirst, at)
	return pageOf(rows, in.Limit, showAPIKey, func(k tenant.APIKey) string { return at(k).cursor("api-keys") }), err
}

// newAPIKey is an API key with the whole of it, which is told once.
type newAPIKey struct {
	APIKey
	Key string `json:"key" doc:"Send it as Authorization: Bearer. It is in this answer only."`
}

func (a *API) createAPIKey(ctx context.Context, scope tenant.Scope, in *struct {
	Body struct {
		Name string            `json:"name,omitempty" maxLength:"255" example:"production server"`
		Role tenant.MemberRole `json:"role,omitempty" enum:"admin,developer,billing,viewer" doc:"Absent: the asking key's own."`
	}
}) (k newAPIKey, err error) {
	role := in.Body.Role
	if role == "" {
		role = scope.Role()
	}
	secret, made, err := a.Tenants.CreateAPIKey(ctx, scope, in.Body.Name, role)
	return newAPIKey{showAPIKey(made), secret}, err
}

func (a *API) revokeAPIKey(ctx context.Context, scope tenant.Scope, in *keyInput) error {
	return a.Tenants.RevokeAPIKey(ctx, scope, in.ID)
}
