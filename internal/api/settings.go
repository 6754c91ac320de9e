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
}

func (a *API) getSettings(ctx context.Context, scope tenant.Scope, _ *none) (Settings, error) {
	set, err := a.Tenants.Settings(ctx, scope)
	return showSettings(set), err
}

func showSettings(s tenant.Settings) Settings {
	return Settings{AuthURL: s.AuthURL, AcceptSigningSecret: s.AcceptSigningSecret, Duplicates: s.Duplicates}
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
	}
}) (changed changedSettings, err error) {
	change := tenant.SettingsChange{AuthURL: in.Body.AuthURL, AcceptSigningSecret: in.Body.AcceptSigningSecret, Duplicates: in.Body.Duplicates}
	if change.AuthURL != nil {
		change.AuthURL = new(strings.TrimSpace(*change.AuthURL))
		if err := a.checkAuthURL(*change.AuthURL); err != nil {
			return changed, err
		}
	}
	set, secret, err := a.Tenants.ChangeSettings(ctx, scope, change)
	return changedSettings{showSettings(set), textOrNull(secret)}, err
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
	return changedSettings{showSettings(set), &secret}, err
}
