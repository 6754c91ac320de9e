package ui

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/invoice/paper"
	"github.com/hibari/hibari/internal/tenant"
)

// billingFields are the form of whom invoices are made out to.
func billingFields(c invoice.Customer, problem *tenant.FieldError) []input {
	fields := []input{
		{Name: "name", Label: "Name on the invoice", Value: c.Name, Max: 200, Autocomplete: "organization", Hint: "As it is registered. Empty: the organisation's name here."},
		{Name: "address", Label: "Address", Value: c.Address, Max: 1000, Autocomplete: "street-address"},
		{Name: "department", Label: "Department or person", Value: c.Department, Max: 200},
		{Name: "email", Label: "Email for invoices", Kind: "email", Value: c.Email, Max: 200, Autocomplete: "email"},
		{Name: "reference", Label: "Your reference", Value: c.Reference, Max: 200, Hint: "Such as the number of your order. It stands on each invoice."},
	}
	return withProblem(fields, problem)
}

// withProblem says at its field what is wrong; nil: nothing.
func withProblem(fields []input, problem *tenant.FieldError) []input {
	for i := range fields {
		if problem != nil && fields[i].Name == problem.Field {
			fields[i].Problem = problem.Problem
		}
	}
	return fields
}

func (c *Console) billingDetails(w http.ResponseWriter, r *http.Request, v *visit) error {
	customer, err := c.Invoices.Customer(r.Context(), v.login.Scope)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, billingDetailsPage(v, billingFields(customer, nil)))
}

func (c *Console) setBillingDetails(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	form := r.PostForm
	customer := invoice.Customer{Name: form.Get("name"), Address: form.Get("address"), Email: form.Get("email"), Department: form.Get("department"), Reference: form.Get("reference")}
	err := c.Invoices.SetCustomer(r.Context(), v.login.Scope, customer)
	var field *tenant.FieldError
	if errors.As(err, &field) {
		return v.page(w, r, http.StatusUnprocessableEntity, billingDetailsPage(v, billingFields(customer, field)))
	}
	if err != nil {
		return err
	}
	return v.finish(w, r, "/console/billing-details", "billing-details")
}

// dayOf writes a day that is kept as a midnight of UTC; "–" if there is none.
func dayOf(t *time.Time) string {
	if t == nil {
		return "–"
	}
	return t.Format(time.DateOnly)
}

// withLines puts what is not empty under each other.
func withLines(parts ...string) string {
	var lines []string
	for _, part := range parts {
		if part != "" {
			lines = append(lines, part)
		}
	}
	return strings.Join(lines, "\n")
}

// dueNote says until when an invoice is to be paid.
func dueNote(d billData) string {
	switch {
	case d.State != invoice.Final:
		return "a draft: nothing is due yet"
	case d.Due == 0:
		return "nothing to pay"
	}
	return "until " + dayOf(d.DueOn)
}

// billTime writes a moment on the invoice's clock.
func billTime(d explainData, t time.Time) string {
	return t.In(paper.Zone(d.Invoice)).Format("01-02 15:04:05")
}

// billSpan is the invoice's period to the second, with its zone.
func billSpan(d billData) string {
	zone := paper.Zone(d.Invoice)
	return d.From.In(zone).Format("2006-01-02 15:04") + " to " + d.To.In(zone).Format("2006-01-02 15:04") + " (" + d.Zone + ")"
}

// sumText says that the connections add up to the line.
func sumText(d explainData) string {
	if d.amountOf(d.Sum) == d.amountOf(d.Line.Usage) {
		return ", as on the line"
	}
	return ""
}
