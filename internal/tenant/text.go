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

// storable makes what a client says about itself fit for a text column.
func storable(s string, most int) string {
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
