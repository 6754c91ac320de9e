package api

import (
	"context"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// plan is by which prices the tenant is billed.
type plan struct {
	TimeZone  string   `json:"time_zone" example:"Asia/Tokyo" doc:"By whose midnights prices change."`
	Current   prices   `json:"current" doc:"What holds now."`
	Scheduled []prices `json:"scheduled" doc:"What holds later, in order."`
}

// prices are those of a time: a version of a plan, with the tenant's own prices in it.
type prices struct {
	Plan        string       `json:"plan_id" example:"standard"`
	Name        string       `json:"name"`
	Version     int          `json:"version"`
	From        *string      `json:"from" format:"date" example:"2026-12-01" doc:"The first day, by the tenant's clock; null: from ever."`
	Own         bool         `json:"own_prices" doc:"Whether some are agreed with the tenant alone."`
	Currency    string       `json:"currency" example:"JPY"`
	TaxRounding string       `json:"tax_rounding" enum:"down,half_up,up" doc:"Of each rate's tax on an invoice."`
	Rule        rule         `json:"rule"`
	Minimum     int64        `json:"minimum" doc:"What the components of a month come to at least, in minor units, without tax; 0: no minimum."`
	MinimumText string       `json:"minimum_decimal" example:"0"`
	Licence     *licenceList `json:"licence,omitempty" doc:"Absent: there are no licences to buy."`
	Components  []component  `json:"components"`
}

// rule is how the time of connections becomes billed time.
type rule struct {
	Increment int64  `json:"increment_seconds"`
	Minimum   int64  `json:"minimum_seconds"`
	Scope     string `json:"scope" enum:"connection,period"`
	Text      string `json:"text" doc:"The same in words."`
}

// licenceList is what licences cost.
type licenceList struct {
	Base            int64      `json:"base" doc:"A year, in minor units."`
	BaseText        string     `json:"base_decimal"`
	BaseConnections int        `json:"base_connections"`
	Pack            int64      `json:"pack" doc:"A year, in minor units."`
	PackText        string     `json:"pack_decimal"`
	PackConnections int        `json:"pack_connections"`
	MaxConnections  int        `json:"max_connections"`
	PerChannel      int        `json:"max_connections_per_channel"`
	Discounts       []discount `json:"discounts"`
	MaxDiscount     int64      `json:"max_discount_percent" doc:"All discounts together."`
	TaxPercent      int64      `json:"tax_percent"`
}

// discount is a part of a licence's base that is not charged.
type discount struct {
	Name    string `json:"name"`
	For     string `json:"for"`
	Percent int64  `json:"percent"`
}

// component is one priced thing. Prices are decimal numbers in the currency's own unit.
type component struct {
	Key         string  `json:"key"`
	Name        string  `json:"name"`
	Kind        string  `json:"kind" enum:"flat,metered"`
	Text        string  `json:"text" example:"JPY 10 for each started 10 minutes" doc:"The price in words."`
	TaxPercent  int64   `json:"tax_percent"`
	Amount      *string `json:"amount,omitempty" doc:"Of kind flat: for a month."`
	Meter       string  `json:"meter,omitempty" example:"connection_minutes"`
	Model       string  `json:"model,omitempty" example:"package"`
	PerSeconds  int64   `json:"per_seconds,omitempty" doc:"What one unit of a time is; 60 where it is absent."`
	Included    *string `json:"included,omitempty" doc:"Units of a month that are free."`
	UnitPrice   *string `json:"unit_price,omitempty" doc:"For one unit, or one package."`
	PackageSize *string `json:"package_size,omitempty"`
	Tiers       []tier  `json:"tiers,omitempty"`
}

// tier is a range of units.
type tier struct {
	UpTo      *string `json:"up_to" doc:"null: no end."`
	UnitPrice string  `json:"unit_price"`
	Flat      string  `json:"flat" doc:"Once, when the tier is reached."`
}

func showStep(s billing.PlanStep) prices {
	v := s.Version
	p := prices{Plan: v.Plan, Name: v.Name, Version: v.Number, Own: s.Override != nil, Currency: v.Currency, TaxRounding: string(v.TaxRounding),
		Rule:    rule{v.Rule.IncrementSeconds, v.Rule.MinimumSeconds, string(v.Rule.Scope), v.Rule.Text()},
		Minimum: v.Minimum, MinimumText: rating.Decimal(v.Currency, v.Minimum), Components: []component{}}
	if s.From != "" {
		p.From = new(string(s.From))
	}
	if l := v.Licence; l != nil {
		p.Licence = &licenceList{l.Base, rating.Decimal(v.Currency, l.Base), l.BaseConnections, l.Pack, rating.Decimal(v.Currency, l.Pack), l.PackConnections,
			l.MaxConnections, l.PerChannel, []discount{}, l.MaxDiscount, l.TaxPercent}
		for _, d := range l.Discounts {
			p.Licence.Discounts = append(p.Licence.Discounts, discount{d.Name, d.For, d.Percent})
		}
	}
	for i := range v.Components {
		p.Components = append(p.Components, showComponent(v, &v.Components[i]))
	}
	return p
}

func showComponent(v *rating.Version, c *rating.Component) component {
	shown := component{Key: c.Key, Name: c.Name, Kind: string(c.Kind), Text: c.Text(v.Currency), TaxPercent: c.TaxPercent,
		Meter: string(c.Meter), Model: string(c.Model), PerSeconds: c.PerSeconds}
	switch {
	case c.Kind == rating.Flat:
		shown.Amount = new(c.Amount.String())
		return shown
	case len(c.Tiers) == 0:
		shown.UnitPrice = new(c.UnitPrice.String())
	}
	shown.Included = new(c.Included.String())
	if c.Model == rating.Package {
		shown.PackageSize = new(c.PackageSize.String())
	}
	for _, t := range c.Tiers {
		row := tier{UnitPrice: t.UnitPrice.String(), Flat: t.Flat.String()}
		if t.UpTo != nil {
			row.UpTo = new(t.UpTo.String())
		}
		shown.Tiers = append(shown.Tiers, row)
	}
	return shown
}

func (a *API) getPlan(ctx context.Context, scope tenant.Scope, _ *none) (plan, error) {
	timeline, err := a.Plans.Mine(ctx, scope)
	if err != nil {
		return plan{}, err
	}
	now := timeline.On(billing.DayOf(time.Now().In(timeline.Zone())))
	p := plan{TimeZone: timeline.Zone().String(), Current: showStep(now), Scheduled: []prices{}}
	for _, step := range timeline.Steps() {
		if step.From > now.From {
			p.Scheduled = append(p.Scheduled, showStep(step))
		}
	}
	return p, nil
}
