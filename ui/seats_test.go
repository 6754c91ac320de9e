package ui_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/ui"
)

// Pages of a tenant that has all its seats taken say so, other tenants' come.
func TestPagesWaitForTheirTenantsSeats(t *testing.T) {
	t.Parallel()
	seats := tenant.NewSeats("requests", 1, 0, time.Millisecond)
	s := newSite(t, func(c *ui.Config) { c.Requests = seats })
	busy, other := s.owner(t, "Busy"), s.owner(t, "Other")
	leave, err := seats.Take(t.Context(), busy.signed.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	if a := busy.get("/console/keys"); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", a.status, a.header.Get("Retry-After"))
	}
	other.get("/console/keys").want(http.StatusOK)
	leave()
	busy.get("/console/keys").want(http.StatusOK)
}

// A tenant may have 64 live pages open at a node. One more is refused, and
// nobody else's is.
func TestLivePagesOfATenantEnd(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	busy, other := s.owner(t, "Busy"), s.owner(t, "Other")
	var last func()
	for range 64 {
		_, last = busy.follow("/console/live/channels")
	}
	busy.get("/console/live/channels").want(http.StatusTooManyRequests)
	if n := s.console.LivePagesRefused(); n != 1 {
		t.Errorf("counted %d", n)
	}
	_, stop := other.follow("/console/live/channels")
	stop()
	busy.get("/console/channels").want(http.StatusOK)
	last()
}
