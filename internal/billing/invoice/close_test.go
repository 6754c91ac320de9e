package invoice_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/rating"
)

// perMinute is a plan with a price for each minute, by 15 s and 60 s at least.
func (b *bench) perMinute() {
	b.plan("minutes", 1, "2020-01-01", rating.Version{Currency: "JPY", Components: []rating.Component{
		{Key: "minutes", Name: "Minutes", Kind: rating.Metered, Meter: rating.ConnectionMinutes, Model: rating.PerUnit, UnitPrice: dec("2"), TaxPercent: 10}}})
}

// What becomes known of a month after its cutoff is a line of the next invoice, by the
// prices of that month: never lost, and never billed twice.
func TestLateFacts(t *testing.T) {
	b := newBench(t)
	b.perMinute()
	scope := b.newTenant(tokyo, "2025-01-01")
	b.give(scope, "2025-01-01", "minutes")
	b.give(scope, "2025-03-01", "standard") // free from March on
	connect := func(day string) { b.connect(scope, at(tokyo, day+" 10:00"), at(tokyo, day+" 10:04:30"), 0) }
	connect("2025-01-10")
	b.closeThrough(scope, "2025-01")
	connect("2025-01-11")
	connect("2025-02-10")
	b.closeThrough(scope, "2025-02")
	b.golden(b.invoice(scope, "2025-02"), `
2025-02 2025-02-01 00:00:00 to 2025-03-01 00:00:00
metered minutes 5 @ 2 = JPY 10
adjustment minutes 5 @ 0 = JPY 10 for 2025-01
tax 10 % of 20: 2
total JPY 22`)
	connect("2025-01-12") // again of January, and of February, when March has no price
	connect("2025-02-11")
	b.closeThrough(scope, "2025-03")
	b.golden(b.invoice(scope, "2025-03"), `
2025-03 2025-03-01 00:00:00 to 2025-04-01 00:00:00
adjustment minutes 5 @ 0 = JPY 10 for 2025-01
adjustment minutes 5 @ 0 = JPY 10 for 2025-02
tax 10 % of 20: 2
total JPY 22`)
	b.closeThrough(scope, "2025-04")
	if n := one[int](b, `select count(*) from invoice where tenant_id = $1`, scope.Tenant()); n != 3 {
		t.Errorf("%d invoices", n)
	}
	// The arithmetic and the connections of the second adjustment of January.
	i := b.invoice(scope, "2025-03")
	e, err := b.ExplainAny(t.Context(), operator, i.ID, 1, "", 10)
	b.must(err)
	if len(e.Segments) != 1 || e.Sum != e.Line.Usage || e.Segments[0].Usage != e.Sum || !e.Segments[0].ConnectedAt.Equal(at(tokyo, "2025-01-12 10:00")) {
		t.Errorf("%+v", e)
	}
}

// A month closes once, however many nodes do it, and not before its grace time.
func TestCloseOnce(t *testing.T) {
	b := newBench(t)
	b.perMinute()
	scope := b.newTenant(tokyo, "2025-01-01")
	b.give(scope, "2025-01-01", "minutes")
	b.connect(scope, at(tokyo, "2025-01-10 10:00"), at(tokyo, "2025-01-10 10:01"), 0)
	end := at(tokyo, "2025-02-01")
	b.with(time.Since(end) + time.Hour)
	if n, err := b.Close(t.Context(), scope.Tenant()); n != 0 || err != nil {
		t.Fatalf("closed %d (%v) before the grace time was over", n, err)
	}
	b.with(time.Since(end) - time.Hour)
	var closed sync.Map
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			n, err := b.Close(t.Context(), scope.Tenant())
			closed.Store(n, err)
		})
	}
	wg.Wait()
	closed.Range(func(n, err any) bool {
		if err != nil || n != 0 && n != 1 {
			t.Errorf("closed %d: %v", n, err)
		}
		return true
	})
	if b.Stats().Closed != 1 || b.Stats().Drafted != 1 {
		t.Errorf("%+v", b.Stats())
	}
	b.golden(b.invoice(scope, "2025-01"), `
2025-01 2025-01-01 00:00:00 to 2025-02-01 00:00:00
metered minutes 1 @ 2 = JPY 2
tax 10 % of 2: 0
total JPY 2`)
}

// The loop closes what is due, and makes drafts final when their review is over: not
// those that are held, and none as long as nobody has said who issues.
func TestDue(t *testing.T) {
	b := newBench(t)
	b.perMinute()
	b.exec(`update issuer set set_at = null`)
	free, held := b.newTenant(tokyo, "2025-01-01"), b.newTenant(tokyo, "2025-01-01")
	for _, scope := range []tenantScope{free, held} {
		b.give(scope, "2025-01-01", "minutes")
		b.connect(scope, at(tokyo, "2025-01-10 10:00"), at(tokyo, "2025-01-10 11:00"), 0)
	}
	b.must(b.Due(t.Context()))
	b.must(b.Hold(t.Context(), operator, b.invoice(held, "2025-01").ID, "a doubt"))
	final := func() int { return one[int](b, `select count(*) from invoice where state = 'final'`) }
	drafts, err := b.Drafts(t.Context(), operator)
	if err != nil || len(drafts) != 2 || drafts[1].HeldWhy != "a doubt" || final() != 0 {
		t.Fatalf("%+v, %v; %d are final", drafts, err, final())
	}
	b.must(b.Due(t.Context())) // the review is not over
	b.exec(`update invoice set review_until = clock_timestamp()`)
	b.must(b.Due(t.Context())) // nobody issues
	if final() != 0 {
		t.Fatal("made final by nobody")
	}
	b.exec(`update issuer set set_at = clock_timestamp()`)
	b.must(b.Due(t.Context()))
	b.must(b.Due(t.Context()))
	i := b.invoice(free, "2025-01")
	if final() != 1 || i.State != invoice.Final || i.Number != "INV-000001" || i.FinalisedBy != "system" || b.invoice(held, "2025-01").State != invoice.Draft {
		t.Errorf("%d are final; %+v", final(), i)
	}
	if n := one[int](b, `select count(*) from mail_outbox`); n != 2 {
		t.Errorf("%d mails wait", n)
	}
	if mails, want := b.mailed(2), []string{"billing: Invoice INV-000001 for January 2025", "owner: Invoice INV-000001 for January 2025"}; !slices.Equal(mails, want) {
		t.Errorf("mails: %q", mails)
	}
	b.wants(b.Finalise(t.Context(), operator, b.invoice(held, "2025-01").ID), invoice.ErrHeld)
	b.must(b.Release(t.Context(), operator, b.invoice(held, "2025-01").ID))
	b.must(b.Finalise(t.Context(), operator, b.invoice(held, "2025-01").ID))
	if n := one[int](b, `select next_invoice from issuer`); n != 3 {
		t.Errorf("the next number is %d", n)
	}
}

// A draft is taken anew by what is known now, with what was added to it; not when the
// next month is closed or it is final.
func TestRecompute(t *testing.T) {
	b := newBench(t)
	b.perMinute()
	scope := b.newTenant(tokyo, "2025-01-01")
	b.give(scope, "2025-01-01", "minutes")
	b.connect(scope, at(tokyo, "2025-01-10 10:00"), at(tokyo, "2025-01-10 10:05"), 0)
	b.closeThrough(scope, "2025-01")
	id := b.invoice(scope, "2025-01").ID
	extra := func(name string, amount int64) {
		b.must(b.AddLine(t.Context(), operator, id, invoice.Extra{Name: name, Amount: amount, TaxPercent: 10, Reason: "as agreed"}))
	}
	extra("Set-up", 1000)
	extra("Goodwill", -300)
	b.wants(b.DropLine(t.Context(), operator, id, 1), invoice.ErrNotFound)
	b.must(b.DropLine(t.Context(), operator, id, 2))
	extra("Training", 500)
	b.connect(scope, at(tokyo, "2025-01-11 10:00"), at(tokyo, "2025-01-11 10:05"), 0)
	b.must(b.Recompute(t.Context(), operator, id))
	b.golden(b.invoice(scope, "2025-01"), `
2025-01 2025-01-01 00:00:00 to 2025-02-01 00:00:00
metered minutes 10 @ 2 = JPY 20
manual manual 0 @ 0 = JPY -300
manual manual 0 @ 0 = JPY 500
tax 10 % of 220: 22
total JPY 242`)
	b.connect(scope, at(tokyo, "2025-01-12 10:00"), at(tokyo, "2025-01-12 10:05"), 0)
	b.connect(scope, at(tokyo, "2025-02-12 10:00"), at(tokyo, "2025-02-12 10:05"), 0)
	b.closeThrough(scope, "2025-02")
	b.wants(b.Recompute(t.Context(), operator, id), invoice.ErrLater)
	b.golden(b.invoice(scope, "2025-02"), `
2025-02 2025-02-01 00:00:00 to 2025-03-01 00:00:00
metered minutes 5 @ 2 = JPY 10
adjustment minutes 5 @ 0 = JPY 10 for 2025-01
tax 10 % of 20: 2
total JPY 22`)
	next := b.invoice(scope, "2025-02").ID
	b.must(b.Finalise(t.Context(), operator, next))
	b.wants(b.Recompute(t.Context(), operator, next), invoice.ErrFinal)
}
