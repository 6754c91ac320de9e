package billing_test

import (
	"encoding/json"
	"testing"

	"github.com/hibari/hibari/internal/billing"
)

// Whatever is sent as an override is read or refused, and what was read is written as
// what is read again.
func FuzzOverride(f *testing.F) {
	for _, text := range []string{
		"", " ", "{}", "null", `{"minimum": 5000}`, `{"without": ["gb_out"]}`, `{"minimum": 1e99}`, `[]`, `{} {}`, `{"prize": 1}`,
		`{"components": [{"key": "fee", "name": "Fee", "kind": "flat", "amount": "1e999999999", "tax_percent": 10}]}`,
		`{"licence": {"base": 1, "base_connections": 10, "pack": 1, "pack_connections": 0, "max_connections": 5, "per_channel": 1, "discounts": [], "max_discount": 0, "tax_percent": 0}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		o, err := billing.ParseOverride(text)
		if err != nil || o == nil || len(text) > 1000 {
			return
		}
		written, err := json.Marshal(o)
		if err != nil {
			t.Fatalf("%q was read and can't be written: %v", text, err)
		}
		again, err := billing.ParseOverride(written)
		if err != nil {
			t.Fatalf("%s was written and can't be read: %v", written, err)
		}
		if twice, _ := json.Marshal(again); string(twice) != string(written) {
			t.Fatalf("%s became %s", written, twice)
		}
	})
}
