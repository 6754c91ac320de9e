package tenant

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Member is a person with a log-in and a role in one tenant.
type Member struct {
	ID        string     `json:"member_id"`
	Tenant    ID         `json:"tenant_id"`
	Email     string     `json:"email"`
	Role      MemberRole `json:"role"`
	CreatedAt time.Time  `json:"created_at"`
}

// LogIn starts a session for the member with this email and password. A wrong
// email and a wrong password are the same ErrLogin after the same time. Too
// many wrong ones for an account or from an address are a *Refusal with code
// RateLimited, whatever the password is. A member with a second step gets no
// session yet but a *CodeNeeded.
func (s *Store) LogIn(ctx context.Context, email, password, address, userAgent string) (cookie string, m Member, err error) {
	account := accountKey(email)
	repay, err := s.charge(ctx, account, address)
	if err != nil {
		return "", Member{}, err
	}
	m, hash, err := s.memberByEmail(ctx, account)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", Member{}, errors.Join(err, repay())
	}
	ok, err := s.passwords.matches(ctx, hash, password)
	if err != nil {
		return "", Member{}, errors.Join(err, repay())
	}
	if !ok {
		if m.ID != "" {
			if err := audit(ctx, m.scope().In(s.pool), m.scope(), "login.failed", m.ID, address, nil); err != nil {
				return "", Member{}, err
			}
		}
		return "", Member{}, ErrLogin
	}
	if err := repay(); err != nil {
		return "", Member{}, err
	}
	second, err := s.hasSecondStep(ctx, m)
	if err != nil {
		return "", Member{}, err
	}
	if second {
		return "", Member{}, &CodeNeeded{Proof: s.loginProof(m.ID, hash)}
	}
	err = m.scope().In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		cookie, err = startSession(ctx, tx, m, address, userAgent, nil)
		return err
	})
	if err != nil {
		return "", Member{}, err
	}
	return cookie, m, nil
}

// scope is what the member's log-in opens.
func (m Member) scope() Scope {
	return Scope{tenant: m.Tenant, actor: "member:" + m.ID, name: m.Email, role: m.Role}
}

// accountKey is the form of an address that log-ins are counted by; what is no
// address is nobody's.
func accountKey(email string) string {
	email = strings.ToLower(strings.TrimSpace(email))
	if len(email) > maxEmailBytes {
		return ""
	}
	return email
}

// charge takes one attempt from the account and from the address, and returns
// what gives both back. This process's own memory is asked first, so that
// guessing costs the database no more than the guesses it lets through.
func (s *Store) charge(ctx context.Context, account, address string) (repay func() error, err error) {
	from, now := addressKey(address), time.Now()
	if wait := s.addresses.take(from, now); wait > 0 {
		return nil, Refuse(RateLimited, "too many wrong log-ins from this address; try again in %s", roundUp(wait))
	}
	wait := s.accounts.take(account, now)
	if wait == 0 {
		if wait, err = s.take(ctx, loginTries, account); err != nil || wait > 0 {
			s.accounts.giveBack(account, now)
		}
	}
	if err != nil || wait > 0 {
		s.addresses.giveBack(from, now)
	}
	switch {
	case err != nil:
		return nil, err
	case wait > 0:
		return nil, Refuse(RateLimited, "too many wrong log-ins for this account; try again in %s", roundUp(wait))
	}
	return func() error {
		s.addresses.giveBack(from, time.Now())
		s.accounts.giveBack(account, time.Now())
		return s.giveBack(ctx, loginTries, account)
	}, nil
}

// roundUp makes a wait readable and never 0.
func roundUp(d time.Duration) time.Duration { return (d + time.Second - 1).Truncate(time.Second) }

// addressKey is the address without its port, and of IPv6 the /64, which one
// host has to itself.
func addressKey(address string) string {
	ip, err := netip.ParseAddr(address)
	if withPort, errPort := netip.ParseAddrPort(address); errPort == nil {
		ip, err = withPort.Addr(), nil
	}
	if err != nil {
		return address
	}
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		if prefix, err := ip.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return ip.String()
}

// memberByEmail also returns the member's password hash, "" if none is set.
func (s *Store) memberByEmail(ctx context.Context, email string) (m Member, hash string, err error) {
	if email == "" || badText(email) {
		return Member{}, "", ErrNotFound
	}
	err = s.pool.QueryRow(ctx, `
		select member_id, tenant_id, email, role, created_at, password_hash
		from member where lower(email) = lower($1)`, email).
		Scan(&m.ID, &m.Tenant, &m.Email, &m.Role, &m.CreatedAt, &hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return Member{}, "", ErrNotFound
	}
	if err != nil {
		return Member{}, "", fmt.Errorf("couldn't look a member up: %w", err)
	}
	return m, hash, nil
}

// SetPassword gives a member of the tenant a new password and ends all of the
// member's sessions.
func (s *Store) SetPassword(ctx context.Context, scope Scope, memberID, password string) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	hash, err := s.passwords.hash(ctx, password)
	if err != nil {
		return err
	}
	return scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		m := Member{ID: memberID, Tenant: scope.tenant}
		if err := setPassword(ctx, tx, m, hash); err != nil {
			return err
		}
		if err := endSessions(ctx, tx, m, ""); err != nil {
			return err
		}
		return audit(ctx, tx, scope, "member.password_set", memberID, "", nil)
	})
}
