package ui

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/invoice/paper"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// operatorInvoicesData is what an operator is to look at before it becomes final.
type operatorInvoicesData struct {
	drafts []invoice.Invoice // of all tenants, the next to become final first
	issuer invoice.Issuer
}

func (c *Console) operatorInvoices(w http.ResponseWriter, r *http.Request, v *visit) (err error) {
	var d operatorInvoicesData
	if d.drafts, err = c.Invoices.Drafts(r.Context(), v.operator.Authority); err != nil {
		return err
	}
	if d.issuer, err = c.Invoices.Issuer(r.Context(), v.operator.Authority); err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, operatorInvoicesPage(v, d))
}

func operatorInvoicePath(id string) string { return "/operator/invoices/" + url.PathEscape(id) }

func (c *Console) anyInvoice(r *http.Request, v *visit) (billData, error) {
	i, err := c.Invoices.Any(r.Context(), v.operator.Authority, madeID(r, "invoice"))
	return billData{i, operatorInvoicePath(i.ID), true}, err
}

// reviewData is an invoice before an operator, with what may be done to it.
type reviewData struct {
	billData
	extra       []input // the form of another line
	holdProblem string
}

func extraFields(name, amount, percent, reason string, problem *tenant.FieldError) []input {
	return withProblem([]input{
		{Name: "name", Label: "What it is for", Value: name, Required: true, Max: 200},
		{Name: "amount", Label: "Amount, without tax", Value: amount, Required: true, Max: 40, Hint: "Below 0 for a reduction."},
		{Name: "tax_percent", Label: "Tax, in percent", Kind: "number", Value: percent, Required: true},
		{Name: "reason", Label: "Why", Value: reason, Required: true, Max: 200, Hint: "The tenant reads it on the invoice."},
	}, problem)
}

func (c *Console) operatorInvoice(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showReview(w, r, v, http.StatusOK, extraFields("", "", "10", "", nil), "")
}

func (c *Console) showReview(w http.ResponseWriter, r *http.Request, v *visit, status int, extra []input, holdProblem string) error {
	d, err := c.anyInvoice(r, v)
	if err != nil {
		return err
	}
	return v.page(w, r, status, operatorInvoicePage(v, reviewData{d, extra, holdProblem}))
}

func (c *Console) operatorExplainLine(w http.ResponseWriter, r *http.Request, v *visit) error {
	line, err := askedLine(r)
	if err != nil {
		return err
	}
	d := explainData{after: r.URL.Query().Get("after")}
	if d.billData, err = c.anyInvoice(r, v); err != nil {
		return err
	}
	if d.Explanation, err = c.Invoices.ExplainAny(r.Context(), v.operator.Authority, d.ID, line, d.after, segmentsShown); err != nil {
		return err
	}
	d.follow()
	return v.page(w, r, http.StatusOK, explainPage(v, d))
}

func (c *Console) operatorInvoicePDF(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.anyInvoice(r, v)
	if err != nil {
		return err
	}
	return sendPDF(w, paper.PDF(d.Invoice), fileName(d.Invoice))
}

// operatorAskFinalise asks once: nothing takes an invoice back.
func (c *Console) operatorAskFinalise(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.anyInvoice(r, v)
	if err != nil {
		return err
	}
	if d.State == invoice.Final {
		return invoice.ErrFinal
	}
	return v.ask(w, r, question{
		Title:   "Make it final?",
		Text:    "It gets its number and is sent. It is never changed again: mistakes are corrected by a credit note.",
		Facts:   [][2]string{{"Tenant", d.TenantName}, {"Month", d.Month}, {"Total, with tax", rating.Money(d.Currency, d.Total)}},
		Confirm: "Make it final", Action: d.base + "/finalise", Back: d.base, Gentle: true,
	})
}

func (c *Console) operatorFinalise(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.review(w, r, v, "invoice-final", c.Invoices.Finalise(r.Context(), v.operator.Authority, madeID(r, "invoice")))
}

func (c *Console) operatorRelease(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.review(w, r, v, "invoice-released", c.Invoices.Release(r.Context(), v.operator.Authority, madeID(r, "invoice")))
}

func (c *Console) operatorRecompute(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.review(w, r, v, "invoice-recomputed", c.Invoices.Recompute(r.Context(), v.operator.Authority, madeID(r, "invoice")))
}

// review answers what was done to an invoice.
func (c *Console) review(w http.ResponseWriter, r *http.Request, v *visit, done string, err error) error {
	if err != nil {
		return err
	}
	return v.finish(w, r, operatorInvoicePath(madeID(r, "invoice")), done)
}

func (c *Console) operatorHold(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	err := c.Invoices.Hold(r.Context(), v.operator.Authority, madeID(r, "invoice"), r.PostForm.Get("why"))
	var field *tenant.FieldError
	if errors.As(err, &field) {
		return c.showReview(w, r, v, http.StatusUnprocessableEntity, extraFields("", "", "10", "", nil), field.Problem)
	}
	return c.review(w, r, v, "invoice-held", err)
}

// operatorAddLine adds a line to a draft.
func (c *Console) operatorAddLine(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	form := r.PostForm
	wrong := func(problem *tenant.FieldError) error {
		return c.showReview(w, r, v, http.StatusUnprocessableEntity,
			extraFields(form.Get("name"), form.Get("amount"), form.Get("tax_percent"), form.Get("reason"), problem), "")
	}
	d, err := c.anyInvoice(r, v)
	if err != nil {
		return err
	}
	x := invoice.Extra{Name: form.Get("name"), Reason: form.Get("reason")}
	if x.Amount, err = rating.ParseAmount(d.Currency, form.Get("amount")); err != nil {
		return wrong(&tenant.FieldError{Field: "amount", Problem: amountProblem(d.Currency)})
	}
	if x.TaxPercent, err = strconv.ParseInt(strings.TrimSpace(form.Get("tax_percent")), 10, 64); err != nil {
		return wrong(&tenant.FieldError{Field: "tax_percent", Problem: "Give a whole number of percent."})
	}
	err = c.Invoices.AddLine(r.Context(), v.operator.Authority, d.ID, x)
	var field *tenant.FieldError
	if errors.As(err, &field) {
		return wrong(field)
	}
	return c.review(w, r, v, "line-added", err)
}

func (c *Console) operatorDropLine(w http.ResponseWriter, r *http.Request, v *visit) error {
	line, err := askedLine(r)
	if err != nil {
		return err
	}
	return c.review(w, r, v, "line-dropped", c.Invoices.DropLine(r.Context(), v.operator.Authority, madeID(r, "invoice"), line))
}

// amountProblem says how an amount is written.
func amountProblem(currency string) string {
	return "Write it in " + currency + ", such as " + rating.Decimal(currency, 123456) + "."
}

func issuerFields(i invoice.Issuer, payDays string, problem *tenant.FieldError) []input {
	return withProblem([]input{
		{Name: "name", Label: "Name", Value: i.Name, Required: true, Max: 200, Hint: "As it is registered."},
		{Name: "address", Label: "Address", Value: i.Address, Required: true, Max: 1000},
		{Name: "registration", Label: "Registration number", Value: i.Registration, Max: 20, Placeholder: "T1234567890123", Hint: "Of an issuer of qualified invoices (適格請求書発行事業者). Empty: none."},
		{Name: "email", Label: "Email for questions", Kind: "email", Value: i.Email, Max: 200},
		{Name: "bank_account", Label: "Bank account", Value: i.BankAccount, Max: 1000, Hint: "Where to pay, as it stands on invoices."},
		{Name: "pay_days", Label: "Days to pay", Kind: "number", Value: payDays, Required: true},
		{Name: "invoice_prefix", Label: "Invoice numbers begin with", Value: i.InvoicePrefix, Max: 16},
		{Name: "credit_note_prefix", Label: "Credit note numbers begin with", Value: i.CreditNotePrefix, Max: 16},
	}, problem)
}

func (c *Console) operatorIssuer(w http.ResponseWriter, r *http.Request, v *visit) error {
	issuer, err := c.Invoices.Issuer(r.Context(), v.operator.Authority)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, operatorIssuerPage(v, issuerFields(issuer, strconv.Itoa(issuer.PayDays), nil)))
}

func (c *Console) operatorSetIssuer(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	form := r.PostForm
	issuer := invoice.Issuer{Name: form.Get("name"), Address: form.Get("address"), Email: form.Get("email"), Registration: form.Get("registration"),
		BankAccount: form.Get("bank_account"), InvoicePrefix: form.Get("invoice_prefix"), CreditNotePrefix: form.Get("credit_note_prefix")}
	var field *tenant.FieldError
	var err error
	if issuer.PayDays, err = strconv.Atoi(strings.TrimSpace(form.Get("pay_days"))); err != nil {
		field = &tenant.FieldError{Field: "pay_days", Problem: "Give a whole number of days."}
	} else if err = c.Invoices.SetIssuer(r.Context(), v.operator.Authority, issuer); err != nil && !errors.As(err, &field) {
		return err
	}
	if field != nil {
		return v.page(w, r, http.StatusUnprocessableEntity, operatorIssuerPage(v, issuerFields(issuer, form.Get("pay_days"), field)))
	}
	return v.finish(w, r, "/operator/invoices", "issuer")
}

// invoiceState says what an invoice is, and a badge for it.
func invoiceState(i invoice.Invoice) (kind, text string) {
	switch {
	case i.State == invoice.Final:
		return "good", "final"
	case i.Held:
		return "bad", "held"
	}
	return "warn", "draft"
}

// finalText says when a draft becomes final by itself.
func finalText(v *visit, i invoice.Invoice) string {
	switch {
	case i.Held:
		return "not by itself: " + i.HeldWhy
	case i.ReviewUntil.Before(v.now):
		return "within a minute"
	}
	return i.ReviewUntil.In(v.zone).Format("2006-01-02 15:04 MST") + ", " + ago(i.ReviewUntil, v.now)
}

// grantWord says of which kind credit is.
func grantWord(kind invoice.GrantKind) string {
	switch kind {
	case invoice.PaidCredit:
		return "paid"
	case invoice.PromotionalCredit:
		return "promotional"
	}
	return "credit note"
}

// endOfDay reads a day as the first moment after it; nil for "".
func endOfDay(text string, zone *time.Location) (*time.Time, error) {
	if text == "" {
		return nil, nil
	}
	day, err := time.ParseInLocation(time.DateOnly, text, zone)
	if err != nil {
		return nil, err
	}
	return new(day.AddDate(0, 0, 1)), nil
}

// either chooses one of two words.
func either(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}
