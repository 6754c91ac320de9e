package rating_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing/rating"
)

// TestParse: what a version writes is what it is read from.
func TestParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyVersion(t, "KWD")
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		read, err := rating.Parse(v.Plan, v.Name, v.Number, text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		again, err := json.Marshal(read)
		if err != nil || string(again) != string(text) {
			t.Fatalf("%s became %s, %v", text, again, err)
		}
	})
	text, err := json.Marshal(rating.Standard())
	if err != nil {
		t.Fatal(err)
	}
	if v, err := rating.Parse("standard", "standard", 1, text); err != nil || !reflect.DeepEqual(v.Licence, rating.Standard().Licence) {
		t.Errorf("%+v, %v", v, err)
	}
}

// TestParseRefuses: each mistake is told by the field it is in.
func TestParseRefuses(t *testing.T) {
	prices := func(component string) string {
		return `{"currency": "JPY", "rule": {"increment_seconds": 60, "minimum_seconds": 60, "scope": "connection"}, "components": [` + component + `]}`
	}
	metered := func(rest string) string {
		return prices(`{"key": "a", "name": "A", "kind": "metered", "meter": "gb_out", ` + rest + `}`)
	}
	for text, fields := range map[string]string{
		``:     "",
		`[]`:   "",
		`{}{}`: "",
		`{}`:   "currency rule.increment_seconds rule.scope",
		strings.Repeat(" ", rating.MaxPricesSize+1): "",
		prices(``) + `x`: "",
		`{"price": 1}`:   "",
		prices(`{"key": "A b", "name": "", "kind": "flat"}`):                                                                                  "components[0].key components[0].name",
		prices(`{"key": "minimum", "name": "A", "kind": "flat"}`):                                                                             "components[0].key",
		prices(`{"key": "a", "name": "A", "kind": "flat", "amount": "-1"}`):                                                                   "components[0].amount",
		prices(`{"key": "a", "name": "A", "kind": "flat", "amount": "1e999999999"}`):                                                          "", // the decimals' own limit
		prices(`{"key": "a", "name": "A", "kind": "flat", "amount": "1e-999999999"}`):                                                         "", // the decimals' own limit
		prices(`{"key": "a", "name": "A", "kind": "flat", "amount": "0.0000000000001"}`):                                                      "components[0].amount",
		prices(`{"key": "a", "name": "A", "kind": "flat", "amount": "1000000000000000"}`):                                                     "components[0].amount",
		prices(`{"key": "a", "name": "A", "kind": "flat", "amount": "1e30"}`):                                                                 "components[0].amount",
		prices(`{"key": "a", "name": "A", "kind": "flat", "meter": "gb_out"}`):                                                                "components[0].meter",
		prices(`{"key": "a", "name": "A", "kind": "flat"}, {"key": "a", "name": "A", "kind": "flat"}`):                                        "components[1].key",
		prices(`{"key": "a", "name": "A", "kind": "free"}`):                                                                                   "components[0].kind",
		metered(`"model": "per_unit", "per_seconds": 1`):                                                                                      "components[0].per_seconds",
		metered(`"model": "package"`):                                                                                                         "components[0].package_size",
		metered(`"model": "other"`):                                                                                                           "components[0].model",
		metered(`"model": "volume"`):                                                                                                          "components[0].tiers",
		metered(`"model": "volume", "unit_price": "1", "tiers": [{"unit_price": "1"}]`):                                                       "components[0].unit_price",
		metered(`"model": "volume", "tiers": [{"unit_price": "1", "up_to": "5"}]`):                                                            "components[0].tiers[0].up_to",
		metered(`"model": "volume", "tiers": [{"unit_price": "1"}, {"unit_price": "1"}]`):                                                     "components[0].tiers[0].up_to",
		metered(`"model": "graduated", "tiers": [{"unit_price": "1", "up_to": "5"}, {"unit_price": "1", "up_to": "5"}, {"unit_price": "1"}]`): "components[0].tiers[1].up_to",
	} {
		_, err := rating.Parse("p", "p", 1, []byte(text))
		var invalid rating.Invalid
		if !errors.As(err, &invalid) {
			t.Errorf("%.100s: %v", text, err)
			continue
		}
		var got []string
		for _, e := range invalid {
			if e.Problem == "" {
				t.Errorf("%.100s: %+v", text, e)
			}
			got = append(got, e.Field)
		}
		if strings.Join(got, " ") != fields {
			t.Errorf("%.100s: fields %q, want %q", text, got, fields)
		}
	}
}

// FuzzParse: whatever is read can be rated, or it is refused as Invalid.
func FuzzParse(f *testing.F) {
	standard, _ := json.Marshal(rating.Standard())
	f.Add(string(standard))
	f.Add(`{"currency": "USD", "rule": {"increment_seconds": 1, "minimum_seconds": 0, "scope": "period"}, "tax_rounding": "up", "minimum": 5, "components": [
		{"key": "a", "name": "A", "kind": "metered", "meter": "gb_out", "model": "graduated", "included": 1.5, "tiers": [{"up_to": "3", "unit_price": "0.1", "flat": 2}, {"unit_price": "1e-3"}]},
		{"key": "b", "name": "B", "kind": "metered", "meter": "recording_minutes", "model": "package", "per_seconds": 7, "unit_price": "999999999999999", "package_size": "0.000000000001"}]}`)
	f.Add(`{"currency": "KWD", "rule": {"increment_seconds": 60, "minimum_seconds": 60, "scope": "connection"}, "components": [{"key": "a", "name": "A", "kind": "flat", "amount": "1e14"}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		v, err := rating.Parse("p", "p", 1, []byte(text))
		var invalid rating.Invalid
		if err != nil {
			if !errors.As(err, &invalid) || len(invalid) == 0 {
				t.Fatalf("%v", err)
			}
			return
		}
		p := month(zone(t, "Asia/Tokyo"), 2026, 2, v, rating.Usage{Connections: 5, Seconds: 1e9, Minutes: 1e7, BilledSeconds: 1e9, BytesIn: 1e15, BytesOut: 1e15, RecordingSeconds: 1e9})
		p.Parts[0].From = p.From.AddDate(0, 0, 3)
		bill, err := rating.Rate(rating.Statement{Period: p})
		if err != nil && !errors.Is(err, rating.ErrTooLarge) {
			t.Fatalf("%s: %v", text, err)
		}
		if err == nil && (bill.Subtotal < 0 || bill.Total < bill.Subtotal) {
			t.Fatalf("%s: %+v", text, bill)
		}
	})
}

// TestRateRefuses: what no bill can be made of is an error, by its kind.
func TestRateRefuses(t *testing.T) {
	good := func() rating.Statement {
		return rating.Statement{Period: month(zone(t, "Asia/Tokyo"), 2026, 11, version("JPY", perMinute("1")), minutes(1))}
	}
	for name, test := range map[string]struct {
		spoil func(*rating.Statement)
		want  error
	}{
		"no zone":        {func(s *rating.Statement) { s.Period.Zone = nil }, rating.ErrStatement},
		"no parts":       {func(s *rating.Statement) { s.Period.Parts = nil }, rating.ErrStatement},
		"no version":     {func(s *rating.Statement) { s.Period.Parts[0].Version = nil }, rating.ErrStatement},
		"backwards":      {func(s *rating.Statement) { s.Period.To = s.Period.From }, rating.ErrStatement},
		"two years":      {func(s *rating.Statement) { s.Period.To = s.Period.From.AddDate(2, 0, 0) }, rating.ErrStatement},
		"before":         {func(s *rating.Statement) { s.Period.Parts[0].From = s.Period.From.AddDate(0, 0, -1) }, rating.ErrStatement},
		"after":          {func(s *rating.Statement) { s.Period.Parts[0].To = s.Period.To.AddDate(0, 0, 1) }, rating.ErrStatement},
		"overlapping":    {func(s *rating.Statement) { s.Period.Parts = append(s.Period.Parts, s.Period.Parts[0]) }, rating.ErrStatement},
		"less than none": {func(s *rating.Statement) { s.Period.Parts[0].Usage.Seconds = -1 }, rating.ErrStatement},
		"a strange line": {func(s *rating.Statement) { s.Charges = []rating.Charge{{Kind: rating.FlatLine}} }, rating.ErrStatement},
		"a strange tax":  {func(s *rating.Statement) { s.Charges = []rating.Charge{{Kind: rating.ManualLine, TaxPercent: 101}} }, rating.ErrStatement},
		"two currencies": {func(s *rating.Statement) {
			s.Late = []rating.Late{{Period: month(time.UTC, 2026, 10, version("USD"), rating.Usage{})}}
		}, rating.ErrCurrency},
		"too much": {func(s *rating.Statement) {
			s.Period.Parts[0].Version = version("JPY", perMinute("999999999999999"))
			s.Period.Parts[0].Usage = minutes(1e6)
		}, rating.ErrTooLarge},
		"too much in all": {func(s *rating.Statement) {
			c := rating.Charge{Kind: rating.ManualLine, Amount: 1 << 62}
			s.Charges = []rating.Charge{c, c}
		}, rating.ErrTooLarge},
		"too much tax": {func(s *rating.Statement) {
			s.Charges = []rating.Charge{{Kind: rating.ManualLine, Amount: 1<<63 - 10, TaxPercent: 10}}
		}, rating.ErrTooLarge},
	} {
		s := good()
		test.spoil(&s)
		if _, err := rating.Rate(s); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	s := good()
	s.Period.Parts[0].Version.Components[0].Model = "other"
	var invalid rating.Invalid
	if _, err := rating.Rate(s); !errors.As(err, &invalid) {
		t.Errorf("a version that cannot be: %v", err)
	}
}
