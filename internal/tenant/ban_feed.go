package tenant

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// How every process learns of the bans of all: it asks, four times a second, what
// changed since it last asked. That is one look into an index while nothing did.

// bansKept is how long bans that are over are remembered: a process that has not
// been able to ask for half as long reads everything anew.
const bansKept = 10 * time.Minute

const banReadTimeout = 2 * time.Second

// runBans keeps what is known of bans fresh until ctx ends.
func (s *Store) runBans(ctx context.Context) {
	ticker := time.NewTicker(BansEvery)
	defer ticker.Stop()
	report := reporter{log: s.log, failing: map[string]bool{}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			report.of(ctx, "look for new bans", s.readBans(ctx))
		}
	}
}

// readBans takes in what has changed.
func (s *Store) readBans(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, banReadTimeout)
	defer cancel()
	s.bans.mu.Lock()
	since := s.bans.oldest
	if time.Since(s.bans.read) > bansKept/2 {
		since = 0
	}
	s.bans.mu.Unlock()

	asked := time.Now()
	changed, oldest, err := s.bansSince(ctx, since)
	if err != nil {
		return fmt.Errorf("couldn't read bans: %w", err)
	}
	b := &s.bans
	b.mu.Lock()
	whole := uint64(0)
	if since == 0 {
		whole = oldest
	}
	news := b.merge(changed, whole, asked)
	b.oldest = oldest       // another may have read since: then some rows come again
	b.read = asked.Round(0) // the monotonic clock of a machine that was put to sleep stood still
	b.mu.Unlock()
	if news && b.onNews != nil {
		b.onNews()
	}
	return nil
}

// bansSince returns the bans that a transaction has changed that began no earlier
// than since, and the oldest transaction that is under way: each row of those
// that are committed is seen at the latest by the reading that starts from there.
func (s *Store) bansSince(ctx context.Context, since uint64) (changed []bar, oldest uint64, err error) {
	rows, err := s.pool.Query(ctx, `
		select pg_snapshot_xmin(pg_current_snapshot())::text, b.tenant_id, b.ban_id, b.kind, b.subject, b.channel_id, b.client_id,
			b.token_hash, b.spares_live, b.expires_at, b.lifted_at is not null, b.changed_in::text
		from (values (1)) as one left join ban b on b.changed_in >= $1::text::xid8`, strconv.FormatUint(since, 10))
	if err != nil {
		return nil, 0, err
	}
	// The row without a ban says what is under way if nothing has changed.
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var b bar
		var now string
		var id, ban, kind, subject, channel, client, changedIn *string
		var hash []byte
		var spares *bool
		var until *time.Time
		err := row.Scan(&now, &id, &ban, &kind, &subject, &channel, &client, &hash, &spares, &until, &b.lifted, &changedIn)
		if err == nil {
			oldest, err = strconv.ParseUint(now, 10, 64)
		}
		if err != nil || ban == nil {
			return struct{}{}, err
		}
		b.tenant = ID(*id)
		b.Ban = Ban{ID: *ban, Kind: BanKind(*kind), Subject: *subject, Channel: *channel, ClientID: *client, SparesLive: *spares, ExpiresAt: *until}
		if b.changed, err = strconv.ParseUint(*changedIn, 10, 64); err != nil {
			return struct{}{}, err
		}
		b.setHash(hash)
		changed = append(changed, b)
		return struct{}{}, nil
	})
	return changed, oldest, err
}

// setHash sets which token b bars: that it names, or that the connection came
// with.
func (b *bar) setHash(ofConnection []byte) {
	if b.Kind == TokenBan {
		b.hash, _ = readHash(b.Subject) // checked when it was made
	} else if len(ofConnection) == len(b.hash) {
		b.hash = [32]byte(ofConnection)
	}
}
