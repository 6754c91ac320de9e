package tenant

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// NewSigningKey is a signing key to be made.
type NewSigningKey struct {
	Name string
	// PublicKey is a public key of P-256 or Ed25519, as PEM or JWK; "": an HS256
	// secret is made.
	PublicKey string
	// Replaces is an active key that this one is to take the place of; "": none. It
	// stays until it is revoked, or until RetireAt: tokens of both are good meanwhile.
	Replaces string
	RetireAt time.Time // when the replaced key stops by itself; zero: it does not
}

// AddSigningKey makes a signing key. The secret is "" for a public key; else it is
// text, and the bytes of the text as it stands are the HMAC key: what libraries
// take when given a string. It is returned for the only time.
//
// The error may be a *FieldError, ErrTooManyKeys, or ErrNotFound if Replaces is no
// active key of the tenant.
func (s *Store) AddSigningKey(ctx context.Context, scope Scope, n NewSigningKey) (secret string, k SigningKey, err error) {
	if scope.tenant == "" {
		return "", SigningKey{}, ErrScope
	}
	n.Name = Printable(n.Name, MaxNameBytes)
	var public []byte
	algorithm := algHS256
	if n.PublicKey != "" {
		if algorithm, public, err = readPublicKey(n.PublicKey); err != nil {
			return "", SigningKey{}, err
		}
	} else {
		secret = newSigningSecret()
	}
	var key *verifyKey
	err = scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := roomForKey(ctx, tx, scope, countActiveKeys, MaxActiveSigningKeys); err != nil {
			return err
		}
		if n.Replaces != "" {
			old, err := s.retire(ctx, tx, scope, n.Replaces, n.RetireAt)
			if err != nil {
				return err
			}
			if n.Name == "" {
				n.Name = old
			}
		}
		k, key, err = s.insertSigningKey(ctx, tx, scope, n.Name, algorithm, secret, public)
		if err != nil {
			return err
		}
		return audit(ctx, tx, scope, "signing_key.created", k.ID, "",
			Diff{"name": {nil, k.Name}, "algorithm": {nil, k.Algorithm}, "replaces": {nil, n.Replaces}})
	})
	if err != nil {
		return "", SigningKey{}, err
	}
	s.cache.apply(func(v *snapshot) {
		v.add(key)
		v.retire(n.Replaces, n.RetireAt)
	})
	return secret, k, nil
}

// newSigningSecret returns 256 random bits as text.
func newSigningSecret() string {
	random := make([]byte, 32)
	rand.Read(random)
	return base64.RawURLEncoding.EncodeToString(random)
}

// RetireSigningKey has an active key stop by itself at a time to come, which may be
// changed until then; zero: it does not. It works here at once, on other nodes
// within RefreshEvery. The error may be a *FieldError, or ErrNotFound.
func (s *Store) RetireSigningKey(ctx context.Context, scope Scope, id string, at time.Time) error {
	if scope.tenant == "" {
		return ErrScope
	}
	err := scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		_, err := s.retire(ctx, tx, scope, id, at)
		return err
	})
	if err != nil {
		return err
	}
	s.cache.apply(func(v *snapshot) { v.retire(id, at) })
	return nil
}

// MaxRetirement is how far ahead a key's retirement may lie.
const MaxRetirement = 366 * 24 * time.Hour

// retire sets when an active key stops, and returns its name.
func (s *Store) retire(ctx context.Context, tx pgx.Tx, scope Scope, id string, at time.Time) (name string, err error) {
	if ahead := time.Until(at); !at.IsZero() && (ahead <= 0 || ahead > MaxRetirement) {
		return "", &FieldError{"retire_at", fmt.Sprintf("must lie ahead, at most %d days", MaxRetirement/(24*time.Hour))}
	}
	var before *time.Time
	err = tx.QueryRow(ctx, `select name, retires_at from signing_key
		where tenant_id = $1 and signing_key_id = $2 and `+keyIsActive+` for update`, scope.tenant, id).Scan(&name, &before)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrNotFound
	}
	var after *time.Time
	if !at.IsZero() {
		after = &at
	}
	if err == nil {
		_, err = tx.Exec(ctx, `update signing_key set retires_at = $3 where tenant_id = $1 and signing_key_id = $2`, scope.tenant, id, after)
	}
	if err != nil {
		return "", fmt.Errorf("couldn't have a signing key retire: %w", err)
	}
	if before == nil && after == nil {
		return name, nil
	}
	return name, audit(ctx, tx, scope, "signing_key.retirement_changed", id, "", Diff{"retires_at": {before, after}})
}
