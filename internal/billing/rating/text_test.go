package rating_test

import (
	"slices"
	"testing"

	"github.com/hibari/hibari/internal/billing/rating"
)

// Prices as people read them.
func TestPricesInWords(t *testing.T) {
	v, err := rating.Parse("all", "All", 1, []byte(`{
		"currency": "USD", "rule": {"increment_seconds": 1, "minimum_seconds": 10, "scope": "connection"}, "minimum": 5000, "minimum_tax": 10,
		"licence": {"base": 100000, "base_connections": 300, "pack": 25050, "pack_connections": 100, "max_connections": 500, "per_channel": 10, "discounts": [], "max_discount": 0, "tax_percent": 8},
		"components": [
			{"key": "fee", "name": "Fee", "kind": "flat", "amount": "49.5", "tax_percent": 10},
			{"key": "a", "name": "A", "kind": "metered", "meter": "connection_minutes", "model": "per_unit", "unit_price": "0.0125", "included": "1000"},
			{"key": "b", "name": "B", "kind": "metered", "meter": "connection_minutes", "model": "package", "package_size": "10", "unit_price": "0.10"},
			{"key": "c", "name": "C", "kind": "metered", "meter": "gb_out", "model": "graduated", "tiers": [{"up_to": "1000", "unit_price": "0.1", "flat": "2"}, {"up_to": "20000", "unit_price": "0.05"}, {"unit_price": "0"}]},
			{"key": "d", "name": "D", "kind": "metered", "meter": "recording_minutes", "model": "volume", "per_seconds": 3600, "tiers": [{"up_to": "1", "unit_price": "3"}, {"unit_price": "2"}]},
			{"key": "e", "name": "E", "kind": "metered", "meter": "gb_out", "model": "per_unit", "unit_price": "0"}
		]}`))
	if err != nil {
		t.Fatal(err)
	}
	want := []rating.PriceText{
		{"licence", "Licence for 300 connections", "USD 1,000.00 a year", 8},
		{"packs", "Each 100 more", "USD 250.50 a year", 8},
		{"fee", "Fee", "USD 49.50 a month", 10},
		{"a", "A", "USD 0.0125 for each minute; 1,000 minutes of a month included", 0},
		{"b", "B", "USD 0.10 for each started 10 minutes", 0},
		{"c", "C", "up to 1,000 GB, USD 0.10 for each GB and USD 2.00 once; then up to 20,000 GB, USD 0.05 for each GB; above that, USD 0.00 for each GB", 0},
		{"d", "D", "all at the price of the month's whole quantity: up to 1 hour, USD 3.00 for each hour; above that, USD 2.00 for each hour", 0},
		{"e", "E", "included", 0},
		{"minimum", "Minimum commitment", "at least USD 50.00 a month", 10},
	}
	if got := v.Prices(); !slices.Equal(got, want) {
		for i := range got {
			t.Errorf("%+v", got[i])
		}
	}
	if got, want := v.Rule.Text(), "Of each connection, each started second is billed, and at least 10 seconds."; got != want {
		t.Errorf("the rule is %q", got)
	}
}
