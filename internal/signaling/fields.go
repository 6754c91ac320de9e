package signaling

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/hibari/hibari/internal/tenant"
)

// fields is a JSON object of a client, read leniently: null is absent, because
// JavaScript writes NaN and unset options that way, and unknown names are
// nobody's concern. Its methods remember the first mistake.
type fields struct {
	values map[string]json.RawMessage
	where  string // "" or "audio.": before the name in a complaint
	err    *error // shared with the objects inside
}

// readFields reads a JSON object.
func readFields(data []byte) (fields, error) {
	f := fields{err: new(error)}
	if err := json.Unmarshal(data, &f.values); err != nil || f.values == nil {
		return f, bad("expected a JSON object with a type")
	}
	return f, nil
}

// fail remembers the first mistake.
func (f fields) fail(name, problem string) {
	if *f.err == nil {
		*f.err = bad("%s%s %s", f.where, name, problem)
	}
}

// raw returns the JSON of a field; nil if it is absent or null.
func (f fields) raw(name string) json.RawMessage {
	v := f.values[name]
	if bytes.Equal(v, []byte("null")) {
		return nil
	}
	return v
}

// has reports whether the field is there, null included.
func (f fields) has(name string) bool { _, ok := f.values[name]; return ok }

// text returns a string of any length; "" if absent.
func (f fields) text(name string) string {
	raw := f.raw(name)
	if raw == nil {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		f.fail(name, "must be a string")
	}
	return s
}

// name returns a string that names something; "" if absent.
func (f fields) name(name string) string {
	if f.raw(name) == nil {
		return ""
	}
	s := f.text(name)
	if *f.err == nil {
		if err := checkName(f.where+name, s); err != nil {
			*f.err = err
		}
	}
	return s
}

// choice returns one of the allowed words; "" if absent.
func (f fields) choice(name string, allowed ...string) string {
	if f.raw(name) == nil {
		return ""
	}
	s := f.text(name)
	if slices.Contains(allowed, s) {
		return s
	}
	f.fail(name, "must be one of "+strings.Join(allowed, ", "))
	return ""
}

// flag returns a boolean; unset if absent.
func (f fields) flag(name string, unset bool) bool {
	raw := f.raw(name)
	if raw == nil {
		return unset
	}
	var b bool
	if json.Unmarshal(raw, &b) != nil {
		f.fail(name, "must be true or false")
	}
	return b
}

// number returns a whole number from least to most; 0 if absent.
func (f fields) number(name string, least, most int) int {
	raw := f.raw(name)
	if raw == nil {
		return 0
	}
	var n float64
	if json.Unmarshal(raw, &n) != nil || n != float64(int(n)) || int(n) < least || int(n) > most {
		f.fail(name, "must be a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
		return 0
	}
	return int(n)
}

// object returns the object in a field, empty if absent.
func (f fields) object(name string) fields {
	inner := fields{where: f.where + name + ".", err: f.err}
	if raw := f.raw(name); raw != nil && json.Unmarshal(raw, &inner.values) != nil {
		f.fail(name, "must be an object")
	}
	return inner
}

// checkName checks a name a client chose: 1 to 255 bytes of UTF-8 without
// control characters.
func checkName(field, s string) error {
	switch {
	case s == "":
		return bad("%s must not be empty", field)
	case len(s) > 255:
		return bad("%s must have at most 255 bytes", field)
	case !utf8.ValidString(s):
		return bad("%s must be UTF-8", field)
	}
	for _, r := range s {
		if unicode.IsControl(r) {
			return bad("%s must not have control characters", field)
		}
	}
	return nil
}

// bad makes the refusal of a message that makes no sense.
func bad(format string, args ...any) error {
	return tenant.Refuse(tenant.BadMessage, format, args...)
}

// depth returns how deep objects and arrays nest in valid JSON.
func depth(data []byte) int {
	now, most := 0, 0
	quoted := false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			now++
			most = max(most, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return most
}
