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
	RevokedAt  *time.Time `json:"revoked_at" doc:"null: it was not."`
	RetiresAt  *time.Time `json:"retires_at" doc:"When it stops by itself; null: never."`
}

func showSigningKey(k tenant.SigningKey) SigningKey {
	return SigningKey{k.ID, k.Name, k.Algorithm, k.CreatedAt.UTC(), utcOrNull(k.LastUsedAt), utcOrNull(k.RevokedAt), utcOrNull(k.RetiresAt)}
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
	Secret *string `json:"secret" doc:"The text as it stands is the HS256 key. It is in this answer only. null: of a public key we hold no secret."`
}

func (a *API) createSigningKey(ctx context.Context, scope tenant.Scope, in *struct {
	Body struct {
		Name      string     `json:"name,omitempty" maxLength:"255" example:"web app" doc:"Absent: that of the key it replaces."`
		PublicKey string     `json:"public_key,omitempty" maxLength:"4096" doc:"A public key of P-256 or Ed25519, as PEM or JWK. Absent: a secret is made."`
		Replaces  string     `json:"replaces,omitempty" maxLength:"64" doc:"The id of an active key that this one is to take the place of."`
		RetireAt  *time.Time `json:"retire_at,omitempty" doc:"When the replaced key stops by itself. Absent: when it is revoked."`
	}
}) (k newSigningKey, err error) {
	n := tenant.NewSigningKey{Name: in.Body.Name, PublicKey: in.Body.PublicKey, Replaces: in.Body.Replaces}
	if in.Body.RetireAt != nil {
		n.RetireAt = *in.Body.RetireAt
	}
	secret, made, err := a.Tenants.AddSigningKey(ctx, scope, n)
	return newSigningKey{showSigningKey(made), textOrNull(secret)}, err
}

func (a *API) retireSigningKey(ctx context.Context, scope tenant.Scope, in *struct {
	ID   string `path:"id" maxLength:"64" example:"key_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Body struct {
		RetireAt *time.Time `json:"retire_at" doc:"null: not by itself."`
	}
}) (k SigningKey, err error) {
	var at time.Time
	if in.Body.RetireAt != nil {
		at = *in.Body.RetireAt
	}
	if err := a.Tenants.RetireSigningKey(ctx, scope, in.ID, at); err != nil {
		return k, err
	}
	all, err := a.Tenants.SigningKeys(ctx, scope)
	for _, one := range all {
		if one.ID == in.ID {
			return showSigningKey(one), err
		}
	}
	return k, err
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
