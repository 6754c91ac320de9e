package tenant

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// SecondStep is what a member's log-in asks for besides the password.
type SecondStep struct {
	On        bool
	Since     *time.Time // it was confirmed
	Codes     int        // recovery codes left
	SettingUp bool       // it has a secret that no code has confirmed yet
}

func (s *Store) hasSecondStep(ctx context.Context, m Member) (on bool, err error) {
	err = m.scope().In(s.pool).QueryRow(ctx, `
		select exists (select from second_step where tenant_id = $1 and member_id = $2 and confirmed_at is not null)`, m.Tenant, m.ID).Scan(&on)
	if err != nil {
		return false, fmt.Errorf("couldn't look a second step up: %w", err)
	}
	return on, nil
}

// SecondStepOf returns the state of the member's own second step.
func (s *Store) SecondStepOf(ctx context.Context, l Login) (SecondStep, error) {
	var state SecondStep
	err := l.Scope.In(s.pool).QueryRow(ctx, `
		select confirmed_at, (select count(*) from recovery_code c where c.tenant_id = $1 and c.member_id = $2)
		from second_step where tenant_id = $1 and member_id = $2`, l.Member.Tenant, l.Member.ID).Scan(&state.Since, &state.Codes)
	if errors.Is(err, pgx.ErrNoRows) {
		return SecondStep{}, nil
	}
	if err != nil {
		return SecondStep{}, fmt.Errorf("couldn't read a second step: %w", err)
	}
	state.On, state.SettingUp = state.Since != nil, state.Since == nil
	return state, nil
}

// BeginSecondStep makes the secret of a second step, which counts only once a
// code has confirmed it. ErrSecondStep if the member has one.
func (s *Store) BeginSecondStep(ctx context.Context, l Login) error {
	m := l.Member
	return l.Scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		done, err := tx.Exec(ctx, `
			insert into second_step as x (tenant_id, member_id, secret_sealed) values ($1, $2, $3)
			on conflict (tenant_id, member_id) do update set secret_sealed = excluded.secret_sealed, created_at = clock_timestamp()
			where x.confirmed_at is null`, m.Tenant, m.ID, s.master.seal(newTOTPSecret(), "totp", m.ID))
		if err != nil {
			return fmt.Errorf("couldn't set a second step up: %w", err)
		}
		if done.RowsAffected() == 0 {
			return ErrSecondStep
		}
		return nil
	})
}

// PendingSecondStep returns the secret that waits to be confirmed: in base32 for
// people, and as the URI for a QR code. ErrNotFound if none does.
func (s *Store) PendingSecondStep(ctx context.Context, l Login) (secret, uri string, err error) {
	err = l.Scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		plain, _, _, err := s.secondStep(ctx, tx, l.Member, false)
		if errors.Is(err, ErrCode) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		secret, uri = base32Secret.EncodeToString(plain), totpURI(plain, l.Member.Email)
		return nil
	})
	return secret, uri, err
}

// ConfirmSecondStep turns the second step on with a code of the secret that
// waits, ends the member's other sessions and returns the recovery codes, which
// are shown only here. ErrCode if the code is wrong.
func (s *Store) ConfirmSecondStep(ctx context.Context, l Login, code string) (codes []string, err error) {
	m := l.Member
	err = l.Scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		secret, last, now, err := s.secondStep(ctx, tx, m, false)
		if err != nil {
			return err
		}
		step, ok := matchTOTP(secret, strings.ReplaceAll(code, " ", ""), last, now)
		if !ok {
			return ErrCode
		}
		_, err = tx.Exec(ctx, `
			update second_step set confirmed_at = clock_timestamp(), last_step = $3 where tenant_id = $1 and member_id = $2`,
			m.Tenant, m.ID, step)
		if err != nil {
			return fmt.Errorf("couldn't turn a second step on: %w", err)
		}
		if codes, err = replaceRecoveryCodes(ctx, tx, m); err != nil {
			return err
		}
		if err := endSessions(ctx, tx, m, l.Session); err != nil {
			return err
		}
		return audit(ctx, tx, l.Scope, "second_step.on", m.ID, "", nil)
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// NewRecoveryCodes replaces the member's recovery codes. ErrNotFound without a
// second step.
func (s *Store) NewRecoveryCodes(ctx context.Context, l Login) (codes []string, err error) {
	err = l.Scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		_, _, _, err := s.secondStep(ctx, tx, l.Member, true)
		if errors.Is(err, ErrCode) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		if codes, err = replaceRecoveryCodes(ctx, tx, l.Member); err != nil {
			return err
		}
		return audit(ctx, tx, l.Scope, "second_step.recovery_codes", l.Member.ID, "", nil)
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

func replaceRecoveryCodes(ctx context.Context, tx pgx.Tx, m Member) ([]string, error) {
	var codes []string
	var hashes [][]byte
	for range RecoveryCodes {
		code := newRecoveryCode()
		codes = append(codes, code)
		hashes = append(hashes, recoveryHash(m.ID, strings.ReplaceAll(code, "-", "")))
	}
	_, err := tx.Exec(ctx, `delete from recovery_code where tenant_id = $1 and member_id = $2`, m.Tenant, m.ID)
	if err == nil {
		_, err = tx.Exec(ctx, `insert into recovery_code (tenant_id, member_id, code_hash) select $1, $2, unnest($3::bytea[])`, m.Tenant, m.ID, hashes)
	}
	if err != nil {
		return nil, fmt.Errorf("couldn't write recovery codes: %w", err)
	}
	return codes, nil
}

// EndSecondStep turns the member's own second step off, or forgets one that
// was never confirmed. What stands in for the member is the password: a session
// alone must not do. ErrLogin if it is wrong.
func (s *Store) EndSecondStep(ctx context.Context, l Login, password, address string) error {
	if err := s.checkPasswordOf(ctx, l, password, address); err != nil {
		return err
	}
	return l.Scope.In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		if err := deleteSecondStep(ctx, tx, l.Member.Tenant, l.Member.ID); err != nil {
			return err
		}
		return audit(ctx, tx, l.Scope, "second_step.off", l.Member.ID, address, nil)
	})
}

// ResetSecondStep turns another member's second step off, for somebody who has
// lost phone and codes, and ends their sessions. Who may is as with SetRole.
func (s *Store) ResetSecondStep(ctx context.Context, scope Scope, memberID string) error {
	return s.changeMember(ctx, scope, memberID, func(tx pgx.Tx, m Member) error {
		if err := deleteSecondStep(ctx, tx, m.Tenant, m.ID); err != nil {
			return err
		}
		if err := endSessions(ctx, tx, m, ""); err != nil {
			return err
		}
		return audit(ctx, tx, scope, "second_step.reset", m.ID, "", nil)
	})
}

func deleteSecondStep(ctx context.Context, tx pgx.Tx, id ID, memberID string) error {
	done, err := tx.Exec(ctx, `delete from second_step where tenant_id = $1 and member_id = $2`, id, memberID)
	if err != nil {
		return fmt.Errorf("couldn't turn a second step off: %w", err)
	}
	if done.RowsAffected() == 0 {
		return ErrNotFound
	}
	return nil
}
