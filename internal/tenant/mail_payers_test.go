package tenant_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Who pays is written to about money, in the transaction that it is about, and nobody
// else.
func TestMailPayers(t *testing.T) {
	h, box := newPostalHouse(t)
	other := h.newTenant("Other", "other@example.com")
	for role, name := range map[tenant.MemberRole]string{tenant.Admin: "admin", tenant.Billing: "billing", tenant.Developer: "developer", tenant.Viewer: "viewer"} {
		h.exec(`insert into member (member_id, tenant_id, email, password_hash, role) values ($1, $2, $3, '', $4)`,
			"mem_"+tenant.NewID(), h.made.Tenant, name+"@example.com", role)
	}
	post := func(fail error) error {
		defer h.store.WakePostman()
		return pgx.BeginFunc(t.Context(), h.pool, func(tx pgx.Tx) error {
			if err := h.store.MailPayers(t.Context(), tx, h.made.Tenant, "test", "Money", "It is about money.\n"); err != nil {
				return err
			}
			return fail
		})
	}
	if err := post(errors.New("rolled back")); err == nil {
		t.Fatal("it was committed")
	}
	if err := post(nil); err != nil {
		t.Fatal(err)
	}
	var to []string
	for n := 1; n <= 3; n++ {
		m := box.next(t, n)
		to = append(to, m.To)
		if m.Subject != "Money" || !strings.HasPrefix(m.Text, "It is about money.\n") || !strings.Contains(m.Text, "Skylark.") {
			t.Errorf("%+v", m)
		}
	}
	slices.Sort(to)
	if want := []string{"admin@example.com", "billing@example.com", "owner@example.com"}; !slices.Equal(to, want) {
		t.Errorf("written to %q, want %q", to, want)
	}
	until(t, "nothing else waits", func() bool { return h.outbox() == 0 })
	if n, _ := box.count(); n != 3 || other.Tenant == "" {
		t.Errorf("%d mails", n)
	}

	dumb := newHouse(t) // where no mail can be written, nothing happens
	err := pgx.BeginFunc(t.Context(), dumb.pool, func(tx pgx.Tx) error {
		return dumb.store.MailPayers(t.Context(), tx, dumb.made.Tenant, "test", "Money", "text")
	})
	if err != nil || dumb.outbox() != 0 {
		t.Error(err)
	}
}
