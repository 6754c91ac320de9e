package tenant

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// What members do with their own log-in. Each of these asks for the password,
// or for a session in which it was typed a short while ago (Login.Fresh): the
// caller checks that.

// checkPasswordOf checks the password of a member who is logged in, and counts
// wrong ones as LogIn does. ErrLogin if it is wrong.
func (s *Store) checkPasswordOf(ctx context.Context, l Login, password, address string) error {
	repay, err := s.charge(ctx, accountKey(l.Member.Email), address)
	if err != nil {
		return err
	}
	var hash string
	err = l.Scope.In(s.pool).QueryRow(ctx, `select password_hash from member where tenant_id = $1 and member_id = $2`,
		l.Member.Tenant, l.Member.ID).Scan(&hash)
	if errors.Is(err, pgx.ErrNoRows) {
		return errors.Join(ErrNoSession, repay())
	}
	if err != nil {
		return errors.Join(fmt.Errorf("couldn't look a member up: %w", err), repay())
	}
	ok, err := s.passwords.matches(ctx, hash, password)
	if err != nil {
		return errors.Join(err, repay())
	}
	if !ok {
		if err := audit(ctx, s.pool, l.Scope, "login.failed", l.Member.ID, address, nil); err != nil {
			return err
		}
		return ErrLogin
	}
	return repay()
}

// Prove makes a session fresh again by the member's password, and returns its
// new cookie: the old one opens nothing any more. ErrLogin if it is wrong.
func (s *Store) Prove(ctx context.Context, l Login, password, address string) (cookie string, err error) {
	if err := s.checkPasswordOf(ctx, l, password, address); err != nil {
		return "", err
	}
	err = l.Scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		cookie, err = renewSession(ctx, tx, l)
		return err
	})
	return cookie, err
}

// ChangePassword gives the member another password by the old one, ends all
// other sessions and returns this one's new cookie. ErrLogin if the old one is
// wrong, a *FieldError of "password" if the new one will not do.
func (s *Store) ChangePassword(ctx context.Context, l Login, old, password, address string) (cookie string, err error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	if err := s.checkPasswordOf(ctx, l, old, address); err != nil {
		return "", err
	}
	hash, err := s.passwords.hash(ctx, password)
	if err != nil {
		return "", err
	}
	err = l.Scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := setPassword(ctx, tx, l.Member, hash); err != nil {
			return err
		}
		if err := endSessions(ctx, tx, l.Member, l.Session); err != nil {
			return err
		}
		if cookie, err = renewSession(ctx, tx, l); err != nil {
			return err
		}
		if err := s.tellOfPassword(ctx, tx, l.Member); err != nil {
			return err
		}
		return audit(ctx, tx, l.Scope, "member.password_changed", l.Member.ID, address, nil)
	})
	if err != nil {
		return "", err
	}
	s.wakePostman()
	return cookie, nil
}

// setPassword writes a password's hash, and ends the links that could have set
// another. ErrNotFound if there is no such member.
func setPassword(ctx context.Context, tx pgx.Tx, m Member, hash string) error {
	done, err := tx.Exec(ctx, `update member set password_hash = $3 where tenant_id = $1 and member_id = $2`, m.Tenant, m.ID, hash)
	if err != nil {
		return fmt.Errorf("couldn't set a password: %w", err)
	}
	if done.RowsAffected() == 0 {
		return ErrNotFound
	}
	_, err = tx.Exec(ctx, `delete from member_token where tenant_id = $1 and member_id = $2`, m.Tenant, m.ID)
	if err != nil {
		return fmt.Errorf("couldn't end a member's links: %w", err)
	}
	return nil
}

// tellOfPassword writes to the member that the password is another now.
func (s *Store) tellOfPassword(ctx context.Context, tx pgx.Tx, m Member) error {
	if !s.CanMail() {
		return nil
	}
	return s.queue(ctx, tx, passwordChangedMail(m.Email, s.post.PublicURL))
}
