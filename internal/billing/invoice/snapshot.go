package invoice

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// snapshot collects what the invoices of one period are made of, in a transaction that
// has the tenant's billing row. Everything in it was recorded before the cutoff.
type snapshot struct {
	invoices *Invoices
	tx       pgx.Tx
	tenant   tenant.ID
	timeline *billing.Timeline
	period   billing.BillingPeriod
	cutoff   time.Time

	usage      rating.Usage          // of the period
	statements map[string]*statement // by currency
}

// take takes the snapshot.
func (v *Invoices) take(ctx context.Context, tx pgx.Tx, id tenant.ID, p billing.BillingPeriod, cutoff time.Time) (*snapshot, error) {
	timeline, err := v.Plans.Timeline(ctx, tx, id)
	if err != nil {
		return nil, err
	}
	s := &snapshot{invoices: v, tx: tx, tenant: id, timeline: timeline, period: p, cutoff: cutoff, statements: map[string]*statement{}}
	parts, err := s.parts(ctx, p)
	if err != nil {
		return nil, err
	}
	for _, part := range parts {
		s.usage = s.usage.Add(part.Usage)
		in := s.of(part.Version.Currency)
		in.Period.Parts = append(in.Period.Parts, part)
	}
	for _, step := range []func(context.Context) error{s.licences, s.added, s.late} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	for currency, in := range s.statements {
		if len(in.Period.Parts) == 0 { // a bill takes the rounding of its tax from a version
			in.Period.Parts = []rating.Part{{From: p.To, To: p.To, Version: s.versionIn(currency)}}
		}
	}
	return s, nil
}

// of returns the statement in a currency.
func (s *snapshot) of(currency string) *statement {
	in := s.statements[currency]
	if in == nil {
		in = &statement{}
		in.Period = s.period.Rated()
		s.statements[currency] = in
	}
	return in
}

// versionIn is the last version in a currency that the tenant had by the end of the
// period, or one that says no more than the currency.
func (s *snapshot) versionIn(currency string) *rating.Version {
	for _, step := range slices.Backward(s.timeline.Steps()) {
		if step.Version.Currency == currency {
			return step.Version
		}
	}
	return &rating.Version{Plan: "none", Name: "none", Number: 1, Currency: currency, Rule: rating.StandardMinute, TaxRounding: rating.Down}
}

// parts are those of a period with what was used in each.
func (s *snapshot) parts(ctx context.Context, p billing.BillingPeriod) ([]rating.Part, error) {
	parts := s.timeline.Parts(p.From, p.To, p.Zone)
	for i := range parts {
		part := &parts[i]
		var err error
		part.Usage, err = s.invoices.Ledger.Slots(ctx, s.tx, s.tenant, part.From, part.To, time.Time{}, s.cutoff)
		if err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// licences charges the beginning of each licence by the plan: those that began by the
// end of the period and are on no invoice of another one. What began before the
// tenant's first period was charged by other means.
func (s *snapshot) licences(ctx context.Context) error {
	rows, err := s.tx.Query(ctx, `
		select l.licence_id, l.connections, l.packs, l.discounts, lower(l.valid), coalesce(upper(l.period), upper(l.valid), lower(l.valid)), l.price
		from licence l
		where l.tenant_id = $1 and l.applied_at is not null and l.price is not null and lower(l.valid) < $2
			and lower(l.valid) >= (select min(starts_at) from billing_period where tenant_id = $1)
			and not exists (
				select from invoice_line x join invoice i using (tenant_id, invoice_id)
				where x.tenant_id = $1 and x.licence_id = l.licence_id and i.month <> $3)
		order by lower(l.valid)`, s.tenant, s.period.To, s.period.Month)
	if err != nil {
		return fmt.Errorf("couldn't read the licences of %s: %w", s.tenant, err)
	}
	var (
		t     billing.LicenceTerm
		end   time.Time
		price []byte
	)
	_, err = pgx.ForEachRow(rows, []any{&t.ID, &t.Connections, &t.Packs, &t.Discounts, &t.From, &end, &price}, func() error {
		t.Price = nil
		if err := json.Unmarshal(price, &t.Price); err != nil {
			return err
		}
		s.licence(&t, end)
		return nil
	})
	if err != nil {
		return fmt.Errorf("couldn't read the licences of %s: %w", s.tenant, err)
	}
	return nil
}

// licence charges what the beginning of one costs.
func (s *snapshot) licence(t *billing.LicenceTerm, end time.Time) {
	charge := t.Price.Charge
	if charge.Subtotal == 0 {
		return
	}
	in := s.of(charge.Currency)
	zone := s.period.Zone
	add := func(key, name string, amount int64) {
		if amount == 0 {
			return
		}
		in.charge(rating.Charge{Kind: rating.LicenceLine, Key: key, Name: name, Amount: amount,
			From: t.From.In(zone), To: end.In(zone), TaxPercent: s.taxPercent(t)}, chargeOf{LicenceID: t.ID})
	}
	if t.Price.Days > 0 {
		add("licence_packs", fmt.Sprintf("Licence for %d connections, %d of %d days", t.Connections, t.Price.Days, t.Price.Of), charge.Packs)
		return
	}
	add("licence_base", fmt.Sprintf("Licence for %d connections, a year", t.Connections), charge.Base)
	add("licence_discount", "Discount on the licence ("+strings.Join(t.Discounts, ", ")+")", -charge.Discount)
	add("licence_packs", fmt.Sprintf("%d packs of more connections, a year", t.Packs), charge.Packs)
}

// taxPercent is the rate of tax on a licence: that of the price list in force when it
// began, or what the quote for it comes to.
func (s *snapshot) taxPercent(t *billing.LicenceTerm) int64 {
	if list := s.timeline.At(t.From).Licence; list != nil {
		return list.TaxPercent
	}
	year := t.Price.Year
	return (year.Tax*100 + year.Subtotal/2) / max(year.Subtotal, 1)
}

// added takes over what an operator has added to the period's drafts.
func (s *snapshot) added(ctx context.Context) error {
	rows, err := s.tx.Query(ctx, `
		select i.currency, x.detail, x.added_by, x.reason from invoice_line x join invoice i using (tenant_id, invoice_id)
		where x.tenant_id = $1 and i.month = $2 and x.kind = $3 order by i.currency, x.line`, s.tenant, s.period.Month, rating.ManualLine)
	if err != nil {
		return fmt.Errorf("couldn't read what was added for %s: %w", s.tenant, err)
	}
	var currency, by, reason string
	var l rating.Line
	_, err = pgx.ForEachRow(rows, []any{&currency, &l, &by, &reason}, func() error {
		s.of(currency).charge(rating.Charge{Kind: rating.ManualLine, Key: l.Component, Name: l.Name, Amount: l.Amount,
			From: l.From.In(s.period.Zone), To: l.To.In(s.period.Zone), TaxPercent: l.TaxPercent}, chargeOf{AddedBy: by, Reason: reason})
		return nil
	})
	if err != nil {
		return fmt.Errorf("couldn't read what was added for %s: %w", s.tenant, err)
	}
	return nil
}

// late adds the earlier periods of which something became known since their cutoff that
// no invoice had yet: all that is known of them now, and what has been billed of it. What
// came to nothing, so that there was no invoice for it, stands on the next one.
func (s *snapshot) late(ctx context.Context) error {
	rows, err := s.tx.Query(ctx, `
		select distinct p.month from usage_slot u join billing_period p using (tenant_id)
		where u.tenant_id = $1 and u.slot < $4 and u.recorded_at < $3 and u.recorded_at >= coalesce(
				(select max(cutoff) from invoice where tenant_id = $1 and month < $2),
				(select min(cutoff) from billing_period where tenant_id = $1), $3)
			and p.month < $2 and u.slot >= p.starts_at and u.slot < p.ends_at and u.recorded_at >= p.cutoff
		order by p.month`, s.tenant, s.period.Month, s.cutoff, s.period.From)
	if err != nil {
		return fmt.Errorf("couldn't look for late usage of %s: %w", s.tenant, err)
	}
	months, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return fmt.Errorf("couldn't look for late usage of %s: %w", s.tenant, err)
	}
	for _, month := range months {
		p, err := s.invoices.Ledger.PeriodOf(ctx, s.tx, s.tenant, month)
		if err != nil {
			return err
		}
		parts, err := s.parts(ctx, p)
		if err != nil {
			return err
		}
		known := map[string]*rating.Late{}
		for _, part := range parts {
			currency := part.Version.Currency
			if known[currency] == nil {
				known[currency] = &rating.Late{Period: p.Rated()}
			}
			known[currency].Period.Parts = append(known[currency].Period.Parts, part)
		}
		for currency, late := range known {
			if late.Billed, err = s.billed(ctx, month, currency); err != nil {
				return err
			}
			in := s.of(currency)
			in.Late = append(in.Late, *late)
		}
	}
	return nil
}

// billed returns the lines about a period's use on invoices before this one: its own,
// and the adjustments since.
func (s *snapshot) billed(ctx context.Context, month time.Time, currency string) ([]rating.Line, error) {
	rows, err := s.tx.Query(ctx, `
		select x.detail from invoice_line x join invoice i using (tenant_id, invoice_id)
		where x.tenant_id = $1 and i.currency = $3 and i.month < $4 and x.kind not in ('licence', 'manual')
			and coalesce(x.adjusts, i.month) = $2
		order by i.month, x.line`, s.tenant, month, currency, s.period.Month)
	if err != nil {
		return nil, fmt.Errorf("couldn't read what was billed of %s: %w", s.tenant, err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[rating.Line])
	if err != nil {
		return nil, fmt.Errorf("couldn't read what was billed of %s: %w", s.tenant, err)
	}
	return lines, nil
}
