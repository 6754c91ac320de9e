package billing

import (
	"fmt"
	"strconv"
	"strings"
)

// exponents are how many digits of a currency's amounts stand after the point
// (ISO 4217), of those that are not 2.
var exponents = map[string]int{"JPY": 0, "KRW": 0, "KWD": 3}

// Decimal writes an amount in minor units as a decimal number: 3432000 of JPY is
// "3432000", of USD "34320.00".
func Decimal(currency string, minor int64) string {
	exponent, known := exponents[currency]
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
