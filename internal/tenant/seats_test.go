package tenant_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/tenant"
)

func isRateLimited(err error) bool {
	var refusal *tenant.Refusal
	return errors.As(err, &refusal) && refusal.Code == tenant.RateLimited
}

// One tenant's seats are full: its next waits for one to be left, another
// tenant does not.
func TestSeatsAreEachTenantsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tenant.NewSeats("requests", 2, 1, time.Second)
		one, err := s.Take(t.Context(), "ten_a")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Take(t.Context(), "ten_a"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Take(t.Context(), "ten_b"); err != nil {
			t.Errorf("the other tenant: %v", err)
		}
		got := make(chan error)
		go func() {
			_, err := s.Take(t.Context(), "ten_a")
			got <- err
		}()
		synctest.Wait() // it waits in the queue, which is full with it
		if _, err := s.Take(t.Context(), "ten_a"); !isRateLimited(err) {
			t.Errorf("beyond the queue: %v", err)
		}
		one()
		if err := <-got; err != nil {
			t.Errorf("the waiting one: %v", err)
		}
		began := time.Now()
		if _, err := s.Take(t.Context(), "ten_a"); !isRateLimited(err) {
			t.Errorf("with all taken: %v", err)
		}
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("waited for %s", waited)
		}
		if n := s.Refused(); n != 2 {
			t.Errorf("%d refused", n)
		}
	})
}

// Who goes away while it waits is not refused, and takes nothing with it.
func TestSeatsAreNotKeptByThoseWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tenant.NewSeats("requests", 1, 1, time.Minute)
		leave, err := s.Take(t.Context(), "ten_a")
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error)
		go func() {
			_, err := s.Take(ctx, "ten_a")
			got <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-got; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that went: %v", err)
		}
		leave()
		if _, err := s.Take(t.Context(), "ten_a"); err != nil {
			t.Errorf("the seat was not free: %v", err)
		}
	})
}

// Whatever comes and goes, no tenant has more seats than its own, and one is
// refused only when they are all taken.
func TestSeatsMachine(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		each := rapid.IntRange(1, 3).Draw(t, "each")
		s := tenant.NewSeats("requests", each, 0, time.Nanosecond)
		leaves := map[tenant.ID][]func(){}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			id := tenant.ID(rapid.SampledFrom([]string{"ten_a", "ten_b"}).Draw(t, "tenant"))
			if n := len(leaves[id]); n > 0 && rapid.Bool().Draw(t, "leave") {
				leaves[id][n-1]()
				leaves[id] = leaves[id][:n-1]
				continue
			}
			leave, err := s.Take(context.Background(), id)
			if full := len(leaves[id]) == each; full != isRateLimited(err) {
				t.Fatalf("%d of %d taken: %v", len(leaves[id]), each, err)
			}
			if err == nil {
				leaves[id] = append(leaves[id], leave)
			}
		}
	})
}
