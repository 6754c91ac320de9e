package api

import (
	"bytes"
	"context"
	"encoding/json"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// money is an amount: minor units of a currency, and the same as a decimal number.
type money struct {
	Amount  int64  `json:"amount" doc:"Minor units of the currency."`
	Decimal string `json:"decimal" example:"500000" doc:"The same in the currency's own unit."`
}

func showMoney(currency string, minor int64) money {
	return money{minor, rating.Decimal(currency, minor)}
}

// spendCap is what the tenant wants to spend in a month at most.
type spendCap struct {
	Amount   int64             `json:"amount" doc:"Minor units of the currency."`
	Decimal  string            `json:"decimal" example:"500000" doc:"The same in the currency's own unit."`
	Currency string            `json:"currency" example:"JPY"`
	Action   billing.CapAction `json:"action" enum:"alert,refuse,end" doc:"What happens when it is reached. alert: the tenant is told; refuse: new connections are refused until the period ends; end: live ones are ended, too."`
}

func showCap(c *billing.SpendCap) *spendCap {
	if c == nil {
		return nil
	}
	return &spendCap{c.Amount, rating.Decimal(c.Currency, c.Amount), c.Currency, c.Action}
}

// spendAlert is something that the tenant was told of.
type spendAlert struct {
	Threshold string    `json:"threshold" enum:"50,80,forecast,100" doc:"Percent of the cap that were spent; forecast: it is going to be reached."`
	Amount    int64     `json:"amount" doc:"Minor units of the currency."`
	Decimal   string    `json:"decimal" example:"500000" doc:"The same in the currency's own unit."`
	Cap       money     `json:"cap" doc:"As it was then."`
	At        time.Time `json:"at"`
}

// spendLine is what one part of the plan comes to.
type spendLine struct {
	Component  string `json:"component" example:"connection_minutes"`
	Name       string `json:"name" example:"Connection minutes"`
	Quantity   string `json:"quantity" example:"1234" doc:"In units; a decimal number."`
	Unit       string `json:"unit" example:"minute"`
	Amount     int64  `json:"amount" doc:"Minor units of the currency."`
	Decimal    string `json:"decimal" example:"500000" doc:"The same in the currency's own unit."`
	TaxPercent int64  `json:"tax_percent"`
}

// spending is what the tenant spends in the period that is running.
type spending struct {
	PeriodFrom  time.Time    `json:"period_from"`
	PeriodTo    time.Time    `json:"period_to"`
	DataThrough time.Time    `json:"data_through" doc:"All use until then is counted."`
	Plan        string       `json:"plan" doc:"Its name."`
	Currency    string       `json:"currency" example:"JPY"`
	Lines       []spendLine  `json:"lines" doc:"What each part of the plan comes to, without tax."`
	Subtotal    money        `json:"subtotal" doc:"Without tax."`
	Tax         money        `json:"tax"`
	Total       money        `json:"total" doc:"What the period comes to if nothing more is used. Licences are not in it."`
	Forecast    *money       `json:"forecast,omitempty" doc:"What it will come to, with tax, at the pace of the last seven days. Absent: there is less than a day to judge by."`
	Cap         *spendCap    `json:"cap,omitempty" doc:"Absent: none."`
	CapPercent  int64        `json:"cap_percent" doc:"Of the cap that is spent, rounded down."`
	RefuseUntil *time.Time   `json:"refused_until" doc:"The cap is reached, and new connections are refused until then with spend_cap_reached; null: they are not."`
	Alerts      []spendAlert `json:"alerts" doc:"What the tenant was told of in this period, newest first."`
}

func (a *API) getSpend(ctx context.Context, scope tenant.Scope, _ *none) (spending, error) {
	m, err := a.Spend.Month(ctx, scope)
	if err != nil {
		return spending{}, err
	}
	currency := m.Bill.Currency
	shown := spending{
		PeriodFrom: m.From.UTC(), PeriodTo: m.To.UTC(), DataThrough: m.DataThrough.UTC(), Plan: m.Plan, Currency: currency,
		Lines: []spendLine{}, Subtotal: showMoney(currency, m.Bill.Subtotal), Tax: showMoney(currency, m.Bill.Tax), Total: showMoney(currency, m.Bill.Total),
		Cap: showCap(m.Cap), CapPercent: m.Percent, RefuseUntil: utcOrNull(m.CappedUntil), Alerts: []spendAlert{},
	}
	for i := range m.Bill.Lines {
		line := &m.Bill.Lines[i]
		shown.Lines = append(shown.Lines, spendLine{line.Component, line.Name, line.Quantity.String(), line.Unit,
			line.Amount, rating.Decimal(currency, line.Amount), line.TaxPercent})
	}
	if m.Forecast != nil {
		shown.Forecast = new(showMoney(currency, m.Forecast.Total))
	}
	for _, alert := range m.Alerts {
		shown.Alerts = append(shown.Alerts, spendAlert{alert.Threshold, alert.Amount, rating.Decimal(alert.Currency, alert.Amount),
			showMoney(alert.Currency, alert.Cap), alert.At.UTC()})
	}
	return shown, nil
}

// wishedCap is a cap that somebody asks for.
type wishedCap struct {
	Amount   int64             `json:"amount" minimum:"1" maximum:"1000000000000000" example:"500000" doc:"With tax, in minor units of the currency."`
	Currency string            `json:"currency,omitempty" example:"JPY" doc:"That of the tenant's plan, and no other."`
	Action   billing.CapAction `json:"action" enum:"alert,refuse,end"`
}

func (w *wishedCap) limit() *billing.SpendCap {
	if w == nil {
		return nil
	}
	return &billing.SpendCap{Amount: w.Amount, Currency: w.Currency, Action: w.Action}
}

func (a *API) setSpendCap(ctx context.Context, scope tenant.Scope, in *struct{ Body wishedCap }) (spendCap, error) {
	c, err := a.Spend.SetCap(ctx, scope, in.Body.limit())
	if err != nil {
		return spendCap{}, err
	}
	return *showCap(c), nil
}

func (a *API) dropSpendCap(ctx context.Context, scope tenant.Scope, _ *none) error {
	_, err := a.Spend.SetCap(ctx, scope, nil)
	return err
}

// capChange is a cap among other settings: left out it stays, null takes it away.
type capChange struct {
	given bool
	wish  *wishedCap
}

// UnmarshalJSON is told of null, too.
func (c *capChange) UnmarshalJSON(text []byte) error {
	c.given, c.wish = true, nil
	if bytes.Equal(text, []byte("null")) {
		return nil
	}
	return json.Unmarshal(text, &c.wish)
}

// Schema is that of wishedCap, or null.
func (capChange) Schema(r huma.Registry) *huma.Schema {
	schema := *huma.SchemaFromType(r, reflect.TypeFor[wishedCap]())
	schema.Nullable = true
	schema.Description = "null: none. For keys with the role admin; others may POST /v1/spend/cap if they have the role billing."
	return &schema
}
