package tenant

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// allowance is a token bucket in the database: exact over all processes, where
// a throttle's is each process's own. Whoever can be many asks a throttle
// first, so that refusing them costs the database nothing.
//
// A bucket is one time, when it will be full again. Rows of full buckets are
// purged, so the table holds only who tried something in the last minutes.
type allowance struct {
	what   string // tried; keeps the keys of allowances apart
	burst  int
	refill time.Duration // for one
}

// What is counted over all processes.
var (
	loginTries = allowance{"login", LoginsPerAccount, LoginsPerAccountRefill}
	codeTries  = allowance{"code", CodesPerAccount, CodesPerAccountRefill}
	mailsTo    = allowance{"mail", MailsPerRecipient, MailsPerRecipientRefill}
	inviting   = allowance{"invite", InvitationsPerTenant, InvitationsPerTenantRefill}
)

func (a allowance) key(of string) []byte {
	hash := sha256.Sum256([]byte(a.what + "\x00" + of))
	return hash[:]
}

// take takes one, or returns how long it will be until there is one.
func (s *Store) take(ctx context.Context, a allowance, of string) (wait time.Duration, err error) {
	var taken bool
	err = s.pool.QueryRow(ctx, `
		insert into throttle as t (key, full_at) values ($1, clock_timestamp() + $2::interval)
		on conflict (key) do update set full_at = greatest(t.full_at, clock_timestamp()) + $2::interval
		where greatest(t.full_at, clock_timestamp()) + $2::interval <= clock_timestamp() + $3::interval
		returning true`, a.key(of), a.refill, time.Duration(a.burst)*a.refill).Scan(&taken)
	if err == nil {
		return 0, nil
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("couldn't count an attempt: %w", err)
	}
	err = s.pool.QueryRow(ctx, `select full_at - clock_timestamp() - $2::interval from throttle where key = $1`,
		a.key(of), time.Duration(a.burst-1)*a.refill).Scan(&wait)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return 0, fmt.Errorf("couldn't count an attempt: %w", err)
	}
	return max(wait, time.Second), nil
}

// giveBack undoes a take. It is done after the answer is known, also for a
// client that is gone.
func (s *Store) giveBack(ctx context.Context, a allowance, of string) error {
	_, err := s.pool.Exec(context.WithoutCancel(ctx), `update throttle set full_at = full_at - $2::interval where key = $1`, a.key(of), a.refill)
	if err != nil {
		return fmt.Errorf("couldn't count an attempt: %w", err)
	}
	return nil
}
