package ui

import (
	"errors"
	"net/http"
	"strings"

	"github.com/a-h/templ"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// spendingData is the page of what is spent.
type spendingData struct {
	month  billing.Month
	amount string // in the form
	action billing.CapAction
	bad    string // what is wrong with the amount
}

// capActions are what a tenant may choose.
var capActions = []option{
	{string(billing.CapAlert), "Tell us, and no more"},
	{string(billing.CapRefuse), "Refuse new connections"},
	{string(billing.CapEnd), "Refuse new ones and end live ones"},
}

func (c *Console) spending(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.readSpending(r, v)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, spendingPage(v, d))
}

// readSpending reads the page, with the cap in the form.
func (c *Console) readSpending(r *http.Request, v *visit) (d spendingData, err error) {
	if d.month, err = c.Spend.Month(r.Context(), v.login.Scope); err != nil {
		return d, err
	}
	d.action = billing.CapRefuse
	if limit := d.month.Cap; limit != nil {
		d.amount, d.action = rating.Decimal(limit.Currency, limit.Amount), limit.Action
	}
	return d, nil
}

// spendingFragment is what changes by itself.
func (c *Console) spendingFragment(r *http.Request, v *visit) (templ.Component, error) {
	if v.now.Sub(v.monthAt) >= usageEvery { // adding a month up is dear, and much happens in a second
		month, err := c.Spend.Month(r.Context(), v.login.Scope)
		if err != nil {
			return nil, err
		}
		v.month, v.monthAt = month, v.now
	}
	return spendingTiles(v, v.month), nil
}

// setSpendCap sets the cap, in place of the one there is.
func (c *Console) setSpendCap(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	d, err := c.readSpending(r, v)
	if err != nil {
		return err
	}
	d.amount, d.action = strings.TrimSpace(r.PostForm.Get("amount")), billing.CapAction(r.PostForm.Get("action"))
	currency := d.month.Bill.Currency
	limit := billing.SpendCap{Currency: currency, Action: d.action}
	if limit.Amount, err = rating.ParseAmount(currency, d.amount); err == nil {
		_, err = c.Spend.SetCap(r.Context(), v.login.Scope, &limit)
	}
	var field *tenant.FieldError
	switch {
	case errors.As(err, &field) && field.Field == "action":
		return errBadForm // no list offers it
	case errors.As(err, &field) && field.Field == "amount" || errors.Is(err, rating.ErrAmount):
		d.bad = "Write an amount above 0 in " + currency + ", such as " + rating.Decimal(currency, exampleCap) + "."
		return v.page(w, r, http.StatusUnprocessableEntity, spendingPage(v, d))
	case err != nil:
		return err
	}
	return v.finish(w, r, "/console/spending", "cap")
}

// exampleCap is what a form shows for an amount, in minor units.
const exampleCap = 500_000

// dropSpendCap takes the cap away.
func (c *Console) dropSpendCap(w http.ResponseWriter, r *http.Request, v *visit) error {
	if _, err := c.Spend.SetCap(r.Context(), v.login.Scope, nil); err != nil {
		return err
	}
	return v.finish(w, r, "/console/spending", "cap-none")
}

// spentText says how much of a cap has been spent.
func spentText(currency string, amount, limit int64) string {
	return rating.Money(currency, amount) + " of " + rating.Money(currency, limit)
}

// capText says what a cap does.
func capText(limit billing.SpendCap) string {
	switch limit.Action {
	case billing.CapRefuse:
		return "new connections are refused then"
	case billing.CapEnd:
		return "new connections are refused then, and live ones ended"
	}
	return "you are told then"
}

// alertText says what was told.
func alertText(a billing.SpendAlert) string {
	if a.Threshold == billing.ForecastThreshold {
		return "The forecast reaches the cap"
	}
	return a.Threshold + " % of the cap is spent"
}

// unitText is a line's unit, in its number.
func unitText(line rating.Line) string {
	if line.Unit == "GB" || line.Unit == "" || line.Quantity.String() == "1" || strings.HasSuffix(line.Unit, "s") {
		return line.Unit
	}
	return line.Unit + "s"
}
