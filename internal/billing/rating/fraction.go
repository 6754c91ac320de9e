package rating

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/shopspring/decimal"
)

// A fraction is the exact number num ÷ den: prices are for 60 seconds, or for one
// of 31 days, and such numbers need not end. Its den is more than 0.
type fraction struct {
	num decimal.Decimal // not below 0
	den int64
}

// shown is how many digits after the point a fraction that does not end is cut to
// where it is shown.
const shown = 12

// cut returns the fraction as a decimal: exact, or cut to zero after 12 digits.
func (f fraction) cut() decimal.Decimal {
	q, _ := f.num.QuoRem(whole(f.den), shown)
	return q.Normalize()
}

// minor rounds the fraction of a major unit, half up, to minor units of the
// currency: the one rounding of a line.
func (f fraction) minor(currency string) (int64, error) {
	places, _ := Exponent(currency)
	q, rest := f.num.Shift(places).QuoRem(whole(f.den), 0)
	if rest.Add(rest).Cmp(whole(f.den)) >= 0 {
		q = q.Add(whole(1))
	}
	if n := q.BigInt(); n.IsInt64() {
		return n.Int64(), nil
	}
	return 0, ErrTooLarge
}

// major returns minor units as a decimal number of major units.
func major(currency string, minor int64) decimal.Decimal {
	places, _ := Exponent(currency)
	return decimal.New(minor, -places)
}

// hash returns the SHA-256 of what went into a line, written as JSON.
func hash(inputs ...any) string {
	text, err := json.Marshal(inputs)
	if err != nil { // nothing that is put in can fail
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
