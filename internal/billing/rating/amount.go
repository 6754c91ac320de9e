package rating

import (
	"errors"
	"fmt"
	"strings"

	"github.com/shopspring/decimal"
)

// ErrAmount is returned for text that is no amount of a currency.
var ErrAmount = errors.New("not an amount")

// maxAmountText is how long an amount may be that somebody types.
const maxAmountText = 40

// ParseAmount reads an amount that somebody typed in the currency's own unit, as
// "1,234.50", and returns it in minor units. It may have no more digits after the point
// than the currency has (ISO 4217). The error is ErrAmount.
func ParseAmount(currency, text string) (minor int64, err error) {
	places, ok := Exponent(currency)
	if !ok {
		return 0, fmt.Errorf("%w: no currency %q", ErrAmount, currency)
	}
	digits := strings.ReplaceAll(strings.TrimSpace(text), ",", "")
	if digits == "" || len(digits) > maxAmountText || strings.Trim(digits, "-.0123456789") != "" { // no exponents
		return 0, fmt.Errorf("%w: write it in digits", ErrAmount)
	}
	d, err := decimal.NewFromString(digits)
	if err != nil {
		return 0, fmt.Errorf("%w: write it in digits", ErrAmount)
	}
	d = d.Shift(places)
	if !d.IsInteger() {
		return 0, fmt.Errorf("%w: %s has %d digits after the point", ErrAmount, currency, places)
	}
	n := d.BigInt()
	if !n.IsInt64() {
		return 0, fmt.Errorf("%w: it is too large", ErrAmount)
	}
	return n.Int64(), nil
}
