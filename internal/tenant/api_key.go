package tenant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// APIKey describes an API key; the secret is shown once, when it is made.
type APIKey struct {
	ID         string     `json:"api_key_id"`
	Name       string     `json:"name"`
	Role       MemberRole `json:"role"`  // one of KeyRoles
	Last4      string     `json:"last4"` // of the whole key
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"` // nil: never; at most a minute late
	RevokedAt  *time.Time `json:"revoked_at"`   // nil: active
}

// An API key is hib_live_ID_SECRETCRC: a prefix that scanners for leaked
// secrets know, our id, 43 letters and digits with 256 random bits, and the
// CRC-32 of all that stands before it as 6 more, which tells a typo from a
// revoked key without asking the database.
const (
	apiKeyPrefix = "hib_live_"
	apiKeyID     = 26
	apiKeySecret = 43
	apiKeyCRC    = 6
	apiKeyLength = len(apiKeyPrefix) + apiKeyID + 1 + apiKeySecret + apiKeyCRC
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// newAPIKey makes an id and the key that carries it.
func newAPIKey() (id, key string) {
	id = NewID()
	body := apiKeyPrefix + id + "_" + randomBase62(apiKeySecret)
	return id, body + checksum(body)
}

func randomBase62(n int) string {
	text := make([]byte, 0, n)
	var random [64]byte
	for len(text) < n {
		rand.Read(random[:])
		for _, b := range random {
			// 248 is the last multiple of 62: without the rest every letter is as likely.
			if b < 248 && len(text) < n {
				text = append(text, base62[b%62])
			}
		}
	}
	return string(text)
}

func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	var text [apiKeyCRC]byte
	for i := len(text) - 1; i >= 0; i-- {
		text[i] = base62[sum%62]
		sum /= 62
	}
	return string(text[:])
}

// readAPIKey checks the form and the checksum and returns the id.
func readAPIKey(key string) (id string, ok bool) {
	if len(key) != apiKeyLength || !strings.HasPrefix(key, apiKeyPrefix) {
		return "", false
	}
	body, crc := key[:apiKeyLength-apiKeyCRC], key[apiKeyLength-apiKeyCRC:]
	id = body[len(apiKeyPrefix) : len(apiKeyPrefix)+apiKeyID]
	if body[len(apiKeyPrefix)+apiKeyID] != '_' || !isID(id) || checksum(body) != crc {
		return "", false
	}
	return id, true
}

// CreateAPIKey makes an API key of one of KeyRoles and returns it, for the only
// time. A *FieldError about role if the scope's own role may not grant it.
func (s *Store) CreateAPIKey(ctx context.Context, scope Scope, name string, role MemberRole) (secret string, k APIKey, err error) {
	if scope.tenant == "" {
		return "", APIKey{}, ErrScope
	}
	if !scope.role.MayGrant(role) {
		return "", APIKey{}, &FieldError{"role", "You may not make a key of this role: it could do more than you."}
	}
	err = scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		err := roomForKey(ctx, tx, scope, `select count(*) from api_key where tenant_id = $1 and revoked_at is null`, MaxActiveAPIKeys)
		if err != nil {
			return err
		}
		secret, k, err = insertAPIKey(ctx, tx, scope, Printable(name, MaxNameBytes), role)
		if err != nil {
			return err
		}
		return audit(ctx, tx, scope, "api_key.created", k.ID, "", Diff{"name": {nil, k.Name}, "role": {nil, k.Role}, "last4": {nil, k.Last4}})
	})
	if err != nil {
		return "", APIKey{}, err
	}
	return secret, k, nil
}

// roomForKey locks the tenant, so that two at once cannot both be the last, and
// counts its active keys.
func roomForKey(ctx context.Context, tx pgx.Tx, scope Scope, count string, most int) error {
	var id ID
	err := tx.QueryRow(ctx, `select tenant_id from tenant where tenant_id = $1 for no key update`, scope.tenant).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNotFound
	}
	var n int
	if err == nil {
		err = tx.QueryRow(ctx, count, scope.tenant).Scan(&n)
	}
	if err != nil {
		return fmt.Errorf("couldn't count the tenant's keys: %w", err)
	}
	if n >= most {
		return ErrTooManyKeys
	}
	return nil
}

func insertAPIKey(ctx context.Context, tx pgx.Tx, scope Scope, name string, role MemberRole) (string, APIKey, error) {
	id, secret := newAPIKey()
	k := APIKey{ID: id, Name: name, Role: role, Last4: secret[len(secret)-4:]}
	hash := sha256.Sum256([]byte(secret))
	err := tx.QueryRow(ctx, `
		insert into api_key (api_key_id, tenant_id, name, secret_hash, last4, role)
		values ($1, $2, $3, $4, $5, $6) returning created_at`,
		k.ID, scope.tenant, k.Name, hash[:], k.Last4, k.Role).Scan(&k.CreatedAt)
	if err != nil {
		return "", APIKey{}, fmt.Errorf("couldn't create an API key: %w", err)
	}
	return secret, k, nil
}

// APIKeys returns the tenant's API keys, newest first, revoked ones too.
func (s *Store) APIKeys(ctx context.Context, scope Scope) ([]APIKey, error) {
	if scope.tenant == "" {
		return nil, ErrScope
	}
	rows, err := scope.In(s.pool).Query(ctx, `
		select api_key_id, name, role, last4, created_at, last_used_at, revoked_at
		from api_key where tenant_id = $1 order by created_at desc, api_key_id`, scope.tenant)
	if err != nil {
		return nil, fmt.Errorf("couldn't read API keys: %w", err)
	}
	keys, err := pgx.CollectRows(rows, pgx.RowToStructByPos[APIKey])
	if err != nil {
		return nil, fmt.Errorf("couldn't read API keys: %w", err)
	}
	return keys, nil
}

// RevokeAPIKey ends an API key: here at once, on other nodes within
// APIKeyMemory. ErrNotFound if the tenant has no such
// active key.
func (s *Store) RevokeAPIKey(ctx context.Context, scope Scope, id string) error {
	if scope.tenant == "" {
		return ErrScope
	}
	if !isID(id) {
		return ErrNotFound
	}
	defer s.knownKeys.forget(id)
	return scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `
			update api_key set revoked_at = clock_timestamp()
			where tenant_id = $1 and api_key_id = $2 and revoked_at is null`, scope.tenant, id)
		if err != nil {
			return fmt.Errorf("couldn't revoke an API key: %w", err)
		}
		if done.RowsAffected() == 0 {
			return ErrNotFound
		}
		return audit(ctx, tx, scope, "api_key.revoked", id, "", nil)
	})
}

// AuthenticateAPIKey returns what an API key opens; ErrAPIKey if it is none of
// ours. The bearer is the Authorization header, with or without "Bearer ".
func (s *Store) AuthenticateAPIKey(ctx context.Context, bearer string) (Scope, error) {
	if scheme, rest, ok := strings.Cut(bearer, " "); ok && strings.EqualFold(scheme, "Bearer") {
		bearer = rest
	}
	id, ok := readAPIKey(bearer)
	if !ok {
		return Scope{}, ErrAPIKey
	}
	got := sha256.Sum256([]byte(bearer))
	if scope, ok := s.knownKeys.find(id, got, time.Now()); ok {
		return scope, nil
	}
	asked := time.Now()
	scope, err := s.lookUpAPIKey(ctx, id, got)
	if DatabaseAway(err) {
		if known, ok := s.knownKeys.findAway(id, got, time.Now()); ok {
			return known, nil
		}
	}
	if err != nil {
		return Scope{}, err
	}
	s.knownKeys.add(id, knownKey{got, scope, asked.Add(APIKeyMemory), asked.Add(APIKeyTrust)})
	return scope, nil
}

// lookUpAPIKey is AuthenticateAPIKey by the database.
func (s *Store) lookUpAPIKey(ctx context.Context, id string, got [32]byte) (Scope, error) {
	ctx, cancel := context.WithTimeout(ctx, apiKeyPatience)
	defer cancel()
	scope := Scope{actor: "api_key:" + id}
	var want []byte
	var stale bool
	err := s.pool.QueryRow(ctx, `
		select tenant_id, name, role, secret_hash, coalesce(last_used_at < clock_timestamp() - interval '1 minute', true)
		from api_key where api_key_id = $1 and revoked_at is null`, id).Scan(&scope.tenant, &scope.name, &scope.role, &want, &stale)
	if errors.Is(err, pgx.ErrNoRows) {
		s.knownKeys.forget(id)
		return Scope{}, ErrAPIKey
	}
	if err != nil {
		return Scope{}, fmt.Errorf("couldn't look an API key up: %w", err)
	}
	if subtle.ConstantTimeCompare(got[:], want) != 1 {
		return Scope{}, ErrAPIKey
	}
	if stale {
		_, err = s.pool.Exec(ctx, `update api_key set last_used_at = clock_timestamp() where api_key_id = $1`, id)
		if err != nil {
			return Scope{}, fmt.Errorf("couldn't note the use of an API key: %w", err)
		}
	}
	return scope, nil
}
