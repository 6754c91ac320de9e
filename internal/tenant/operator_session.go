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

// OperatorLogin is an operator with a valid session, and what it opens.
type OperatorLogin struct {
	Operator  Operator
	Authority Authority
}

// operatorSessionLives is the condition of an operator's session s; $1 is
// SessionIdle.
const operatorSessionLives = `s.expires_at > clock_timestamp() and s.last_seen_at > clock_timestamp() - $1::interval`

func (o Operator) authority() Authority { return Authority{actor: "operator:" + o.ID, name: o.Email} }

// OperatorLogIn starts a session for the operator with this email and password.
// It fails as LogIn does, and the same throttles hold, with an account of its own
// beside a member's of the same address.
func (s *Store) OperatorLogIn(ctx context.Context, email, password, address, userAgent string) (cookie string, o Operator, err error) {
	account := accountKey(email)
	if badText(account) {
		account = "" // nobody's
	}
	repay, err := s.charge(ctx, "operator "+account, address)
	if err != nil {
		return "", Operator{}, err
	}
	var hash string
	err = s.pool.QueryRow(ctx, `select operator_id, email, created_at, password_hash from operator where lower(email) = $1`, account).
		Scan(&o.ID, &o.Email, &o.CreatedAt, &hash)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return "", Operator{}, errors.Join(fmt.Errorf("couldn't look an operator up: %w", err), repay())
	}
	ok, err := s.passwords.matches(ctx, hash, password)
	if err != nil {
		return "", Operator{}, errors.Join(err, repay())
	}
	if !ok {
		if o.ID != "" {
			if err := AuditOperator(withAddress(ctx, address), s.pool, o.authority(), "", "login.failed", o.ID, nil); err != nil {
				return "", Operator{}, err
			}
		}
		return "", Operator{}, ErrLogin
	}
	if err := repay(); err != nil {
		return "", Operator{}, err
	}
	cookie, err = s.startOperatorSession(withAddress(ctx, address), o, address, userAgent)
	return cookie, o, err
}

// withAddress has entries name an address that no request is known to come from.
func withAddress(ctx context.Context, address string) context.Context {
	caller := CallerOf(ctx)
	if caller.Address == "" {
		caller.Address = address
	}
	return WithCaller(ctx, caller)
}

func (s *Store) startOperatorSession(ctx context.Context, o Operator, address, userAgent string) (string, error) {
	secret := make([]byte, 32)
	rand.Read(secret)
	hash := sha256.Sum256(secret)
	err := s.inTx(ctx, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			insert into operator_session (session_hash, operator_id, expires_at, address, user_agent)
			values ($1, $2, clock_timestamp() + $3::interval, $4, $5)`,
			hash[:], o.ID, SessionLifetime, Printable(address, MaxNameBytes), Printable(userAgent, maxUserAgent))
		if err != nil {
			return fmt.Errorf("couldn't start an operator's session: %w", err)
		}
		return AuditOperator(ctx, tx, o.authority(), "", "login", o.ID, nil)
	})
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(secret), nil
}

// OperatorSession returns whose session a cookie is, and keeps it from going
// idle; ErrNoSession. A member's cookie is none.
func (s *Store) OperatorSession(ctx context.Context, cookie string) (OperatorLogin, error) {
	hash, err := sessionHash(cookie)
	if err != nil {
		return OperatorLogin{}, err
	}
	var o Operator
	var seen time.Duration
	err = s.pool.QueryRow(ctx, `
		select o.operator_id, o.email, o.created_at, clock_timestamp() - s.last_seen_at
		from operator_session s join operator o using (operator_id)
		where s.session_hash = $2 and `+operatorSessionLives, SessionIdle, hash).Scan(&o.ID, &o.Email, &o.CreatedAt, &seen)
	if errors.Is(err, pgx.ErrNoRows) {
		return OperatorLogin{}, ErrNoSession
	}
	if err != nil {
		return OperatorLogin{}, fmt.Errorf("couldn't look an operator's session up: %w", err)
	}
	if seen > time.Minute {
		_, err = s.pool.Exec(ctx, `update operator_session set last_seen_at = clock_timestamp() where session_hash = $1`, hash)
		if err != nil {
			return OperatorLogin{}, fmt.Errorf("couldn't keep an operator's session: %w", err)
		}
	}
	return OperatorLogin{Operator: o, Authority: o.authority()}, nil
}

// OperatorLogOut ends an operator's session. A cookie that names none is no error.
func (s *Store) OperatorLogOut(ctx context.Context, cookie string) error {
	hash, err := sessionHash(cookie)
	if err != nil {
		return nil
	}
	return s.inTx(ctx, func(tx pgx.Tx) error {
		var o Operator
		err := tx.QueryRow(ctx, `
			delete from operator_session s using operator o
			where s.session_hash = $1 and o.operator_id = s.operator_id returning o.operator_id, o.email`, hash).Scan(&o.ID, &o.Email)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("couldn't end an operator's session: %w", err)
		}
		return AuditOperator(ctx, tx, o.authority(), "", "logout", o.ID, nil)
	})
}
