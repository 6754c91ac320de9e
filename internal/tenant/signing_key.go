package tenant

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// The algorithms a signing key may have (RFC 7518, RFC 8037).
const (
	algHS256 = "HS256"
	algES256 = "ES256"
	algEdDSA = "EdDSA"
)

// SigningKey describes a key that access tokens are signed with.
type SigningKey struct {
	ID         string     `json:"signing_key_id"` // the JWT kid
	Name       string     `json:"name"`
	Algorithm  string     `json:"algorithm"` // HS256, ES256 or EdDSA
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"` // nil: never; about half a minute late
	RevokedAt  *time.Time `json:"revoked_at"`   // nil: it was not
	RetiresAt  *time.Time `json:"retires_at"`   // when it stops by itself; nil: never
}

// Active reports whether tokens of the key are good.
func (k SigningKey) Active(now time.Time) bool {
	return k.RevokedAt == nil && (k.RetiresAt == nil || k.RetiresAt.After(now))
}

// verifyKey is a signing key as Verify holds it.
type verifyKey struct {
	// Static.
	id        string
	tenant    ID
	algorithm string
	material  any // []byte, *ecdsa.PublicKey or ed25519.PublicKey; nil: it couldn't be opened

	used    atomic.Bool  // a token was verified with it since the last flush
	retires atomic.Int64 // when it stops, in nanoseconds since 1970; 0: never
}

// retireAt sets when the key stops; zero: never.
func (k *verifyKey) retireAt(at time.Time) {
	if at.IsZero() {
		k.retires.Store(0)
		return
	}
	k.retires.Store(at.UnixNano())
}

// retired reports whether it has stopped.
func (k *verifyKey) retired(now time.Time) bool {
	at := k.retires.Load()
	return at != 0 && now.UnixNano() >= at
}

const signingKeyPrefix = "key_"

// isSigningKeyID reports whether a kid has the form of ours.
func isSigningKeyID(kid string) bool {
	id, ok := strings.CutPrefix(kid, signingKeyPrefix)
	return ok && isID(id)
}

// CreateSigningKey makes an HS256 key, as AddSigningKey does.
func (s *Store) CreateSigningKey(ctx context.Context, scope Scope, name string) (secret string, k SigningKey, err error) {
	return s.AddSigningKey(ctx, scope, NewSigningKey{Name: name})
}

// keyIsActive is the condition on a row of signing_key that verifies tokens.
const keyIsActive = `revoked_at is null and (retires_at is null or retires_at > clock_timestamp())`

const countActiveKeys = `select count(*) from signing_key where tenant_id = $1 and ` + keyIsActive

// insertSigningKey writes a key: its secret, or the public half of it as PKIX DER.
func (s *Store) insertSigningKey(ctx context.Context, tx pgx.Tx, scope Scope, name, algorithm, secret string, public []byte) (SigningKey, *verifyKey, error) {
	k := SigningKey{ID: signingKeyPrefix + NewID(), Name: name, Algorithm: algorithm}
	var sealed []byte
	if algorithm == algHS256 {
		sealed = s.master.seal([]byte(secret), sealedSigningKey(scope.tenant, k.ID)...)
	}
	material, err := s.keyMaterial(scope.tenant, k.ID, algorithm, sealed, public)
	if err != nil {
		return SigningKey{}, nil, err
	}
	err = tx.QueryRow(ctx, `
		insert into signing_key (signing_key_id, tenant_id, name, algorithm, secret_sealed, public_key)
		values ($1, $2, $3, $4, $5, $6) returning created_at`,
		k.ID, scope.tenant, k.Name, k.Algorithm, sealed, public).Scan(&k.CreatedAt)
	if err != nil {
		return SigningKey{}, nil, fmt.Errorf("couldn't create a signing key: %w", err)
	}
	return k, &verifyKey{id: k.ID, tenant: scope.tenant, algorithm: k.Algorithm, material: material}, nil
}

// sealedSigningKey binds a sealed secret to its row.
func sealedSigningKey(t ID, keyID string) []string {
	return []string{"signing_key", string(t), keyID}
}

// keyMaterial makes a row into what verifies: it opens the secret, or reads the
// public key (PKIX DER).
func (s *Store) keyMaterial(t ID, id, algorithm string, sealed, public []byte) (any, error) {
	if algorithm == algHS256 {
		return s.master.open(sealed, sealedSigningKey(t, id)...)
	}
	parsed, err := x509.ParsePKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("couldn't read a public key: %w", err)
	}
	switch key := parsed.(type) {
	case *ecdsa.PublicKey:
		if algorithm == algES256 && key.Curve == elliptic.P256() {
			return key, nil
		}
	case ed25519.PublicKey:
		if algorithm == algEdDSA {
			return key, nil
		}
	}
	return nil, fmt.Errorf("couldn't use a public key: it is no key for %s", algorithm)
}

// CheckSecrets tries the master key on every active signing key of every
// tenant: how many there are, and how many of them it does not open. It is the
// operator's.
func (s *Store) CheckSecrets(ctx context.Context) (keys, unusable int, err error) {
	rows, err := s.pool.Query(ctx, `
		select signing_key_id, tenant_id, algorithm, secret_sealed, public_key from signing_key where `+keyIsActive)
	if err != nil {
		return 0, 0, fmt.Errorf("couldn't read signing keys: %w", err)
	}
	var key verifyKey
	var sealed, public []byte
	_, err = pgx.ForEachRow(rows, []any{&key.id, &key.tenant, &key.algorithm, &sealed, &public}, func() error {
		keys++
		if _, err := s.keyMaterial(key.tenant, key.id, key.algorithm, sealed, public); err != nil {
			unusable++
		}
		return nil
	})
	if err != nil {
		return 0, 0, fmt.Errorf("couldn't read signing keys: %w", err)
	}
	return keys, unusable, nil
}

// SigningKeys returns the tenant's signing keys, newest first, revoked ones
// too.
func (s *Store) SigningKeys(ctx context.Context, scope Scope) ([]SigningKey, error) {
	if scope.tenant == "" {
		return nil, ErrScope
	}
	rows, err := scope.In(s.pool).Query(ctx, `
		select signing_key_id, name, algorithm, created_at, last_used_at, revoked_at, retires_at
		from signing_key where tenant_id = $1 order by created_at desc, signing_key_id`, scope.tenant)
	if err != nil {
		return nil, fmt.Errorf("couldn't read signing keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[SigningKey])
	if err != nil {
		return nil, fmt.Errorf("couldn't read signing keys: %w", err)
	}
	return keys, nil
}

// RevokeSigningKey makes every token signed with the key invalid: here at once,
// on other nodes within seconds. Connections that are open stay open.
// ErrNotFound if the tenant has no such active key.
func (s *Store) RevokeSigningKey(ctx context.Context, scope Scope, id string) error {
	if scope.tenant == "" {
		return ErrScope
	}
	if !isSigningKeyID(id) {
		return ErrNotFound
	}
	err := scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `
			update signing_key set revoked_at = clock_timestamp()
			where tenant_id = $1 and signing_key_id = $2 and revoked_at is null`, scope.tenant, id)
		if err != nil {
			return fmt.Errorf("couldn't revoke a signing key: %w", err)
		}
		if done.RowsAffected() == 0 {
			return ErrNotFound
		}
		return audit(ctx, tx, scope, "signing_key.revoked", id, "", nil)
	})
	if err != nil {
		return err
	}
	s.cache.apply(func(v *snapshot) { v.remove(id) })
	return nil
}
