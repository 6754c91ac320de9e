package stats

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/sfu"
)

// Sampled takes a reading as Run does.
func (s *Store) Sampled(r sfu.Reading) { s.add(&r) }

// Forgive has every client be allowed to report again.
func (s *Store) Forgive() {
	s.reports.mu.Lock()
	defer s.reports.mu.Unlock()
	for _, t := range s.reports.tenants {
		for _, c := range t.clients {
			c.at = time.Time{}
		}
	}
}

// Use has the store write to another database.
func (s *Store) Use(pool *pgxpool.Pool) { s.pool = pool }

// Flush writes what waits.
func (s *Store) Flush(ctx context.Context) error {
	s.flush(ctx, func(id string) string { return id })
	if n, _ := s.backlog.size(); n > 0 {
		return errors.New("samples are left")
	}
	return nil
}

// Forget drops what waits.
func (s *Store) Forget() { s.backlog.take(maxWaiting) }
