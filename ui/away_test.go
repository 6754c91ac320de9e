package ui_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A page that finds no database says so, and the next one works again.
func TestDatabaseAwayHasItsPage(t *testing.T) {
	s := newSite(t)
	p := s.owner(t, "Lark")
	owner := s.pool.Config().ConnConfig
	delete(owner.RuntimeParams, "role") // the platform's role may not end others
	killer, err := pgx.ConnectConfig(t.Context(), owner)
	if err != nil {
		t.Fatal(err)
	}
	defer killer.Close(context.Background())
	deadline := time.Now().Add(20 * time.Second)
	for a := p.get("/console/connections"); a.status != http.StatusServiceUnavailable; a = p.get("/console/connections") {
		if a.status != http.StatusOK {
			t.Fatalf("status %d: %s", a.status, words(a.page()))
		}
		if time.Now().After(deadline) {
			t.Fatal("no page has met a broken connection")
		}
		if _, err := killer.Exec(t.Context(), `
			select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`); err != nil {
			t.Fatal(err)
		}
		if a = p.get("/console/usage"); a.status == http.StatusServiceUnavailable {
			if said := words(a.page()); !strings.Contains(said, "The database does not answer") {
				t.Fatalf("the page says %s", said)
			}
			break
		}
	}
	for p.get("/console/connections").status != http.StatusOK {
		if time.Now().After(deadline) {
			t.Fatal("the console does not come back")
		}
	}
}
