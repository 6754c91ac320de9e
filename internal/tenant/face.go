package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// NewTenant is what a sign-up asks for.
type NewTenant struct {
	Name     string
	Email    string // the owner's
	Password string // the owner's; "": no log-in until one is set
	Licence  int    // connections at once; 0: 300
	TimeZone string // IANA name; "": Asia/Tokyo
}

// Created is a new tenant with its first secrets, which are shown only here.
type Created struct {
	Tenant       ID     `json:"tenant_id"`
	MemberID     string `json:"-"`
	APIKey       string `json:"api_key"`
	SigningKeyID string `json:"signing_key_id"`
	SigningKey   string `json:"signing_key"`
	Email        string `json:"email"`
}

// Tenant is a customer.
type Tenant struct {
	ID        ID        `json:"tenant_id"`
	Name      string    `json:"name"`
	TimeZone  string    `json:"time_zone"` // IANA name; days of usage are counted in it
	Status    string    `json:"status"`    // active or suspended
	CreatedAt time.Time `json:"created_at"`
}

// Member is a person with a log-in and a role in one tenant.
type Member struct {
	ID        string     `json:"member_id"`
	Tenant    ID         `json:"tenant_id"`
	Email     string     `json:"email"`
	Role      MemberRole `json:"role"`
	CreatedAt time.Time  `json:"created_at"`
}

// Login is a member with a valid session, and what it opens.
type Login struct {
	Member Member
	Scope  Scope
}

// APIKey describes an API key; the secret is shown once, when it is made.
type APIKey struct {
	ID         string     `json:"api_key_id"`
	Name       string     `json:"name"`
	Last4      string     `json:"last4"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"` // nil: never; at most a minute late
	RevokedAt  *time.Time `json:"revoked_at"`   // nil: active
}

// SigningKey describes a key that access tokens are signed with.
type SigningKey struct {
	ID         string     `json:"signing_key_id"` // the JWT kid
	Name       string     `json:"name"`
	Algorithm  string     `json:"algorithm"` // HS256, ES256 or EdDSA
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"` // nil: never; about a minute late
	RevokedAt  *time.Time `json:"revoked_at"`   // nil: active
}

// Ban bars something of a tenant until it expires.
type Ban struct {
	ID        string    `json:"ban_id"`
	Kind      string    `json:"kind"`    // token
	Subject   string    `json:"subject"` // kind token: hex SHA-256 of the token
	Reason    string    `json:"reason"`
	CreatedBy string    `json:"created_by"` // Scope.Actor
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// AuditEntry is one line of the audit log.
type AuditEntry struct {
	ID      int64           `json:"audit_id"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`
	Action  string          `json:"action"`
	Target  string          `json:"target"`
	Detail  json.RawMessage `json:"detail"`
	Address string          `json:"address,omitempty"`
}

// TokenRequest says what a token signed by us shall allow.
type TokenRequest struct {
	Channel     string        // exact, or a prefix ending in "*"
	Role        string        // in either era's words; "": any
	ClientID    string        // "": the client may choose
	TTL         time.Duration // 0: 10 minutes; at most 24 hours
	MaxDuration time.Duration // 0: none
	Metadata    any           // nil: none; else it must marshal to a JSON object
}

// TokenWish is a connect that shows an access token.
type TokenWish struct {
	Token   any    // as received: it may be anything but a string
	Channel string // as received: it may end in @TENANT_ID
	Role    Role
}

// Execer is what Audit writes through: a transaction, so that the entry stands
// or falls with the change, or a pool.
type Execer interface {
	Exec(ctx context.Context, sql string, arguments ...any) (pgconn.CommandTag, error)
}

var errSoon = errors.ErrUnsupported

func (s *Store) CreateTenant(ctx context.Context, n NewTenant) (Created, error) {
	return Created{}, errSoon
}
func (s *Store) CreateOperator(ctx context.Context, email, password string) error { return errSoon }
func (s *Store) Tenants(ctx context.Context) ([]Tenant, error)                    { return nil, errSoon }
func (s *Store) Tenant(ctx context.Context, scope Scope) (Tenant, error)          { return Tenant{}, errSoon }
func (s *Store) FindTenant(ctx context.Context, idOrNameOrEmail string) (Tenant, error) {
	return Tenant{}, errSoon
}
func (s *Store) Members(ctx context.Context, scope Scope) ([]Member, error) { return nil, errSoon }
func (s *Store) SetPassword(ctx context.Context, scope Scope, memberID, password string) error {
	return errSoon
}
func (s *Store) LogIn(ctx context.Context, email, password, address, userAgent string) (cookie string, m Member, err error) {
	return "", Member{}, errSoon
}
func (s *Store) Session(ctx context.Context, cookie string) (Login, error) { return Login{}, errSoon }
func (s *Store) StartSession(ctx context.Context, memberID, address, userAgent string) (cookie string, err error) {
	return "", errSoon
}
func (s *Store) LogOut(ctx context.Context, cookie string) error { return errSoon }
func (s *Store) CreateAPIKey(ctx context.Context, scope Scope, name string) (secret string, k APIKey, err error) {
	return "", APIKey{}, errSoon
}
func (s *Store) APIKeys(ctx context.Context, scope Scope) ([]APIKey, error)     { return nil, errSoon }
func (s *Store) RevokeAPIKey(ctx context.Context, scope Scope, id string) error { return errSoon }
func (s *Store) AuthenticateAPIKey(ctx context.Context, bearer string) (Scope, error) {
	return Scope{}, errSoon
}
func (s *Store) CreateSigningKey(ctx context.Context, scope Scope, name string) (secret string, k SigningKey, err error) {
	return "", SigningKey{}, errSoon
}
func (s *Store) SigningKeys(ctx context.Context, scope Scope) ([]SigningKey, error) {
	return nil, errSoon
}
func (s *Store) RevokeSigningKey(ctx context.Context, scope Scope, id string) error { return errSoon }
func (s *Store) SignToken(ctx context.Context, scope Scope, r TokenRequest) (string, error) {
	return "", errSoon
}
func (s *Store) Verify(ctx context.Context, w TokenWish) (Claim, string, error) {
	return Claim{}, "", Refuse(Unavailable, "not yet")
}
func (s *Store) BanToken(ctx context.Context, scope Scope, tokenHash [32]byte, until time.Time, reason string) error {
	return errSoon
}
func (s *Store) Bans(ctx context.Context, scope Scope) ([]Ban, error) { return nil, errSoon }
func (s *Store) Audit(ctx context.Context, db Execer, scope Scope, action, target string, detail any) error {
	return errSoon
}
func (s *Store) AuditEntries(ctx context.Context, scope Scope, before int64, limit int) ([]AuditEntry, error) {
	return nil, errSoon
}
func (s *Store) Seal(plain []byte) ([]byte, error)  { return nil, errSoon }
func (s *Store) Open(sealed []byte) ([]byte, error) { return nil, errSoon }
