package api

import (
	"time"
	"unicode"
	"unicode/utf8"
)

// checkText refuses in a query what no row could hold: it would be an error of
// the database.
func checkText(field, text string) error {
	if !utf8.ValidString(text) {
		return invalid("query", field, "It is not UTF-8.")
	}
	for _, r := range text {
		if unicode.IsControl(r) {
			return invalid("query", field, "It has control characters.")
		}
	}
	return nil
}

// textOrNull is null for "".
func textOrNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// timeOrNull is null for the zero time, else UTC.
func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

// utcOrNull keeps null.
func utcOrNull(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.UTC())
}
