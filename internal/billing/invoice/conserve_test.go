package invoice_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/rating"
)

// conserved are the tenants' prices: each model, so that what is billed late cannot come
// out right by chance.
var conserved = rating.Version{Currency: "JPY", Rule: rating.StandardMinute, Components: []rating.Component{
	{Key: "minutes", Name: "Minutes", Kind: rating.Metered, Meter: rating.ConnectionMinutes, Model: rating.Graduated, TaxPercent: 10, Included: dec("3"),
		Tiers: []rating.Tier{{UpTo: new(dec("100")), UnitPrice: dec("2.5")}, {UnitPrice: dec("0.7"), Flat: dec("50")}}},
	{Key: "gb", Name: "Data", Kind: rating.Metered, Meter: rating.GBOut, Model: rating.Package, UnitPrice: dec("12"), PackageSize: dec("1.5"), TaxPercent: 8},
}}

// Whatever happens when, and however late it becomes known: all segments' time is in the
// roll-ups once and on the invoices once, what all invoices ask for a month is what its
// price list asks for all of it, each invoice is what its facts come to, and each line's
// segments are its quantity.
func TestSegmentsAreRollupsAreInvoices(t *testing.T) {
	b := newBench(t)
	b.plan("conserved", 1, "2020-01-01", conserved)
	months := []string{"2025-10", "2025-11", "2025-12", "2026-01"}
	left := 12 // months take a while on a real database
	rapid.Check(t, func(r *rapid.T) {
		if left--; left < 0 {
			return
		}
		zone := rapid.SampledFrom([]string{tokyo, "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"}).Draw(r, "zone")
		scope := b.newTenant(zone, "2025-10-01")
		b.give(scope, "2025-10-01", "conserved")
		begin := at(zone, "2025-10-01")
		var staying string // a connection that is live while a month is closed
		for n, month := range months {
			end := at(zone, month+"-01").AddDate(0, 1, 0)
			for range rapid.IntRange(0, 4).Draw(r, "connections") { // of this month, or of earlier ones: late
				from := begin.Add(time.Duration(rapid.Int64Range(0, int64(end.Sub(begin))-1).Draw(r, "from")).Truncate(time.Microsecond))
				length := time.Duration(rapid.Int64Range(0, int64(80*time.Minute)).Draw(r, "length")).Truncate(time.Microsecond)
				if rapid.IntRange(0, 5).Draw(r, "long") == 0 {
					length += 900 * time.Hour
				}
				b.connect(scope, from, earliest(from.Add(length), end), rapid.Int64Range(0, 5_000_000_000).Draw(r, "bytes"))
			}
			if staying != "" { // it ended long after, or before it was metered again
				b.exec(`update connection set ended_at = metered_through + $2::interval, metered_through = metered_through + $2::interval, bytes_out = bytes_out + $3 where connection_id = $1`,
					staying, time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(r, "more")).Truncate(time.Microsecond), rapid.Int64Range(0, 1_000_000_000).Draw(r, "more bytes"))
				b.exec(`delete from live_connection where connection_id = $1`, staying)
				staying = ""
			}
			if n < len(months)-1 && rapid.Bool().Draw(r, "stays") {
				staying = b.connect(scope, end.Add(-time.Hour), end.Add(time.Duration(rapid.Int64Range(int64(-time.Hour), int64(2*time.Hour)).Draw(r, "over")).Truncate(time.Microsecond)), 2_000_000_001)
				b.exec(`update connection set ended_at = null, end_reason = null where connection_id = $1`, staying)
				b.exec(`insert into live_connection (connection_id, tenant_id, channel_id, node_id, role) values ($1, $2, 'room', $3, 'recvonly')`, staying, scope.Tenant(), b.node)
			}
			if n == len(months)-1 { // something to pay: what came to nothing before stands on its invoice
				b.connect(scope, end.Add(-time.Hour), end, 1)
			}
			b.closeThrough(scope, month)
			id := one[string](b, `select coalesce(max(invoice_id), '') from invoice where tenant_id = $1 and month = ($2 || '-01')::date`, scope.Tenant(), month)
			switch rapid.SampledFrom([]string{"final", "recompute", "leave"}).Draw(r, "review") {
			case "final":
				if id != "" {
					b.must(b.Finalise(t.Context(), operator, id))
				}
			case "recompute":
				if id != "" {
					b.connect(scope, end.Add(-time.Hour), end.Add(-time.Hour+time.Second), 1)
					b.must(b.Recompute(t.Context(), operator, id))
				}
			}
		}
		b.conserved(r, scope, months)
	})
	if n := one[int](b, `select count(*) from connection_mark`); n == 0 {
		t.Error("no connection was live when a month was closed")
	}
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// conserved checks it.
func (b *bench) conserved(r *rapid.T, scope tenantScope, months []string) {
	var segments, slots rating.Usage
	fatal := func(err error) {
		if err != nil {
			r.Fatal(err)
		}
	}
	// Segments in plain SQL.
	fatal(b.pool.QueryRow(b.t.Context(), `
		select count(*), coalesce(sum(floor(extract(epoch from ended_at - connected_at))), 0)::bigint,
			coalesce(sum(greatest(1, ceil(extract(epoch from ended_at - connected_at) / 60))), 0)::bigint, coalesce(sum(bytes_out), 0)::bigint
		from connection where tenant_id = $1`, scope.Tenant()).Scan(&segments.Connections, &segments.Seconds, &segments.Minutes, &segments.BytesOut))
	fatal(b.pool.QueryRow(b.t.Context(), `
		select coalesce(sum(connections), 0)::bigint, coalesce(sum(seconds), 0)::bigint, coalesce(sum(minutes), 0)::bigint, coalesce(sum(bytes_out), 0)::bigint
		from usage_slot where tenant_id = $1`, scope.Tenant()).Scan(&slots.Connections, &slots.Seconds, &slots.Minutes, &slots.BytesOut))
	if segments != slots {
		r.Fatalf("segments are %+v, roll-ups %+v", segments, slots)
	}
	all, err := b.OfTenant(b.t.Context(), operator, scope.Tenant(), "", 100)
	fatal(err)
	invoiced, amounts := map[string]rating.Usage{}, map[string]int64{}
	for _, i := range all {
		fatal(b.Prove(b.t.Context(), operator, i.ID))
		whole, err := b.Any(b.t.Context(), operator, i.ID)
		fatal(err)
		for _, l := range whole.Lines {
			month := i.Month
			if l.Adjusts != nil {
				month = l.Adjusts.To.In(zoneOf(i)).Add(-time.Second).Format("2006-01")
			}
			invoiced[month], amounts[month] = invoiced[month].Add(l.Usage), amounts[month]+l.Amount
			fatal(b.explained(i.ID, l))
		}
	}
	// A month whose usage is all free stays without an invoice.
	var sum rating.Usage
	for _, month := range months {
		from := one[time.Time](b, `select starts_at from billing_period where tenant_id = $1 and month = ($2 || '-01')::date`, scope.Tenant(), month)
		to := one[time.Time](b, `select ends_at from billing_period where tenant_id = $1 and month = ($2 || '-01')::date`, scope.Tenant(), month)
		known := b.slots(scope, from, to)
		bill, err := rating.Rate(rating.Statement{Period: rating.Period{From: from, To: to, Zone: b.zone(scope),
			Parts: []rating.Part{{From: from, To: to, Version: &conserved, Usage: known}}}})
		fatal(err)
		if amounts[month] != bill.Subtotal {
			r.Fatalf("%s: the invoices ask for %d, all that is known comes to %d", month, amounts[month], bill.Subtotal)
		}
		if got := invoiced[month]; bill.Charged() && (got.Seconds != known.Seconds || got.Minutes != known.Minutes || got.BytesOut != known.BytesOut || got.Connections != known.Connections) {
			r.Fatalf("%s: %+v is on invoices, %+v is known", month, got, known)
		}
		sum = sum.Add(known)
	}
	if sum.Seconds != segments.Seconds || sum.Minutes != segments.Minutes || sum.BytesOut != segments.BytesOut {
		r.Fatalf("the months have %+v of %+v", sum, segments)
	}
}

// zone is the tenant's.
func (b *bench) zone(scope tenantScope) *time.Location {
	zone, err := time.LoadLocation(one[string](b, `select time_zone from tenant where tenant_id = $1`, scope.Tenant()))
	b.must(err)
	return zone
}

// slots is what is rolled up of a time.
func (b *bench) slots(scope tenantScope, from, to time.Time) (u rating.Usage) {
	b.must(b.pool.QueryRow(b.t.Context(), `
		select coalesce(sum(connections), 0)::bigint, coalesce(sum(seconds), 0)::bigint, coalesce(sum(minutes), 0)::bigint,
			coalesce(sum(billed_seconds), 0)::bigint, coalesce(sum(bytes_in), 0)::bigint, coalesce(sum(bytes_out), 0)::bigint
		from usage_slot where tenant_id = $1 and slot >= $2 and slot < $3`, scope.Tenant(), from, to).
		Scan(&u.Connections, &u.Seconds, &u.Minutes, &u.BilledSeconds, &u.BytesIn, &u.BytesOut))
	return u
}

// explained compares a line with the connections that it is explained by, read three at
// a time.
func (b *bench) explained(invoiceID string, l invoice.Line) error {
	var sum rating.Usage
	after := ""
	for {
		e, err := b.ExplainAny(b.t.Context(), operator, invoiceID, l.Number, after, 3)
		if err != nil {
			return err
		}
		for _, s := range e.Segments {
			sum = sum.Add(s.Usage)
		}
		if after = e.Next; after == "" {
			if sum != e.Sum {
				return fmt.Errorf("line %d of %s: its segments are %+v, the roll-ups %+v", l.Number, invoiceID, sum, e.Sum)
			}
			break
		}
	}
	var of rating.Usage
	switch l.Meter {
	case rating.ConnectionMinutes:
		of = rating.Usage{Connections: sum.Connections, Seconds: sum.Seconds, Minutes: sum.Minutes, BilledSeconds: sum.BilledSeconds}
	case rating.GBOut:
		of = rating.Usage{BytesIn: sum.BytesIn, BytesOut: sum.BytesOut}
	}
	if of != l.Usage {
		return fmt.Errorf("line %d of %s has %+v, its segments are %+v", l.Number, invoiceID, l.Usage, of)
	}
	return nil
}
