package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// How mail is sent on. A mail waits longer after each failure, and is given up
// after a day: what its link was for has passed by then.
const (
	mailPoll    = 5 * time.Second  // for mails of other processes, and for second tries
	mailTimeout = 30 * time.Second // for one message
	mailLease   = 2 * time.Minute  // until another process takes over from one that died
	mailGivenUp = 24 * time.Hour
)

// mailWaits are the times between tries; the last one repeats.
var mailWaits = []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}

// MailStats counts what became of mails, in this process.
type MailStats struct {
	Sent    int64 // the mail server has them
	Failed  int64 // tries that failed and are repeated
	Dropped int64 // refused by the mail server, or given up after a day
}

// mailCounts is MailStats as it grows.
type mailCounts struct{ sent, failed, dropped atomic.Int64 }

// MailStats returns the counts since the start.
func (s *Store) MailStats() MailStats {
	return MailStats{s.mails.sent.Load(), s.mails.failed.Load(), s.mails.dropped.Load()}
}

// wakePostman has the outbox looked at soon. It never blocks.
func (s *Store) wakePostman() {
	select {
	case s.posted <- struct{}{}:
	default:
	}
}

// RunMail sends what waits in the outbox until ctx ends: at least once each,
// whatever dies. Any number of processes may run it. Without a mailer it
// returns at once.
func (s *Store) RunMail(ctx context.Context) {
	if !s.CanMail() {
		return
	}
	poll := time.NewTicker(mailPoll)
	defer poll.Stop()
	report := reporter{log: s.log, failing: map[string]bool{}}
	for {
		for {
			more, err := s.sendNext(ctx)
			report.of(ctx, "sending of mail", err)
			if !more || err != nil {
				break
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-poll.C:
		case <-s.posted:
		}
	}
}

// waiting is a mail that this process has claimed.
type waiting struct {
	id, kind string
	sealed   []byte
	age      time.Duration
	tries    int // this one included
}

// sendNext sends the mail that is due first; false if none is. An error is the
// database's: that of the mail server is dealt with here.
func (s *Store) sendNext(ctx context.Context) (more bool, err error) {
	var w waiting
	err = s.pool.QueryRow(ctx, `
		update mail_outbox set next_at = clock_timestamp() + $1::interval, tries = tries + 1
		where mail_id = (select mail_id from mail_outbox where next_at <= clock_timestamp() order by next_at limit 1 for update skip locked)
		returning mail_id, kind, sealed, clock_timestamp() - created_at, tries`, mailLease).
		Scan(&w.id, &w.kind, &w.sealed, &w.age, &w.tries)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("couldn't look for mail: %w", err)
	}
	err = s.send(ctx, w)
	count := &s.mails.sent
	switch {
	case ctx.Err() != nil:
		return false, nil // another process sends it when the lease has passed
	case err == nil:
	case errors.Is(err, ErrMailRefused), errors.Is(err, errSealed), w.age > mailGivenUp:
		count = &s.mails.dropped
		s.log.Error("a mail is given up", "mail", w.id, "kind", w.kind, "tries", w.tries, "error", err)
	default:
		again := mailWaits[min(w.tries, len(mailWaits))-1]
		s.log.Warn("a mail couldn't be sent; it is tried again", "mail", w.id, "kind", w.kind, "tries", w.tries, "in", again, "error", err)
		_, err = s.pool.Exec(ctx, `update mail_outbox set next_at = clock_timestamp() + $2::interval where mail_id = $1`, w.id, again)
		if err == nil {
			s.mails.failed.Add(1)
		}
		return true, err
	}
	_, err = s.pool.Exec(ctx, `delete from mail_outbox where mail_id = $1`, w.id)
	if err == nil && w.kind != noMail {
		count.Add(1)
	}
	return true, err
}

func (s *Store) send(ctx context.Context, w waiting) error {
	if w.kind == noMail {
		return nil
	}
	plain, err := s.master.open(w.sealed, "mail", w.id)
	if err != nil {
		return err
	}
	var m Message
	if err := json.Unmarshal(plain, &m); err != nil {
		return errSealed
	}
	ctx, cancel := context.WithTimeout(ctx, mailTimeout)
	defer cancel()
	return s.post.Mailer.Send(ctx, m)
}
