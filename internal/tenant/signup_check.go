package tenant

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Sign-up where mail reaches people: the tenant is made when the address has
// been confirmed, and until then nobody learns whether it has an account.

// BeginSignup writes to the address of a sign-up: a link to confirm it, or that
// it has an account already. The answer is the same, also in time. What it
// returns is for the browser to keep: FinishSignup in that same browser needs no
// password. It fails with a *FieldError for a bad field, a *Refusal with code
// RateLimited for too many from one address.
func (s *Store) BeginSignup(ctx context.Context, n NewTenant, address string) (browser string, err error) {
	if !s.CanMail() {
		return "", ErrNoMail
	}
	if n, err = n.normal(); err != nil {
		return "", err
	}
	if err := checkPassword(n.Password); err != nil {
		return "", err
	}
	if err := s.admitStranger(address); err != nil {
		return "", err
	}
	browser, browserHash := newLinkToken()
	hash, err := s.passwords.hash(ctx, n.Password)
	if err != nil {
		return "", err
	}
	if wait, err := s.take(ctx, mailsTo, accountKey(n.Email)); err != nil || wait > 0 {
		return browser, err // enough mails are on their way
	}
	_, _, err = s.memberByEmail(ctx, accountKey(n.Email))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return "", err
	}
	known := err == nil
	err = s.inTx(ctx, func(tx pgx.Tx) error {
		if known {
			return s.queue(ctx, tx, alreadyMail(n.Email, s.post.PublicURL))
		}
		token, tokenHash := newLinkToken()
		_, err := tx.Exec(ctx, `
			insert into signup (token_hash, browser_hash, name, email, password_hash, time_zone, expires_at)
			values ($1, $2, $3, $4, $5, $6, clock_timestamp() + $7::interval)`,
			tokenHash, browserHash, n.Name, n.Email, hash, n.TimeZone, SignupLifetime)
		if err != nil {
			return fmt.Errorf("couldn't write a sign-up down: %w", err)
		}
		return s.queue(ctx, tx, signupMail(n.Email, s.link("/verify", token)))
	})
	if err != nil {
		return "", err
	}
	s.wakePostman()
	return browser, nil
}

// PendingSignup is a sign-up whose address is about to be confirmed.
type PendingSignup struct {
	Name, Email string
	// SameBrowser says that it is this browser's own. Another must tell the
	// password: else somebody could sign up with your address and a password of
	// theirs, and have you confirm it.
	SameBrowser bool
}

// SignupFor returns what the link of BeginSignup would set up, for a browser
// that keeps this value. ErrLink if it is good for nothing.
func (s *Store) SignupFor(ctx context.Context, token, browser string) (PendingSignup, error) {
	p, _, _, err := s.pendingSignup(ctx, token, browser)
	return PendingSignup{Name: p.Name, Email: p.Email, SameBrowser: p.sameBrowser}, err
}

type pendingSignup struct {
	NewTenant
	sameBrowser bool
}

func (s *Store) pendingSignup(ctx context.Context, token, browser string) (p pendingSignup, passwordHash string, tokenHash []byte, err error) {
	tokenHash, err = readLinkToken(token)
	if err != nil {
		return p, "", nil, err
	}
	var browserHash []byte
	err = s.pool.QueryRow(ctx, `
		select name, email, time_zone, password_hash, browser_hash from signup
		where token_hash = $1 and expires_at > clock_timestamp()`, tokenHash).
		Scan(&p.Name, &p.Email, &p.TimeZone, &passwordHash, &browserHash)
	if errors.Is(err, pgx.ErrNoRows) {
		return p, "", nil, ErrLink
	}
	if err != nil {
		return p, "", nil, fmt.Errorf("couldn't look a sign-up up: %w", err)
	}
	if hash, err := readLinkToken(browser); err == nil {
		p.sameBrowser = subtle.ConstantTimeCompare(hash, browserHash) == 1
	}
	return p, passwordHash, tokenHash, nil
}

// FinishSignup makes the tenant of a sign-up whose address is confirmed by its
// link. From another browser the password is asked for: ErrLogin if it is
// wrong. ErrEmailTaken if the address got an account in the meantime.
func (s *Store) FinishSignup(ctx context.Context, token, browser, password, address string) (Created, error) {
	p, hash, tokenHash, err := s.pendingSignup(ctx, token, browser)
	if err != nil {
		return Created{}, err
	}
	if !p.sameBrowser {
		repay, err := s.charge(ctx, accountKey(p.Email), address)
		if err != nil {
			return Created{}, err
		}
		ok, err := s.passwords.matches(ctx, hash, password)
		if err != nil {
			return Created{}, errors.Join(err, repay())
		}
		if !ok {
			return Created{}, ErrLogin
		}
		if err := repay(); err != nil {
			return Created{}, err
		}
	}
	p.Trial = true
	n, err := p.normal()
	if err != nil {
		return Created{}, err
	}
	return s.createTenant(ctx, n, hash, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `delete from signup where token_hash = $1`, tokenHash)
		if err != nil {
			return fmt.Errorf("couldn't use a sign-up up: %w", err)
		}
		if done.RowsAffected() == 0 {
			return ErrLink
		}
		return nil
	})
}

// Signup makes a tenant at once, for a stranger: where mail does not reach
// people. A *Refusal with code RateLimited for too many from one address.
func (s *Store) Signup(ctx context.Context, n NewTenant, address string) (Created, error) {
	if err := s.admitStranger(address); err != nil {
		return Created{}, err
	}
	return s.CreateTenant(ctx, n)
}
