package rating_test

import (
	"testing"

	"github.com/hibari/hibari/internal/billing/rating"
)

func TestMoney(t *testing.T) {
	for _, test := range []struct {
		currency      string
		minor         int64
		decimal, text string
	}{
		{"JPY", 0, "0", "JPY 0"},
		{"JPY", 999, "999", "JPY 999"},
		{"JPY", 3_432_000, "3432000", "JPY 3,432,000"},
		{"JPY", -480_000, "-480000", "JPY -480,000"},
		{"USD", 3_432_000, "34320.00", "USD 34,320.00"},
		{"USD", 5, "0.05", "USD 0.05"},
		{"USD", -5, "-0.05", "USD -0.05"},
		{"USD", 0, "0.00", "USD 0.00"},
		{"KWD", 1_234_567, "1234.567", "KWD 1,234.567"},
		{"JPY", -1 << 63, "-9223372036854775808", "JPY -9,223,372,036,854,775,808"},
	} {
		if got := rating.Decimal(test.currency, test.minor); got != test.decimal {
			t.Errorf("Decimal(%s, %d) = %q, want %q", test.currency, test.minor, got, test.decimal)
		}
		if got := rating.Money(test.currency, test.minor); got != test.text {
			t.Errorf("Money(%s, %d) = %q, want %q", test.currency, test.minor, got, test.text)
		}
	}
}
