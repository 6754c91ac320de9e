package invoice_test

import (
	"log/slog"
	"testing"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/invoice"
)

// TestCreditPaysInvoice: credit is taken off what is due when an invoice becomes final,
// not before; its total and tax stay, and a credit note can become credit for the next.
func TestCreditPaysInvoice(t *testing.T) {
	b := newBench(t)
	b.perMinute()
	credit := invoice.NewCredit(b.pool, slog.New(slog.DiscardHandler))
	scope, draft := b.bill(52) // ¥104, tax ¥10
	b.Invoices = invoice.New(invoice.Config{Pool: b.pool, Ledger: b.ledger, Plans: billing.NewPlans(b.pool), Mail: b.store, Credit: credit})
	_, err := credit.Grant(t.Context(), operator, scope.Tenant(), invoice.NewGrant{Kind: invoice.PaidCredit, Currency: "JPY", Amount: 60, Reason: "prepaid"})
	b.must(err)
	_, err = credit.Grant(t.Context(), operator, scope.Tenant(), invoice.NewGrant{Kind: invoice.PaidCredit, Currency: "USD", Amount: 1000, Reason: "of no use here"})
	b.must(err)
	left := func() (jpy int64) {
		balances, err := credit.Balances(t.Context(), scope)
		b.must(err)
		for _, balance := range balances {
			if balance.Currency == "JPY" {
				jpy = balance.Amount
			}
		}
		return jpy
	}
	if i := b.invoice(scope, draft.Month); i.Credit != 0 || left() != 60 {
		t.Errorf("a draft has used %d of 60", i.Credit)
	}
	b.must(b.Finalise(t.Context(), operator, draft.ID))
	i := b.invoice(scope, draft.Month)
	if i.Total != 114 || i.Tax != 10 || i.Credit != 60 || i.Due != 54 || left() != 0 {
		t.Errorf("total %d with tax %d, credit %d, due %d; %d are left", i.Total, i.Tax, i.Credit, i.Due, left())
	}
	note, err := b.IssueCreditNote(t.Context(), operator, i.ID,
		invoice.CreditRequest{Reason: "an outage", ToCredit: true, Lines: []invoice.CreditLine{{Line: 1, Amount: 50}}})
	b.must(err)
	if note.Total != 55 || left() != 55 {
		t.Errorf("a note of %d became credit of %d", note.Total, left())
	}
	all, err := credit.Transactions(t.Context(), scope, 0, 10)
	b.must(err)
	if len(all) != 4 || all[0].Entries[0].Amount+all[0].Entries[1].Amount != 0 || all[1].Invoice != i.ID || all[1].Amount != -60 {
		t.Errorf("%+v", all)
	}
}
