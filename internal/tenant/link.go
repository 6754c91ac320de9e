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

// Links in mails carry a token of 256 random bits that is kept only as its
// SHA-256, works once and for a short time. What it is good for is done by a
// POST: programs that look through mail follow links.

// ErrLink is a link that is wrong, was used already, or is too old.
var ErrLink = errors.New("the link is wrong, too old or was used already")

// ErrNoMail is a wish that needs mail on a platform that sends none.
var ErrNoMail = errors.New("this platform sends no mail")

func newLinkToken() (token string, hash []byte) {
	secret := make([]byte, 32)
	rand.Read(secret) // never fails: crypto/rand ends the program instead
	return base64.RawURLEncoding.EncodeToString(secret), linkHash(secret)
}

func linkHash(secret []byte) []byte {
	hash := sha256.Sum256(secret)
	return hash[:]
}

// readLinkToken returns the hash that a token is stored as. ErrLink if it is no
// token.
func readLinkToken(token string) ([]byte, error) {
	secret, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(secret) != 32 {
		return nil, ErrLink
	}
	return linkHash(secret), nil
}

// purpose is what a link to a member is good for.
type purpose string

const (
	toReset purpose = "reset" // the password
	toEmail purpose = "email" // to change the address
)

// memberLink writes down a new link for a member, in the place of older ones
// for the same purpose, and returns its token.
func memberLink(ctx context.Context, tx pgx.Tx, m Member, p purpose, email string, lifetime time.Duration) (token string, err error) {
	token, hash := newLinkToken()
	_, err = tx.Exec(ctx, `delete from member_token where tenant_id = $1 and member_id = $2 and purpose = $3`, m.Tenant, m.ID, p)
	if err == nil {
		_, err = tx.Exec(ctx, `
			insert into member_token (tenant_id, token_hash, member_id, purpose, email, expires_at)
			values ($1, $2, $3, $4, $5, clock_timestamp() + $6::interval)`, m.Tenant, hash, m.ID, p, email, lifetime)
	}
	if err != nil {
		return "", fmt.Errorf("couldn't write a link down: %w", err)
	}
	return token, nil
}

// linkedMember returns whose a link is, and its email; it uses nothing up.
func (s *Store) linkedMember(ctx context.Context, token string, p purpose) (m Member, email string, hash []byte, err error) {
	hash, err = readLinkToken(token)
	if err != nil {
		return Member{}, "", nil, err
	}
	err = s.pool.QueryRow(ctx, `
		select m.member_id, m.tenant_id, m.email, m.role, m.created_at, k.email
		from member_token k join member m using (tenant_id, member_id)
		where k.token_hash = $1 and k.purpose = $2 and k.expires_at > clock_timestamp()`, hash, p).
		Scan(&m.ID, &m.Tenant, &m.Email, &m.Role, &m.CreatedAt, &email)
	if errors.Is(err, pgx.ErrNoRows) {
		return Member{}, "", nil, ErrLink
	}
	if err != nil {
		return Member{}, "", nil, fmt.Errorf("couldn't look a link up: %w", err)
	}
	return m, email, hash, nil
}

// useLink uses a link up. ErrLink if somebody was faster.
func useLink(ctx context.Context, tx pgx.Tx, m Member, hash []byte) error {
	done, err := tx.Exec(ctx, `delete from member_token where tenant_id = $1 and token_hash = $2`, m.Tenant, hash)
	if err != nil {
		return fmt.Errorf("couldn't use a link up: %w", err)
	}
	if done.RowsAffected() == 0 {
		return ErrLink
	}
	return nil
}

// admit takes one from what strangers at an address may ask for.
func (s *Store) admitStranger(address string) error {
	if wait := s.strangers.take(addressKey(address), time.Now()); wait > 0 {
		return Refuse(RateLimited, "too many requests from this address; try again in %s", roundUp(wait))
	}
	return nil
}

// AskReset writes to the member with this address a link to choose another
// password. Whether there is one is told to nobody: not by the answer, nor by
// how long it takes. ErrNoMail if the platform sends none.
func (s *Store) AskReset(ctx context.Context, email, address string) error {
	if !s.CanMail() {
		return ErrNoMail
	}
	email, err := checkEmail(email)
	if err != nil {
		return err
	}
	if err := s.admitStranger(address); err != nil {
		return err
	}
	if wait, err := s.take(ctx, mailsTo, accountKey(email)); err != nil || wait > 0 {
		return err // enough mails are on their way
	}
	m, _, err := s.memberByEmail(ctx, accountKey(email))
	if errors.Is(err, ErrNotFound) {
		err = s.queue(ctx, s.pool, mailing{kind: noMail})
		s.wakePostman()
		return err
	}
	if err != nil {
		return err
	}
	err = m.scope().In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		token, err := memberLink(ctx, tx, m, toReset, "", ResetLifetime)
		if err != nil {
			return err
		}
		if err := s.queue(ctx, tx, resetMail(m.Email, s.link("/reset", token))); err != nil {
			return err
		}
		return audit(ctx, tx, m.scope(), "member.reset_asked", m.ID, address, nil)
	})
	if err != nil {
		return err
	}
	s.wakePostman()
	return nil
}

// ResetFor returns whose password the link of AskReset may set. ErrLink if it
// is good for nothing.
func (s *Store) ResetFor(ctx context.Context, token string) (email string, err error) {
	m, _, _, err := s.linkedMember(ctx, token, toReset)
	return m.Email, err
}

// ResetPassword sets a password by the link of AskReset and ends all of the
// member's sessions. It logs nobody in: a second step is asked for as ever.
func (s *Store) ResetPassword(ctx context.Context, token, password, address string) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	m, _, tokenHash, err := s.linkedMember(ctx, token, toReset)
	if err != nil {
		return err
	}
	hash, err := s.passwords.hash(ctx, password)
	if err != nil {
		return err
	}
	err = m.scope().In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := useLink(ctx, tx, m, tokenHash); err != nil {
			return err
		}
		if err := setPassword(ctx, tx, m, hash); err != nil {
			return err
		}
		if err := endSessions(ctx, tx, m, ""); err != nil {
			return err
		}
		if err := s.tellOfPassword(ctx, tx, m); err != nil {
			return err
		}
		return audit(ctx, tx, m.scope(), "member.password_reset", m.ID, address, nil)
	})
	if err != nil {
		return err
	}
	s.wakePostman()
	return nil
}

// AskEmail writes a link to the address that the member wants to log in with.
// Nothing changes before it is used, and whether the address is somebody's is
// told only there. ErrNoMail if the platform sends none.
func (s *Store) AskEmail(ctx context.Context, l Login, email string) error {
	if !s.CanMail() {
		return ErrNoMail
	}
	email, err := checkEmail(email)
	if err != nil {
		return err
	}
	if wait, err := s.take(ctx, mailsTo, accountKey(email)); err != nil {
		return err
	} else if wait > 0 {
		return Refuse(RateLimited, "too many mails to this address; try again in %s", roundUp(wait))
	}
	err = l.Scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		token, err := memberLink(ctx, tx, l.Member, toEmail, email, EmailLifetime)
		if err != nil {
			return err
		}
		if err := s.queue(ctx, tx, emailMail(email, s.link("/email", token))); err != nil {
			return err
		}
		return audit(ctx, tx, l.Scope, "member.email_asked", l.Member.ID, "", nil)
	})
	if err != nil {
		return err
	}
	s.wakePostman()
	return nil
}

// EmailFor returns the address that the link of AskEmail is about.
func (s *Store) EmailFor(ctx context.Context, token string) (email string, err error) {
	_, email, _, err = s.linkedMember(ctx, token, toEmail)
	return email, err
}

// ChangeEmail changes a member's address by the link of AskEmail, and writes to
// the old one. ErrEmailTaken if the new one has become another's.
func (s *Store) ChangeEmail(ctx context.Context, token, address string) error {
	m, email, hash, err := s.linkedMember(ctx, token, toEmail)
	if err != nil {
		return err
	}
	err = m.scope().In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := useLink(ctx, tx, m, hash); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `update member set email = $3 where tenant_id = $1 and member_id = $2`, m.Tenant, m.ID, email)
		if taken(err, "member_email") {
			return ErrEmailTaken
		}
		if err != nil {
			return fmt.Errorf("couldn't change an address: %w", err)
		}
		// Links that went to the old address are no longer the member's.
		_, err = tx.Exec(ctx, `delete from member_token where tenant_id = $1 and member_id = $2`, m.Tenant, m.ID)
		if err != nil {
			return fmt.Errorf("couldn't end a member's links: %w", err)
		}
		if err := s.queue(ctx, tx, emailChangedMail(m.Email, s.post.PublicURL)); err != nil {
			return err
		}
		return audit(ctx, tx, m.scope(), "member.email_changed", m.ID, address, Diff{"email": {m.Email, email}})
	})
	if err != nil {
		return err
	}
	s.wakePostman()
	return nil
}
