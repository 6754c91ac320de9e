package api

import (
	"context"
	"strings"

	"github.com/hibari/hibari/internal/tenant"
)

// Settings are what the tenant has set.
type Settings struct {
	AuthURL             string `json:"auth_url" example:"https://example.com/auth" doc:"Asked before each connection; empty: nobody is."`
	AcceptSigningSecret bool   `json:"accept_signing_secret" doc:"Whether a signing secret itself is taken as an access token: for development only."`
	// Duplicates is a policy: tokens and the auth webhook may set another.
	Duplicates tenant.Duplicates `json:"duplicate_client_id" enum:"allow,refuse,replace" doc:"What becomes of a client whose client_id is in its channel already, unless its token or the auth webhook says otherwise."`
	SpendCap   *spendCap         `json:"spend_cap,omitempty" doc:"What may be spent in a month; absent: no cap. See docs/spending.md."`
}

func (a *API) getSettings(ctx context.Context, scope tenant.Scope, _ *none) (Settings, error) {
	set, err := a.Tenants.Settings(ctx, scope)
	if err != nil {
		return Settings{}, err
	}
	return a.showSettings(ctx, scope, set)
}

// showSettings shows them with the spending cap, which is kept elsewhere.
func (a *API) showSettings(ctx context.Context, scope tenant.Scope, s tenant.Settings) (Settings, error) {
	limit, err := a.Spend.Cap(ctx, scope)
	return Settings{AuthURL: s.AuthURL, AcceptSigningSecret: s.AcceptSigningSecret, Duplicates: s.Duplicates, SpendCap: showCap(limit)}, err
}

// changedSettings are settings with a secret that is told once.
type changedSettings struct {
	Settings
	AuthSecret *string `json:"auth_secret" doc:"What questions to auth_url are signed with (Standard Webhooks), if it was made just now. It is in this answer only."`
}

func (a *API) changeSettings(ctx context.Context, scope tenant.Scope, in *struct {
	Body struct {
		AuthURL             *string            `json:"auth_url,omitempty" maxLength:"2048" example:"https://example.com/auth" doc:"Empty: ask nobody."`
		AcceptSigningSecret *bool              `json:"accept_signing_secret,omitempty"`
		Duplicates          *tenant.Duplicates `json:"duplicate_client_id,omitempty" enum:"allow,refuse,replace"`
		SpendCap            capChange          `json:"spend_cap,omitempty"`
	}
}) (changed changedSettings, err error) {
	change := tenant.SettingsChange{AuthURL: in.Body.AuthURL, AcceptSigningSecret: in.Body.AcceptSigningSecret, Duplicates: in.Body.Duplicates}
	if change.AuthURL != nil {
		change.AuthURL = new(strings.TrimSpace(*change.AuthURL))
		if err := a.checkAuthURL(*change.AuthURL); err != nil {
			return changed, err
		}
	}
	capped := in.Body.SpendCap
	if capped.given && !scope.Role().In(tenant.Payers...) {
		return changed, newProblem(CodeForbidden, "the key's role may not change what is spent: use one with the role admin or billing")
	}
	apply := func(ctx context.Context) error {
		if capped.given {
			if _, err := a.Spend.SetCap(ctx, scope, capped.wish.limit()); err != nil {
				return renamed(renamed(renamed(err, "spend_cap.amount", "amount"), "spend_cap.currency", "currency"), "spend_cap.action", "action")
			}
		}
		set, secret, err := a.Tenants.ChangeSettings(ctx, scope, change)
		if err != nil {
			return err
		}
		changed.AuthSecret = textOrNull(secret)
		changed.Settings, err = a.showSettings(ctx, scope, set)
		return err
	}
	if whole := scope.In(a.DB); capped.given && !whole.InWhole(ctx) { // all of it or nothing
		return changed, whole.Whole(ctx, apply)
	}
	return changed, apply(ctx)
}

func (a *API) checkAuthURL(url string) error {
	if url == "" {
		return nil
	}
	if err := a.Hooks.CheckURL(url); err != nil {
		return renamed(err, "auth_url")
	}
	return nil
}

func (a *API) rotateAuthSecret(ctx context.Context, scope tenant.Scope, _ *none) (changed changedSettings, err error) {
	secret, err := a.Tenants.RotateAuthSecret(ctx, scope)
	if err != nil {
		return changed, err
	}
	set, err := a.Tenants.Settings(ctx, scope)
	if err != nil {
		return changed, err
	}
	changed.AuthSecret = &secret
	changed.Settings, err = a.showSettings(ctx, scope, set)
	return changed, err
}
