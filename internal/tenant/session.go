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
	Member  Member
	Scope   Scope
	Session string // its id, which opens nothing
	// Proved is how long ago the member last typed the password in this session.
	Proved time.Duration
}

// Fresh reports whether the password was typed lately enough for changes that
// matter: those that would let somebody at a forgotten screen stay in.
func (l Login) Fresh() bool { return l.Proved < ReauthAfter }

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
	err = m.scope().In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		cookie, err = startSession(ctx, tx, m, address, userAgent, nil)
		return err
	})
	return cookie, err
}

// newCookie returns the value of a session cookie and its hash.
func newCookie() (cookie string, hash []byte) {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails: crypto/rand ends the program instead
	sum := sha256.Sum256(secret)
	return base64.RawURLEncoding.EncodeToString(secret), sum[:]
}

// startSession starts a session in a transaction of the member's tenant. The
// detail says how they came in.
func startSession(ctx context.Context, tx pgx.Tx, m Member, address, userAgent string, detail any) (cookie string, err error) {
	cookie, hash := newCookie()
	_, err = tx.Exec(ctx, `
		insert into login_session (session_hash, session_id, tenant_id, member_id, expires_at, address, user_agent)
		values ($1, $2, $3, $4, clock_timestamp() + $5::interval, $6, $7)`,
		hash, "ses_"+NewID(), m.Tenant, m.ID, SessionLifetime, Printable(address, MaxNameBytes), Printable(userAgent, maxUserAgent))
	if err != nil {
		return "", fmt.Errorf("couldn't start a session: %w", err)
	}
	if err := audit(ctx, tx, m.scope(), "login", m.ID, address, detail); err != nil {
		return "", err
	}
	return cookie, nil
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
	var login Login
	var seen time.Duration
	err = s.pool.QueryRow(ctx, `
		select m.member_id, m.tenant_id, m.email, m.role, m.created_at,
		       l.session_id, clock_timestamp() - l.proved_at, clock_timestamp() - l.last_seen_at
		from login_session l join member m using (tenant_id, member_id)
		where l.session_hash = $1
		  and l.expires_at > clock_timestamp()
		  and l.last_seen_at > clock_timestamp() - $2::interval`,
		hash, SessionIdle).Scan(&m.ID, &m.Tenant, &m.Email, &m.Role, &m.CreatedAt, &login.Session, &login.Proved, &seen)
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
	login.Member, login.Scope = m, m.scope()
	return login, nil
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

// SessionInfo is one of a member's sessions, as they see it.
type SessionInfo struct {
	ID         string    `json:"session_id"`
	CreatedAt  time.Time `json:"created_at"`
	LastSeenAt time.Time `json:"last_seen_at"`
	Address    string    `json:"address"`
	UserAgent  string    `json:"user_agent"`
}

// Sessions returns the member's living sessions, the one used last first.
func (s *Store) Sessions(ctx context.Context, l Login) ([]SessionInfo, error) {
	rows, err := l.Scope.In(s.pool).Query(ctx, `
		select session_id, created_at, last_seen_at, address, user_agent
		from login_session
		where tenant_id = $1 and member_id = $2
		  and expires_at > clock_timestamp() and last_seen_at > clock_timestamp() - $3::interval
		order by last_seen_at desc, session_id`, l.Member.Tenant, l.Member.ID, SessionIdle)
	if err != nil {
		return nil, fmt.Errorf("couldn't read sessions: %w", err)
	}
	sessions, err := pgx.CollectRows(rows, pgx.RowToStructByPos[SessionInfo])
	if err != nil {
		return nil, fmt.Errorf("couldn't read sessions: %w", err)
	}
	return sessions, nil
}

// EndSession ends one of the member's own sessions. ErrNotFound if it is none.
func (s *Store) EndSession(ctx context.Context, l Login, sessionID string) error {
	return l.Scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `delete from login_session where tenant_id = $1 and member_id = $2 and session_id = $3`,
			l.Member.Tenant, l.Member.ID, sessionID)
		if err != nil {
			return fmt.Errorf("couldn't end a session: %w", err)
		}
		if done.RowsAffected() == 0 {
			return ErrNotFound
		}
		return audit(ctx, tx, l.Scope, "session.ended", sessionID, "", nil)
	})
}

// EndAllSessions logs the member out everywhere, here too.
func (s *Store) EndAllSessions(ctx context.Context, l Login) error {
	return l.Scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := endSessions(ctx, tx, l.Member, ""); err != nil {
			return err
		}
		return audit(ctx, tx, l.Scope, "session.all_ended", l.Member.ID, "", nil)
	})
}

// endSessions ends a member's sessions but the one to keep; "": all.
func endSessions(ctx context.Context, tx pgx.Tx, m Member, keep string) error {
	_, err := tx.Exec(ctx, `delete from login_session where tenant_id = $1 and member_id = $2 and session_id <> $3`, m.Tenant, m.ID, keep)
	if err != nil {
		return fmt.Errorf("couldn't end a member's sessions: %w", err)
	}
	return nil
}

// renewSession gives a session another cookie, since what it may do grows: the
// old one, should somebody have it, opens nothing any more.
func renewSession(ctx context.Context, tx pgx.Tx, l Login) (cookie string, err error) {
	cookie, hash := newCookie()
	done, err := tx.Exec(ctx, `
		update login_session set session_hash = $4, proved_at = clock_timestamp()
		where tenant_id = $1 and member_id = $2 and session_id = $3`, l.Member.Tenant, l.Member.ID, l.Session, hash)
	if err != nil {
		return "", fmt.Errorf("couldn't renew a session: %w", err)
	}
	if done.RowsAffected() == 0 {
		return "", ErrNoSession
	}
	return cookie, nil
}
