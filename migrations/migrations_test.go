package migrations_test

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/migrations"
	"github.com/hibari/hibari/migrations/dbtest"
)

// Two processes that start at once must both come up on a migrated database.
func TestApplyTwiceAtOnce(t *testing.T) {
	ctx := context.Background()
	pool, err := pgxpool.New(ctx, dbtest.Empty(t))
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var wg sync.WaitGroup
	ran := make([]int, 2)
	for i := range ran {
		wg.Go(func() {
			n, err := migrations.Apply(ctx, pool)
			if err != nil {
				t.Error(err)
			}
			ran[i] = n
		})
	}
	wg.Wait()
	if ran[0]*ran[1] != 0 || ran[0]+ran[1] == 0 {
		t.Errorf("migrations ran %d and %d times; want all in one process, none in the other", ran[0], ran[1])
	}
	if _, err := pool.Exec(ctx, "select seq from event"); err != nil {
		t.Error(err)
	}
}
