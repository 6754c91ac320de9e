package tenant

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// badText reports text that a line of a page or a text column cannot hold:
// broken UTF-8 or control characters, NUL among them.
func badText(s string) bool {
	return !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl)
}

// Printable makes what a stranger says of itself fit for a text column, a log
// line and a page: what is no UTF-8 or a control character is left out, and what
// goes beyond most bytes.
func Printable(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return s
}
