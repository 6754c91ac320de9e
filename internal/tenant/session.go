package tenant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Login is a member with a valid session, and what it opens.
type Login struct {
	Member Member
	Scope  Scope
}

// maxUserAgent bounds what a browser says about itself in the list of sessions.
const maxUserAgent = 256

// StartSession logs a member in without a password: after sign-up. It returns
// the value for the session cookie, which is kept nowhere else.
func (s *Store) StartSession(ctx context.Context, memberID, address, userAgent string) (cookie string, err error) {
	m := Member{ID: memberID}
	err = s.pool.QueryRow(ctx, `select tenant_id, email from member where member_id = $1`, memberID).Scan(&m.Tenant, &m.Email)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrNotFound
	}
	if err != nil {
		return "", fmt.Errorf("couldn't look a member up: %w", err)
	}
	return s.startSession(ctx, m, address, userAgent)
}

func (s *Store) startSession(ctx context.Context, m Member, address, userAgent string) (string, error) {
	secret := make([]byte, 32)
	rand.Read(secret)
	hash := sha256.Sum256(secret)
	address, userAgent = Printable(address, MaxNameBytes), Printable(userAgent, maxUserAgent)
	err := m.scope().In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			insert into login_session (session_hash, tenant_id, member_id, expires_at, address, user_agent)
			values ($1, $2, $3, clock_timestamp() + $4::interval, $5, $6)`,
			hash[:], m.Tenant, m.ID, SessionLifetime, address, userAgent)
		if err != nil {
			return fmt.Errorf("couldn't start a session: %w", err)
		}
		return audit(ctx, tx, m.scope(), "login", m.ID, address, nil)
	})
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(secret), nil
}

// sessionHash is how a session is stored: whoever reads the table cannot walk
// in with it.
func sessionHash(cookie string) ([]byte, error) {
	secret, err := base64.RawURLEncoding.Strict().DecodeString(cookie)
	if err != nil || len(secret) != 32 {
		return nil, ErrNoSession
	}
	hash := sha256.Sum256(secret)
	return hash[:], nil
}

// Session returns whose session a cookie is, and keeps it from going idle.
func (s *Store) Session(ctx context.Context, cookie string) (Login, error) {
	hash, err := sessionHash(cookie)
	if err != nil {
		return Login{}, err
	}
	var m Member
	var seen time.Duration
	err = s.pool.QueryRow(ctx, `
		select m.member_id, m.tenant_id, m.email, m.role, m.created_at, clock_timestamp() - l.last_seen_at
		from login_session l join member m using (tenant_id, member_id)
		where l.session_hash = $1
		  and l.expires_at > clock_timestamp()
		  and l.last_seen_at > clock_timestamp() - $2::interval`,
		hash, SessionIdle).Scan(&m.ID, &m.Tenant, &m.Email, &m.Role, &m.CreatedAt, &seen)
	if errors.Is(err, pgx.ErrNoRows) {
		return Login{}, ErrNoSession
	}
	if err != nil {
		return Login{}, fmt.Errorf("couldn't look a session up: %w", err)
	}
	// Once a minute is enough against twelve hours, and spares a write per page.
	if seen > time.Minute {
		_, err = s.pool.Exec(ctx, `update login_session set last_seen_at = clock_timestamp() where session_hash = $1`, hash)
		if err != nil {
			return Login{}, fmt.Errorf("couldn't keep a session: %w", err)
		}
	}
	return Login{Member: m, Scope: m.scope()}, nil
}

// LogOut ends a session. A cookie that names none is no error.
func (s *Store) LogOut(ctx context.Context, cookie string) error {
	hash, err := sessionHash(cookie)
	if err != nil {
		return nil
	}
	return s.inTx(ctx, func(tx pgx.Tx) error {
		var m Member
		err := tx.QueryRow(ctx, `
			delete from login_session l using member m
			where l.session_hash = $1 and m.tenant_id = l.tenant_id and m.member_id = l.member_id
			returning m.tenant_id, m.member_id, m.email`, hash).Scan(&m.Tenant, &m.ID, &m.Email)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("couldn't end a session: %w", err)
		}
		return audit(ctx, tx, m.scope(), "logout", m.ID, "", nil)
	})
}
