package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

// A server that is down gets the mail when it is up again; meanwhile the tries
// become fewer.
func TestMailIsTriedAgain(t *testing.T) {
	h, box := newPostalHouse(t)
	box.failing(errors.New("connection refused"))
	if err := h.store.AskReset(t.Context(), "owner@example.com", ""); err != nil {
		t.Fatal(err)
	}
	until(t, "it was tried", func() bool { return h.store.MailStats().Failed == 1 })
	for try, seconds := range []int{10, 60, 300, 900, 3600, 3600} {
		var wait float64
		until(t, "the next try is set", func() bool {
			err := h.pool.QueryRow(t.Context(), `select extract(epoch from next_at - clock_timestamp()) from mail_outbox where tries = $1`, try+1).Scan(&wait)
			return err == nil && wait <= float64(seconds)
		})
		if wait < float64(seconds)-5 {
			t.Errorf("after try %d the next is in %.0f s, want %d", try+1, wait, seconds)
		}
		h.exec(`update mail_outbox set next_at = clock_timestamp()`)
		h.poke()
		until(t, "it was tried again", func() bool { return h.store.MailStats().Failed == int64(try+2) })
	}
	box.failing(nil)
	h.exec(`update mail_outbox set next_at = clock_timestamp()`)
	h.poke()
	h.tokenIn(box.next(t, 1), "/reset")
	until(t, "the outbox is empty", func() bool { return h.outbox() == 0 })
	if stats := h.store.MailStats(); stats.Sent != 1 || stats.Dropped != 0 {
		t.Errorf("stats %+v", stats)
	}
}

// poke wakes the postman by a mail to nobody.
func (h *house) poke() {
	h.t.Helper()
	if err := h.store.AskReset(h.t.Context(), "nobody-"+tenant.NewID()+"@example.com", "192.0.2."+fmt.Sprint(len(h.log.String())%250)); err != nil {
		h.t.Fatal(err)
	}
}

func TestMailIsGivenUp(t *testing.T) {
	for name, age := range map[string]string{"refused for good": "0 hours", "after a day": "25 hours"} {
		t.Run(name, func(t *testing.T) {
			h, box := newPostalHouse(t)
			box.failing(errors.New("down"))
			if age == "0 hours" {
				box.failing(fmt.Errorf("%w: 550", tenant.ErrMailRefused))
			} else {
				if err := h.store.AskReset(t.Context(), "owner@example.com", ""); err != nil {
					t.Fatal(err)
				}
				until(t, "it was tried", func() bool { return h.store.MailStats().Failed == 1 })
				h.exec(`update mail_outbox set created_at = created_at - $1::interval, next_at = clock_timestamp()`, age)
			}
			if err := h.store.AskReset(t.Context(), "owner@example.com", ""); err != nil {
				t.Fatal(err)
			}
			until(t, "it is given up", func() bool { return h.store.MailStats().Dropped == 1 })
		})
	}
}

// Three processes send each mail once.
func TestPostmenShareTheWork(t *testing.T) {
	h, box := newPostalHouse(t)
	ctx, cancel := context.WithCancel(context.Background())
	var postmen sync.WaitGroup
	for range 2 {
		store := h.newStore(h.secondPool())
		store.UsePost(tenant.Post{Mailer: box, Delivers: true, PublicURL: "https://hibari.example"})
		postmen.Go(func() { store.RunMail(ctx) })
	}
	const mails = 40
	for i := range mails {
		if _, _, err := h.store.Invite(t.Context(), h.scope, fmt.Sprintf("m%d@example.com", i), tenant.Viewer); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "all are sent", func() bool { return h.outbox() == 0 })
	cancel()
	postmen.Wait()
	if n, tries := box.count(); n != mails || tries != mails {
		t.Errorf("%d mails in %d tries, want %d", n, tries, mails)
	}
}

// The mail of a change that did not happen is not sent.
func TestMailIsPartOfTheChange(t *testing.T) {
	h, box := newPostalHouse(t)
	admin := h.join("admin@example.com", tenant.Admin)
	box.next(t, 1)
	_, _, err := h.store.Invite(t.Context(), admin.Scope, "boss@example.com", tenant.Owner)
	wantErr(t, "an admin makes an owner", err, tenant.ErrOwnersOnly)
	if _, _, err := h.store.Invite(t.Context(), admin.Scope, "dev@example.com", tenant.Developer); err != nil {
		t.Fatal(err)
	}
	if mail := box.next(t, 2); mail.To != "dev@example.com" {
		t.Errorf("mail to %s", mail.To)
	}
}

// Log-ins are counted over all processes, exactly.
func TestLogInLimitOverProcesses(t *testing.T) {
	h := newHouse(t)
	stores := []*tenant.Store{h.store, h.newStore(h.secondPool()), h.newStore(h.secondPool())}
	var guesses sync.WaitGroup
	var mu sync.Mutex
	checked := map[string]int{}
	for i := range 15 * len(stores) {
		for _, email := range []string{"owner@example.com", "nobody@example.com"} {
			guesses.Go(func() {
				_, _, err := stores[i%len(stores)].LogIn(context.Background(), email, "guess", fmt.Sprintf("198.51.%d.1", i), "")
				mu.Lock()
				defer mu.Unlock()
				var refusal *tenant.Refusal
				if errors.Is(err, tenant.ErrLogin) {
					checked[email]++
				} else if !errors.As(err, &refusal) || refusal.Code != tenant.RateLimited {
					t.Errorf("LogIn = %v", err)
				}
			})
		}
	}
	guesses.Wait()
	for email, n := range checked { // whether there is such an account makes no difference
		if n < tenant.LoginsPerAccount || n > tenant.LoginsPerAccount+1 { // one may have been refilled on a slow machine
			t.Errorf("%s: %d guesses were checked, want %d", email, n, tenant.LoginsPerAccount)
		}
	}
}
