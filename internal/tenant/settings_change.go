package tenant

import (
	"context"
	"slices"
	"strings"
)

// SettingsChange says which settings shall change; nil: it stays.
type SettingsChange struct {
	AuthURL             *string // as SetAuthURL; "": nobody is asked
	AcceptSigningSecret *bool
	Duplicates          *Duplicates
}

// ChangeSettings makes all changes or none, and returns the settings as they are
// then. The secret is that of a first AuthURL, returned now and never again, as
// by SetAuthURL; else "". The error may be a *FieldError.
func (s *Store) ChangeSettings(ctx context.Context, scope Scope, c SettingsChange) (set Settings, secret string, err error) {
	if c.Duplicates != nil && !slices.Contains(duplicates, string(*c.Duplicates)) {
		return Settings{}, "", &FieldError{"duplicate_client_id", "must be one of " + strings.Join(duplicates, ", ")}
	}
	err = s.changeSettings(ctx, scope, func(row *settingRow) (Diff, error) {
		diff := Diff{}
		if c.AuthURL != nil && *c.AuthURL != row.url {
			diff["auth_url"] = [2]any{row.url, *c.AuthURL}
			secret = row.setURL(*c.AuthURL, s.master)
		}
		if c.AcceptSigningSecret != nil && *c.AcceptSigningSecret != row.acceptSecret {
			diff["accept_signing_secret"] = [2]any{row.acceptSecret, *c.AcceptSigningSecret}
			row.acceptSecret = *c.AcceptSigningSecret
		}
		if c.Duplicates != nil && *c.Duplicates != row.duplicates {
			diff["duplicate_client_id"] = [2]any{row.duplicates, *c.Duplicates}
			row.duplicates = *c.Duplicates
		}
		set = Settings{AuthURL: row.url, AcceptSigningSecret: row.acceptSecret, Duplicates: row.duplicates}
		if len(diff) == 0 {
			return nil, nil
		}
		return diff, nil
	})
	if err != nil {
		return Settings{}, "", err
	}
	return set, secret, nil
}

// setURL changes the URL. The secret is that of a first one, else "".
func (row *settingRow) setURL(url string, master masterKey) (secret string) {
	switch {
	case url == "":
		row.sealed = nil
	case row.url == "":
		secret = NewWebhookSecret()
		row.sealed = master.seal([]byte(secret), sealedAuthSecret(row.tenant)...)
	}
	row.url = url
	return secret
}
