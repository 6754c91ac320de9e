package tenant

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Settings are what a tenant has set.
type Settings struct {
	// AuthURL is asked before each connection of the tenant; "": nobody is.
	AuthURL string `json:"auth_url"`
	// AcceptSigningSecret lets in, in any role, whoever shows one of the tenant's
	// active HS256 secrets itself as access token: for development.
	AcceptSigningSecret bool `json:"accept_signing_secret"`
	// Duplicates is what becomes of a client whose client_id is in its channel
	// already, unless its token or the auth webhook says otherwise.
	Duplicates Duplicates `json:"duplicate_client_id"`
}

// AuthWebhook is where to ask about a tenant's connections.
type AuthWebhook struct {
	URL    string
	Secret string // as Standard Webhooks writes it; "": it could not be opened
}

// setting is a tenant's row as the snapshot holds it. Static.
type setting struct {
	auth         *AuthWebhook // nil: none
	sealed       []byte       // what auth.Secret was opened from
	acceptSecret bool
	duplicates   Duplicates
}

// Settings returns what the tenant has set.
func (s *Store) Settings(ctx context.Context, scope Scope) (set Settings, err error) {
	if scope.tenant == "" {
		return Settings{}, ErrScope
	}
	set.Duplicates = DuplicatesAllow
	err = scope.In(s.pool).QueryRow(ctx, `select auth_url, accept_signing_secret, duplicate_client_id from tenant_setting where tenant_id = $1`,
		scope.tenant).Scan(&set.AuthURL, &set.AcceptSigningSecret, &set.Duplicates)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return Settings{}, fmt.Errorf("couldn't read the settings: %w", err)
	}
	return set, nil
}

// SetAuthURL has url asked before each connection; "" ends that. Whether the URL
// may be called is for the caller to check. The requests are signed with the
// secret returned, now and never again; "" if there was a URL before, which
// leaves the secret as it is. It works here at once, on other nodes within
// RefreshEvery.
func (s *Store) SetAuthURL(ctx context.Context, scope Scope, url string) (secret string, err error) {
	_, secret, err = s.ChangeSettings(ctx, scope, SettingsChange{AuthURL: &url})
	return secret, err
}

// RotateAuthSecret replaces the secret that the requests to AuthURL are signed
// with. It is returned now and never again. ErrNotFound if there is no URL.
func (s *Store) RotateAuthSecret(ctx context.Context, scope Scope) (secret string, err error) {
	err = s.changeSettings(ctx, scope, func(row *settingRow) (Diff, error) {
		if row.url == "" {
			return nil, ErrNotFound
		}
		secret = NewWebhookSecret()
		row.sealed = s.master.seal([]byte(secret), sealedAuthSecret(scope.tenant)...)
		return Diff{"auth_secret": {Redacted, Redacted}}, nil
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// AuthWebhook returns where the tenant's clients are asked about. ErrNotFound if
// nobody is asked.
func (s *Store) AuthWebhook(ctx context.Context, scope Scope) (AuthWebhook, error) {
	if scope.tenant == "" {
		return AuthWebhook{}, ErrScope
	}
	row := settingRow{tenant: scope.tenant}
	err := scope.In(s.pool).QueryRow(ctx, `select auth_url, auth_secret_sealed from tenant_setting where tenant_id = $1 and auth_url <> ''`,
		scope.tenant).Scan(&row.url, &row.sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return AuthWebhook{}, ErrNotFound
	}
	if err != nil {
		return AuthWebhook{}, fmt.Errorf("couldn't read the settings: %w", err)
	}
	return *s.openSetting(row, nil).auth, nil
}

// AcceptSigningSecret sets Settings.AcceptSigningSecret, as quickly as
// SetAuthURL.
func (s *Store) AcceptSigningSecret(ctx context.Context, scope Scope, on bool) error {
	_, _, err := s.ChangeSettings(ctx, scope, SettingsChange{AcceptSigningSecret: &on})
	return err
}

// SetDuplicates sets Settings.Duplicates, as quickly as SetAuthURL. The error may
// be a *FieldError.
func (s *Store) SetDuplicates(ctx context.Context, scope Scope, policy Duplicates) error {
	_, _, err := s.ChangeSettings(ctx, scope, SettingsChange{Duplicates: &policy})
	return err
}

// settingRow is a tenant's row.
type settingRow struct {
	tenant       ID
	url          string
	sealed       []byte
	acceptSecret bool
	duplicates   Duplicates
}

// changeSettings makes one change with its entry in the audit log, whose diff
// is what change returns; nil: there is nothing to change.
func (s *Store) changeSettings(ctx context.Context, scope Scope, change func(*settingRow) (Diff, error)) error {
	if scope.tenant == "" {
		return ErrScope
	}
	row := settingRow{tenant: scope.tenant}
	err := scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `insert into tenant_setting (tenant_id) values ($1) on conflict do nothing`, scope.tenant); err != nil {
			return fmt.Errorf("couldn't change the settings: %w", err)
		}
		err := tx.QueryRow(ctx, `select auth_url, auth_secret_sealed, accept_signing_secret, duplicate_client_id from tenant_setting
			where tenant_id = $1 for update`, scope.tenant).Scan(&row.url, &row.sealed, &row.acceptSecret, &row.duplicates)
		if err != nil {
			return fmt.Errorf("couldn't read the settings: %w", err)
		}
		diff, err := change(&row)
		if err != nil || diff == nil {
			return err
		}
		_, err = tx.Exec(ctx, `update tenant_setting
			set auth_url = $2, auth_secret_sealed = $3, accept_signing_secret = $4, duplicate_client_id = $5, changed_at = clock_timestamp()
			where tenant_id = $1`, scope.tenant, row.url, row.sealed, row.acceptSecret, row.duplicates)
		if err != nil {
			return fmt.Errorf("couldn't change the settings: %w", err)
		}
		return audit(ctx, tx, scope, "settings.changed", string(scope.tenant), "", diff)
	})
	if err != nil {
		return err
	}
	s.cache.apply(func(v *snapshot) { v.settings[scope.tenant] = s.openSetting(row, nil) })
	return nil
}

// readSettings reads all tenants' settings. Secrets that are open already are
// taken over from known.
func (s *Store) readSettings(ctx context.Context, known map[ID]*setting) (map[ID]*setting, error) {
	rows, err := s.pool.Query(ctx, `select tenant_id, auth_url, auth_secret_sealed, accept_signing_secret, duplicate_client_id from tenant_setting`)
	if err != nil {
		return nil, err
	}
	settings := map[ID]*setting{}
	var row settingRow
	_, err = pgx.ForEachRow(rows, []any{&row.tenant, &row.url, &row.sealed, &row.acceptSecret, &row.duplicates}, func() error {
		settings[row.tenant] = s.openSetting(row, known[row.tenant])
		return nil
	})
	return settings, err
}

// openSetting makes a row into what the snapshot holds. A secret that cannot be
// opened leaves the webhook in place: who can't be asked lets nobody in.
func (s *Store) openSetting(row settingRow, known *setting) *setting {
	set := &setting{sealed: row.sealed, acceptSecret: row.acceptSecret, duplicates: row.duplicates}
	if row.url == "" {
		return set
	}
	set.auth = &AuthWebhook{URL: row.url}
	if known != nil && known.auth != nil && bytes.Equal(known.sealed, row.sealed) {
		set.auth.Secret = known.auth.Secret
		return set
	}
	secret, err := s.master.open(row.sealed, sealedAuthSecret(row.tenant)...)
	if err != nil {
		s.log.Error("the secret of an auth webhook is unusable: is HIBARI_MASTER_KEY the one it was made with?",
			"tenant_id", row.tenant, "error", err)
	}
	set.auth.Secret = string(secret)
	return set
}

// sealedAuthSecret binds a sealed secret to its row.
func sealedAuthSecret(t ID) []string { return []string{"auth_webhook", string(t)} }
