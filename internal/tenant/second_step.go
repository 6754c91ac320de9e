package tenant

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// The second step of a log-in: a code from an authenticator app (totp.go), or
// one of the recovery codes for the day the phone is lost.

// Errors of the second step.
var (
	// ErrCode is a wrong code, or one that was used already.
	ErrCode = errors.New("the code is wrong or was used already")
	// ErrLoginOver is a log-in whose second step came too late, or whose
	// password has changed since.
	ErrLoginOver = errors.New("the log-in took too long: enter your password again")
	// ErrSecondStep is a member who has a second step already.
	ErrSecondStep = errors.New("the member has a second step already")
)

// CodeNeeded is a log-in with the right password that needs a code, too.
type CodeNeeded struct {
	// Proof says that the password was right. It is for FinishLogIn, within
	// CodeWait; alone it opens nothing.
	Proof string
}

// Error says what is missing.
func (*CodeNeeded) Error() string { return "the log-in needs a code of the second step" }

// proof is what the browser keeps between the steps, sealed.
type proof struct {
	Member  string `json:"m"`
	Hash    []byte `json:"h"` // of the stored password hash: a new password ends old proofs
	Expires int64  `json:"x"` // Unix seconds
}

func fingerprint(passwordHash string) []byte {
	sum := sha256.Sum256([]byte(passwordHash))
	return sum[:16]
}

func (s *Store) loginProof(memberID, passwordHash string) string {
	plain, err := json.Marshal(proof{memberID, fingerprint(passwordHash), time.Now().Add(CodeWait).Unix()})
	if err != nil {
		panic(err) // strings and numbers
	}
	return base64.RawURLEncoding.EncodeToString(s.master.seal(plain, "login"))
}

// readProof returns whose proof it is. ErrLoginOver if it is nobody's or old.
func (s *Store) readProof(ctx context.Context, text string) (Member, error) {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(text) > 1024 {
		return Member{}, ErrLoginOver
	}
	plain, err := s.master.open(sealed, "login")
	if err != nil {
		return Member{}, ErrLoginOver
	}
	var p proof
	if json.Unmarshal(plain, &p) != nil || time.Now().Unix() > p.Expires {
		return Member{}, ErrLoginOver
	}
	m := Member{ID: p.Member}
	var hash string
	err = s.pool.QueryRow(ctx, `select tenant_id, email, role, created_at, password_hash from member where member_id = $1`, p.Member).
		Scan(&m.Tenant, &m.Email, &m.Role, &m.CreatedAt, &hash)
	if errors.Is(err, pgx.ErrNoRows) || err == nil && subtle.ConstantTimeCompare(fingerprint(hash), p.Hash) != 1 {
		return Member{}, ErrLoginOver
	}
	if err != nil {
		return Member{}, fmt.Errorf("couldn't look a member up: %w", err)
	}
	return m, nil
}

// FinishLogIn starts the session that LogIn did not, if the code is right:
// ErrCode if not, ErrLoginOver if it is too late, a *Refusal with code
// RateLimited after too many wrong ones.
func (s *Store) FinishLogIn(ctx context.Context, proof, code, address, userAgent string) (cookie string, m Member, err error) {
	m, err = s.readProof(ctx, proof)
	if err != nil {
		return "", Member{}, err
	}
	err = s.withCode(ctx, m, code, func(tx pgx.Tx, kind string) error {
		cookie, err = startSession(ctx, tx, m, address, userAgent, map[string]any{"second_step": kind})
		return err
	})
	if errors.Is(err, ErrCode) {
		if err := audit(ctx, s.pool, m.scope(), "login.failed", m.ID, address, map[string]any{"second_step": "wrong code"}); err != nil {
			return "", Member{}, err
		}
	}
	if err != nil {
		return "", Member{}, err
	}
	return cookie, m, nil
}

// withCode runs f, told which kind of code it was, in the transaction that uses
// up a code of the member's.
func (s *Store) withCode(ctx context.Context, m Member, code string, f func(tx pgx.Tx, kind string) error) error {
	wait, err := s.take(ctx, codeTries, m.ID)
	if err != nil {
		return err
	}
	if wait > 0 {
		return Refuse(RateLimited, "too many wrong codes; try again in %s", roundUp(wait))
	}
	err = m.scope().In(s.pool).Tx(ctx, func(tx pgx.Tx) error {
		kind, err := s.useCode(ctx, tx, m, code)
		if err != nil {
			return err
		}
		return f(tx, kind)
	})
	if !errors.Is(err, ErrCode) {
		err = errors.Join(err, s.giveBack(ctx, codeTries, m.ID))
	}
	return err
}

// useCode uses up a code: that of a time step, or a recovery code.
func (s *Store) useCode(ctx context.Context, tx pgx.Tx, m Member, code string) (kind string, err error) {
	secret, last, now, err := s.secondStep(ctx, tx, m, true)
	if err != nil {
		return "", err
	}
	code = strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(code))
	if step, ok := matchTOTP(secret, code, last, now); ok {
		_, err := tx.Exec(ctx, `update second_step set last_step = $3 where tenant_id = $1 and member_id = $2`, m.Tenant, m.ID, step)
		if err != nil {
			return "", fmt.Errorf("couldn't use a code up: %w", err)
		}
		return "app", nil
	}
	done, err := tx.Exec(ctx, `delete from recovery_code where tenant_id = $1 and member_id = $2 and code_hash = $3`,
		m.Tenant, m.ID, recoveryHash(m.ID, code))
	if err != nil {
		return "", fmt.Errorf("couldn't use a recovery code up: %w", err)
	}
	if done.RowsAffected() == 0 {
		return "", ErrCode
	}
	return "recovery code", nil
}

// secondStep reads and locks a member's secret, confirmed or being set up, and
// the database's time: the same for every process. ErrCode if there is none.
func (s *Store) secondStep(ctx context.Context, tx pgx.Tx, m Member, confirmed bool) (secret []byte, last int64, now time.Time, err error) {
	var sealed []byte
	err = tx.QueryRow(ctx, `
		select secret_sealed, last_step, clock_timestamp() from second_step
		where tenant_id = $1 and member_id = $2 and (confirmed_at is not null) = $3
		for update`, m.Tenant, m.ID, confirmed).Scan(&sealed, &last, &now)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, 0, now, ErrCode
	}
	if err != nil {
		return nil, 0, now, fmt.Errorf("couldn't read a second step: %w", err)
	}
	secret, err = s.master.open(sealed, "totp", m.ID)
	return secret, last, now, err
}

// matchTOTP returns the time step whose code it is, of those not used yet.
func matchTOTP(secret []byte, code string, last int64, now time.Time) (step int64, ok bool) {
	current := now.Unix() / int64(totpPeriod/time.Second)
	for step := current - totpWindow; step <= current+totpWindow; step++ {
		if step > last && subtle.ConstantTimeCompare([]byte(totpAt(secret, step)), []byte(code)) == 1 {
			return step, true
		}
	}
	return 0, false
}

// recoveryHash binds a code to its member. A fast hash is right for 80 random
// bits.
func recoveryHash(memberID, code string) []byte {
	sum := sha256.Sum256([]byte("recovery\x00" + memberID + "\x00" + code))
	return sum[:]
}

// newRecoveryCode returns 80 random bits as they are shown: XXXX-XXXX-XXXX-XXXX.
func newRecoveryCode() string {
	var b [10]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	text := crockford.EncodeToString(b[:])
	return text[:4] + "-" + text[4:8] + "-" + text[8:12] + "-" + text[12:]
}
