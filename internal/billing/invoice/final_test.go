package invoice_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

type tenantScope = tenant.Scope

// bill closes a month with some minutes and returns its draft.
func (b *bench) bill(minutes int) (tenantScope, invoice.Invoice) {
	b.t.Helper()
	scope := b.newTenant(tokyo, "2025-01-01")
	b.give(scope, "2025-01-01", "minutes")
	from := at(tokyo, "2025-01-10 10:00")
	b.connect(scope, from, from.Add(minutesOf(minutes)), 0)
	b.closeThrough(scope, "2025-01")
	return scope, b.invoice(scope, "2025-01")
}

// The database refuses to change what is final, also for the platform's own role, and a
// tenant's requests write nothing at all.
func TestFinalIsFinal(t *testing.T) {
	b := newBench(t)
	b.perMinute()
	scope, i := b.bill(10)
	b.must(b.Finalise(t.Context(), operator, i.ID))
	note, err := b.IssueCreditNote(t.Context(), operator, i.ID, invoice.CreditRequest{Reason: "a fault", Lines: []invoice.CreditLine{{Line: 1, Amount: 5}}})
	b.must(err)
	before := show(b.invoice(scope, "2025-01"))
	for _, sql := range []string{
		`update invoice set total = total + 1, subtotal = subtotal + 1`,
		`update invoice set state = 'draft'`,
		`update invoice set number = 'INV-000007'`,
		`update invoice set customer = '{}'`,
		`update invoice set credit = 1`,
		`delete from invoice`,
		`update invoice_line set amount = 0`,
		`delete from invoice_line`,
		`insert into invoice_line (tenant_id, invoice_id, line, kind, component, starts_at, ends_at, detail, unrounded, amount, tax_percent, hash)
			select tenant_id, invoice_id, 2, kind, component, starts_at, ends_at, detail, unrounded, amount, tax_percent, hash from invoice_line`,
		`insert into invoice (tenant_id, invoice_id, month, currency, state, cutoff, statement, taxes, subtotal, tax, total, review_until)
			select tenant_id, 'inv_x', month, 'USD', 'final', cutoff, '{}', '[]', 0, 0, 0, review_until from invoice`,
		`update credit_note set total = 0`,
		`delete from credit_note`,
		`update credit_note_line set amount = 1`,
		`delete from credit_note_line`,
		`update billing_period set cutoff = clock_timestamp() where cutoff is not null`,
		`update billing_period set cutoff = null, usage = null where cutoff is not null`,
		`update billing_period set ends_at = ends_at + interval '1 day' where cutoff is null`,
		`delete from billing_period where cutoff is not null`,
		`update issuer set next_invoice = next_invoice + 1`,
		`update issuer set next_invoice = 1`,
		`update issuer set next_credit_note = next_credit_note + 1`,
		`delete from issuer`,
		`alter table invoice disable trigger keep`,
	} {
		_, err := b.pool.Exec(t.Context(), sql)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "23000" && pg.Code != "42501" && pg.Code != "23514" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	own := scope.In(b.pool)
	for _, table := range []string{"invoice", "invoice_line", "credit_note", "credit_note_line", "billing_period"} {
		for _, sql := range []string{"delete from " + table, "update " + table + " set tenant_id = tenant_id", "insert into " + table + " (tenant_id) values ('x')"} {
			var pg *pgconn.PgError
			if _, err := own.Exec(t.Context(), sql); !errors.As(err, &pg) || pg.Code != "42501" {
				t.Errorf("a tenant: %s: %v", sql, err)
			}
		}
	}
	if after := show(b.invoice(scope, "2025-01")); after != before || note.Number != "CN-000001" {
		t.Errorf("it became\n%s", after)
	}
	for _, err := range []error{
		b.Finalise(t.Context(), operator, i.ID), b.Hold(t.Context(), operator, i.ID, "late"), b.Release(t.Context(), operator, i.ID),
		b.Recompute(t.Context(), operator, i.ID), b.DropLine(t.Context(), operator, i.ID, 1),
		b.AddLine(t.Context(), operator, i.ID, invoice.Extra{Name: "x", Amount: 1, Reason: "x"}),
	} {
		b.wants(err, invoice.ErrFinal)
	}
}

// Numbers have no gaps, though many are taken at once and some takers fail.
func TestNumbersHaveNoGaps(t *testing.T) {
	b := newBench(t)
	b.perMinute()
	var drafts []string
	for range 8 {
		_, i := b.bill(1)
		drafts = append(drafts, i.ID)
	}
	failing, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for n, id := range drafts {
		for range 2 { // each twice
			wg.Go(func() {
				err := b.Finalise(t.Context(), operator, id)
				if err != nil && !errors.Is(err, invoice.ErrFinal) {
					t.Error(err)
				}
			})
		}
		wg.Go(func() { b.Finalise(failing, operator, drafts[(n+1)%len(drafts)]) }) // may be cut off anywhere
	}
	cancel()
	wg.Wait()
	rows, err := b.pool.Query(t.Context(), `select number from invoice where state = 'final' order by sequence`)
	b.must(err)
	var numbers []string
	for rows.Next() {
		var n string
		b.must(rows.Scan(&n))
		numbers = append(numbers, n)
	}
	var want []string
	for n := range drafts {
		want = append(want, fmt.Sprintf("INV-%06d", n+1))
	}
	if !slices.Equal(numbers, want) {
		t.Errorf("%q", numbers)
	}
}

// Final invoices keep who issued them and for whom; drafts have who does now.
func TestPartiesAreKept(t *testing.T) {
	b := newBench(t)
	b.perMinute()
	scope, i := b.bill(10)
	if i.Customer.Name != "Lark" || i.Issuer.Registration != "T1234567890123" {
		t.Errorf("%+v", i)
	}
	b.must(b.SetCustomer(t.Context(), scope, invoice.Customer{Name: "株式会社ひばり", Address: "東京都千代田区\n丸の内 1-1", Reference: "PO-7"}))
	b.must(b.Finalise(t.Context(), operator, i.ID))
	b.must(b.SetCustomer(t.Context(), scope, invoice.Customer{Name: "Other"}))
	issuer, err := b.Issuer(t.Context(), operator)
	b.must(err)
	issuer.Name = "Other"
	b.must(b.SetIssuer(t.Context(), operator, issuer))
	i, err = b.Get(t.Context(), scope, i.ID)
	if err != nil || i.Customer.Name != "株式会社ひばり" || i.Customer.Reference != "PO-7" || i.Issuer.Name != "Hibari K.K." {
		t.Errorf("%+v, %v", i, err)
	}
	if i.DueOn.Sub(*i.IssuedOn).Hours() != 30*24 || i.Due != i.Total || i.FinalisedBy != "operator" {
		t.Errorf("%+v", i)
	}
	var field *tenant.FieldError
	for name, wrong := range map[string]func(*invoice.Issuer){
		"registration": func(i *invoice.Issuer) { i.Registration = "T123" },
		"name":         func(i *invoice.Issuer) { i.Name = " " },
		"pay_days":     func(i *invoice.Issuer) { i.PayDays = 400 },
		"address":      func(i *invoice.Issuer) { i.Address = strings.Repeat("x", 1001) },
		"email":        func(i *invoice.Issuer) { i.Email = "a\x00b" },
	} {
		bad := issuer
		wrong(&bad)
		if err := b.SetIssuer(t.Context(), operator, bad); !errors.As(err, &field) || field.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Credit notes name the lines, credit no more than is left, and together credit the
// invoice's tax to the last unit.
func TestCreditNotes(t *testing.T) {
	b := newBench(t)
	b.perMinute()
	scope, i := b.bill(52) // ¥104, tax ¥10
	b.must(b.AddLine(t.Context(), operator, i.ID, invoice.Extra{Name: "Discount", Amount: -5, TaxPercent: 10, Reason: "goodwill"}))
	request := func(amounts ...int64) invoice.CreditRequest {
		r := invoice.CreditRequest{Reason: "an outage"}
		for n, amount := range amounts {
			if amount != 0 {
				r.Lines = append(r.Lines, invoice.CreditLine{Line: n + 1, Amount: amount})
			}
		}
		return r
	}
	_, err := b.IssueCreditNote(t.Context(), operator, i.ID, request(50))
	b.wants(err, invoice.ErrDraft)
	b.must(b.Finalise(t.Context(), operator, i.ID))
	i = b.invoice(scope, "2025-01")
	if i.Subtotal != 99 || i.Tax != 9 {
		t.Fatalf("%d + %d", i.Subtotal, i.Tax)
	}
	var tax int64
	for _, r := range []invoice.CreditRequest{request(33), request(33), request(38, -5)} {
		note, err := b.IssueCreditNote(t.Context(), operator, i.ID, r)
		b.must(err)
		tax += note.Tax
		read, err := b.CreditNote(t.Context(), scope, note.ID)
		if err != nil || fmt.Sprint(read.Lines) != fmt.Sprint(note.Lines) || read.Total != note.Total || read.InvoiceNumber != "INV-000001" {
			t.Errorf("%+v, %v", read, err)
		}
	}
	var field *tenant.FieldError
	for _, r := range []invoice.CreditRequest{request(1), request(0, 1), request(0, 0, 1), request(), {Lines: []invoice.CreditLine{{Line: 1, Amount: 1}}}} {
		if _, err := b.IssueCreditNote(t.Context(), operator, i.ID, r); !errors.As(err, &field) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	i = b.invoice(scope, "2025-01")
	if tax != i.Tax || i.Credited != i.Total || len(i.CreditNotes) != 3 || i.CreditNotes[2].Number != "CN-000003" ||
		i.Lines[0].Credited != 104 || i.Lines[1].Credited != -5 {
		t.Errorf("tax %d, credited %d of %d: %+v", tax, i.Credited, i.Total, i.CreditNotes)
	}
	if i.CreditNotes[0].Taxes[0] != (rating.Tax{Percent: 10, Base: 33, Amount: 3}) {
		t.Errorf("%+v", i.CreditNotes[0].Taxes)
	}
}

// A tenant sees its own final invoices alone.
func TestWhoSeesWhat(t *testing.T) {
	b := newBench(t)
	b.perMinute()
	scope, draft := b.bill(10)
	other, i := b.bill(20)
	b.must(b.Finalise(t.Context(), operator, i.ID))
	for _, look := range []struct {
		scope tenantScope
		id    string
	}{{scope, draft.ID}, {scope, i.ID}, {other, draft.ID}, {other, "inv_none"}} {
		_, err := b.Get(t.Context(), look.scope, look.id)
		b.wants(err, invoice.ErrNotFound)
		_, err = b.Explain(t.Context(), look.scope, look.id, 1, "", 10)
		b.wants(err, invoice.ErrNotFound)
	}
	if list, err := b.List(t.Context(), scope, "", 10); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := b.List(t.Context(), other, "", 10); err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := b.List(t.Context(), other, i.ID, 10); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if list, err := b.OfTenant(t.Context(), operator, scope.Tenant(), "", 10); err != nil || len(list) != 1 || list[0].State != invoice.Draft {
		t.Errorf("%v, %v", list, err)
	}
	_, err := b.Any(t.Context(), tenant.Authority{}, i.ID)
	b.wants(err, tenant.ErrScope)
	b.wants(b.Finalise(t.Context(), tenant.Authority{}, draft.ID), tenant.ErrScope)
}

// An invoice whose facts were changed behind its back, or that was itself, is found out.
func TestProof(t *testing.T) {
	b := newBench(t)
	b.perMinute()
	scope, i := b.bill(10)
	_, other := b.bill(20)
	if n, err := b.ProveNewest(t.Context(), operator, 10); n != 2 || err != nil {
		t.Fatalf("proved %d: %v", n, err)
	}
	b.exec(`
		insert into usage_slot (tenant_id, slot, channel_id, role, recorded_at, connections, seconds, minutes, billed_seconds, bytes_in, bytes_out)
		select tenant_id, slot, channel_id, role, recorded_at, 0, 60, 1, 60, 0, 0 from usage_slot where tenant_id = $1`, scope.Tenant())
	b.wants(b.Prove(t.Context(), operator, i.ID), invoice.ErrUnproven)
	b.exec(`update invoice set statement = jsonb_set(statement, '{period,parts,0,prices,components,0,unit_price}', '"3"') where invoice_id = $1`, other.ID)
	_, err := b.ProveNewest(t.Context(), operator, 10)
	b.wants(err, invoice.ErrUnproven)
	b.wants(b.Prove(t.Context(), operator, other.ID), invoice.ErrUnproven)
	b.wants(b.Prove(t.Context(), operator, "inv_none"), invoice.ErrNotFound)
}
