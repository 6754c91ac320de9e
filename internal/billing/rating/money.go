package rating

import (
	"fmt"
	"maps"
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// exponents are the currencies that prices can be in, and how many digits of their
// amounts stand after the point (ISO 4217).
var exponents = map[string]int32{"EUR": 2, "JPY": 0, "KRW": 0, "KWD": 3, "USD": 2}

// Exponent returns how many digits of a currency's amounts stand after the point,
// and whether prices can be in it.
func Exponent(currency string) (digits int32, ok bool) {
	digits, ok = exponents[currency]
	return digits, ok
}

// Currencies returns the currencies that prices can be in, sorted.
func Currencies() []string { return slices.Sorted(maps.Keys(exponents)) }

// A Rounding is the direction in which a fraction of a minor unit is rounded. Of
// amounts below 0 it is the mirror image, so that a credit undoes a charge.
type Rounding string

// The directions. HalfUp takes half a unit up.
const (
	Down   Rounding = "down" // cut off, as is usual for tax in Japan; what "" means too
	HalfUp Rounding = "half_up"
	Up     Rounding = "up"
)

// Decimal writes an amount in minor units as a decimal number: 3432000 of JPY is
// "3432000", of USD "34320.00". An unknown currency has two digits after the point.
func Decimal(currency string, minor int64) string {
	n, known := exponents[currency]
	exponent := int(n)
	if !known {
		exponent = 2
	}
	sign, digits := "", strconv.FormatInt(minor, 10)
	if minor < 0 {
		sign, digits = "-", digits[1:]
	}
	if exponent == 0 {
		return sign + digits
	}
	digits = fmt.Sprintf("%0*s", exponent+1, digits)
	return sign + digits[:len(digits)-exponent] + "." + digits[len(digits)-exponent:]
}

// Money writes an amount for people: "JPY 3,432,000".
func Money(currency string, minor int64) string {
	sign, number := "", Decimal(currency, minor)
	if minor < 0 {
		sign, number = "-", number[1:]
	}
	whole, rest, fraction := strings.Cut(number, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction {
		whole += "." + rest
	}
	return currency + " " + sign + whole
}

// percent returns amount × percent ÷ 100 in minor units, rounded. An amount that
// int64 cannot hold becomes its largest.
func (r Rounding) percent(amount, percent int64) int64 {
	if amount < 0 {
		return -r.percent(-amount, percent)
	}
	high, low := bits.Mul64(uint64(amount), uint64(percent))
	extra := uint64(0)
	switch r {
	case HalfUp:
		extra = 50
	case Up:
		extra = 99
	}
	low, carry := bits.Add64(low, extra, 0)
	if high+carry >= 100 {
		return math.MaxInt64
	}
	whole, _ := bits.Div64(high+carry, low, 100)
	return int64(min(whole, math.MaxInt64))
}
