package rating_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/billing/rating"
)

func TestParseAmount(t *testing.T) {
	for _, test := range []struct {
		currency, text string
		want           int64
	}{
		{"JPY", "500000", 500_000}, {"JPY", " 500,000 ", 500_000}, {"JPY", "-3", -3}, {"JPY", "12.0", 12},
		{"USD", "12.5", 1250}, {"USD", "1,234.56", 123_456}, {"USD", ".05", 5}, {"KWD", "0.001", 1},
		{"JPY", "9223372036854775807", 9223372036854775807},
	} {
		if got, err := rating.ParseAmount(test.currency, test.text); err != nil || got != test.want {
			t.Errorf("%s %q is %d, %v, want %d", test.currency, test.text, got, err, test.want)
		}
	}
	for _, test := range [][2]string{{"JPY", ""}, {"JPY", "0.5"}, {"USD", "0.001"}, {"JPY", "1e9"}, {"JPY", "ten"}, {"JPY", "1.2.3"}, {"JPY", "--1"},
		{"JPY", "9223372036854775808"}, {"XXX", "1"}, {"JPY", "0x10"}, {"JPY", "¥5"}, {"JPY", strings.Repeat("0", 41)}} {
		if got, err := rating.ParseAmount(test[0], test[1]); !errors.Is(err, rating.ErrAmount) {
			t.Errorf("%s %q is %d, %v", test[0], test[1], got, err)
		}
	}
}

// Whatever is typed, what is taken is written back as the same amount.
func FuzzParseAmount(f *testing.F) {
	f.Add("JPY", "500,000")
	f.Add("KWD", "-0.001")
	f.Add("USD", "1e999999999")
	f.Fuzz(func(t *testing.T, currency, text string) {
		minor, err := rating.ParseAmount(currency, text)
		if err != nil {
			return
		}
		again, err := rating.ParseAmount(currency, rating.Decimal(currency, minor))
		if err != nil || again != minor {
			t.Fatalf("%s %q is %d, and that is %d, %v", currency, text, minor, again, err)
		}
	})
}
