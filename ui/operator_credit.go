package ui

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// tenantBillsData are a tenant's invoices and credit, before an operator.
type tenantBillsData struct {
	tenant.TenantSummary
	invoices []invoice.Invoice
	next     string
	credit   []invoice.Balance
	moves    []invoice.Transaction
	grant    []input
	promo    bool
}

// movesShown is how many changes of a tenant's credit its page lists.
const movesShown = 30

func grantFields(currency, amount, until, reason string, problem *tenant.FieldError) []input {
	return withProblem([]input{
		{Name: "amount", Label: "Amount", Value: amount, Required: true, Max: 40},
		{Name: "currency", Label: "Currency", Value: currency, Required: true, Max: 3},
		{Name: "expires_at", Label: "Good until the end of", Kind: "date", Value: until, Hint: "Empty: without an end."},
		{Name: "reason", Label: "Why", Value: reason, Required: true, Max: 200, Hint: "The tenant reads it."},
	}, problem)
}

func (c *Console) operatorTenantInvoices(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showTenantBills(w, r, v, http.StatusOK, grantFields("JPY", "", "", "", nil), false)
}

func tenantBillsPath(id tenant.ID) string { return tenantPath(id) + "/invoices" }

func (c *Console) showTenantBills(w http.ResponseWriter, r *http.Request, v *visit, status int, grant []input, promo bool) error {
	scope, t, err := c.operatorScope(r, v)
	if err != nil {
		return err
	}
	ctx, d := r.Context(), tenantBillsData{TenantSummary: t, grant: grant, promo: promo}
	v.path = tenantBillsPath(t.ID) // also of the page that a form leads to
	if d.invoices, err = c.Invoices.OfTenant(ctx, v.operator.Authority, t.ID, r.URL.Query().Get("before"), invoicesShown+1); err != nil {
		return err
	}
	d.invoices, d.next = pageOfInvoices(d.invoices, v.path)
	if d.credit, err = c.Credit.Balances(ctx, scope); err != nil {
		return err
	}
	if d.moves, err = c.Credit.Transactions(ctx, scope, 0, movesShown); err != nil {
		return err
	}
	return v.page(w, r, status, operatorTenantInvoicesPage(v, d))
}

// operatorGrant gives a tenant credit.
func (c *Console) operatorGrant(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	form := r.PostForm
	currency := strings.ToUpper(strings.TrimSpace(form.Get("currency")))
	n := invoice.NewGrant{Kind: invoice.PaidCredit, Currency: currency, Reason: form.Get("reason")}
	if form.Has("promotional") {
		n.Kind = invoice.PromotionalCredit
	}
	wrong := func(problem *tenant.FieldError) error {
		return c.showTenantBills(w, r, v, http.StatusUnprocessableEntity,
			grantFields(currency, form.Get("amount"), form.Get("expires_at"), n.Reason, problem), form.Has("promotional"))
	}
	if _, known := rating.Exponent(currency); !known {
		return wrong(&tenant.FieldError{Field: "currency", Problem: "Choose one of " + strings.Join(rating.Currencies(), ", ") + "."})
	}
	var err error
	if n.Amount, err = rating.ParseAmount(currency, form.Get("amount")); err != nil {
		return wrong(&tenant.FieldError{Field: "amount", Problem: amountProblem(currency)})
	}
	if n.ExpiresAt, err = endOfDay(form.Get("expires_at"), v.zone); err != nil {
		return wrong(&tenant.FieldError{Field: "expires_at", Problem: "Give a day such as 2026-12-31."})
	}
	id := tenant.ID(param(r, "tenant"))
	_, err = c.Credit.Grant(r.Context(), v.operator.Authority, id, n)
	var field *tenant.FieldError
	if errors.As(err, &field) {
		return wrong(field)
	}
	if err != nil {
		return err
	}
	return v.finish(w, r, tenantBillsPath(id), "credit-given")
}

// operatorAskWithdraw asks for the reason.
func (c *Console) operatorAskWithdraw(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showWithdraw(w, r, v, http.StatusOK, "")
}

func (c *Console) showWithdraw(w http.ResponseWriter, r *http.Request, v *visit, status int, problem string) error {
	scope, t, err := c.operatorScope(r, v)
	if err != nil {
		return err
	}
	balances, err := c.Credit.Balances(r.Context(), scope)
	if err != nil {
		return err
	}
	for _, b := range balances {
		for _, g := range b.Grants {
			if g.ID == param(r, "grant") {
				return v.page(w, r, status, operatorWithdrawPage(v, t, g, problem))
			}
		}
	}
	return tenant.ErrNotFound
}

func withdrawPath(id tenant.ID, grant string) string {
	return tenantBillsPath(id) + "/credit/" + url.PathEscape(grant) + "/withdraw"
}

func (c *Console) operatorWithdraw(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	id := tenant.ID(param(r, "tenant"))
	err := c.Credit.Withdraw(r.Context(), v.operator.Authority, id, param(r, "grant"), r.PostForm.Get("reason"))
	var field *tenant.FieldError
	switch {
	case errors.As(err, &field):
		return c.showWithdraw(w, r, v, http.StatusUnprocessableEntity, field.Problem)
	case err != nil:
		return err
	}
	return v.finish(w, r, tenantBillsPath(id), "credit-withdrawn")
}

// noteData is the form of a credit note.
type noteData struct {
	billData
	amounts  map[int]string // by line, as typed
	reason   string
	toCredit bool
	problem  *tenant.FieldError
}

// problemOf is what is wrong with a field.
func (d noteData) problemOf(field string) string {
	if d.problem != nil && d.problem.Field == field {
		return d.problem.Problem
	}
	return ""
}

// general is what is wrong with the whole, or with a field that the form does not have.
func (d noteData) general() string {
	if d.problem == nil || d.problem.Field == "reason" || strings.HasPrefix(d.problem.Field, "line_") {
		return ""
	}
	return d.problem.Problem
}

func (c *Console) operatorAskNote(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.anyInvoice(r, v)
	if err != nil {
		return err
	}
	if d.State != invoice.Final {
		return invoice.ErrDraft
	}
	return v.page(w, r, http.StatusOK, operatorNotePage(v, noteData{billData: d}))
}

// operatorNote issues a credit note: for each line with an amount, that is taken off it.
func (c *Console) operatorNote(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	bill, err := c.anyInvoice(r, v)
	if err != nil {
		return err
	}
	d := noteData{billData: bill, amounts: map[int]string{}, reason: r.PostForm.Get("reason"), toCredit: r.PostForm.Has("to_credit")}
	ask := invoice.CreditRequest{Reason: d.reason, ToCredit: d.toCredit}
	for _, l := range bill.Lines {
		field := fmt.Sprintf("line_%d", l.Number)
		text := strings.TrimSpace(r.PostForm.Get(field))
		d.amounts[l.Number] = text
		if text == "" {
			continue
		}
		amount, err := rating.ParseAmount(bill.Currency, text)
		if err != nil {
			d.problem = &tenant.FieldError{Field: field, Problem: amountProblem(bill.Currency)}
			return v.page(w, r, http.StatusUnprocessableEntity, operatorNotePage(v, d))
		}
		ask.Lines = append(ask.Lines, invoice.CreditLine{Line: l.Number, Amount: amount})
	}
	_, err = c.Invoices.IssueCreditNote(r.Context(), v.operator.Authority, bill.ID, ask)
	if errors.As(err, &d.problem) {
		return v.page(w, r, http.StatusUnprocessableEntity, operatorNotePage(v, d))
	}
	return c.review(w, r, v, "note-issued", err)
}
