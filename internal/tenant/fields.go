package tenant

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Fields is a JSON object that somebody else wrote, read leniently: null is
// absent, because JavaScript writes NaN and unset options that way, and unknown
// names are nobody's concern. Its methods remember the first mistake, in the
// object itself or in one inside, so that they can be called one after the
// other and Err asked at the end.
type Fields struct {
	values map[string]json.RawMessage
	where  string // "" or "audio.": before the name in a complaint
	err    *error // shared with the objects inside
}

// ReadFields reads a JSON object; false if it is none.
func ReadFields(data []byte) (Fields, bool) {
	f := Fields{err: new(error)}
	err := json.Unmarshal(data, &f.values)
	return f, err == nil && f.values != nil
}

// Err returns the first mistake: what Stop was given, else a *FieldError.
func (f Fields) Err() error { return *f.err }

// Stop makes err the first mistake, unless there was one.
func (f Fields) Stop(err error) {
	if *f.err == nil {
		*f.err = err
	}
}

// Fail remembers what is wrong with a field, in words that follow its name.
func (f Fields) Fail(name, problem string) {
	f.Stop(&FieldError{Field: f.where + name, Problem: problem})
}

// Raw returns the JSON of a field; nil if it is absent or null.
func (f Fields) Raw(name string) json.RawMessage {
	v := f.values[name]
	if bytes.Equal(v, []byte("null")) {
		return nil
	}
	return v
}

// Has reports whether the field is there, null included.
func (f Fields) Has(name string) bool { _, ok := f.values[name]; return ok }

// Names returns the names of all fields, in order.
func (f Fields) Names() []string { return slices.Sorted(maps.Keys(f.values)) }

// Text returns a string of any length; "" if absent.
func (f Fields) Text(name string) string {
	raw := f.Raw(name)
	if raw == nil {
		return ""
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		f.Fail(name, "must be a string")
	}
	return s
}

// Name returns a string that names something; "" if absent.
func (f Fields) Name(name string) string {
	if f.Raw(name) == nil {
		return ""
	}
	s := f.Text(name)
	if f.Err() == nil {
		if err := CheckName(f.where+name, s); err != nil {
			f.Stop(err)
			return ""
		}
	}
	return s
}

// Choice returns one of the allowed words; "" if absent.
func (f Fields) Choice(name string, allowed ...string) string {
	if f.Raw(name) == nil {
		return ""
	}
	s := f.Text(name)
	if slices.Contains(allowed, s) {
		return s
	}
	f.Fail(name, "must be one of "+strings.Join(allowed, ", "))
	return ""
}

// Flag returns a boolean; unset if absent.
func (f Fields) Flag(name string, unset bool) bool {
	if b := f.Switch(name); b != nil {
		return *b
	}
	return unset
}

// Switch returns a boolean; nil if absent.
func (f Fields) Switch(name string) *bool {
	raw := f.Raw(name)
	if raw == nil {
		return nil
	}
	var b bool
	if json.Unmarshal(raw, &b) != nil {
		f.Fail(name, "must be true or false")
		return nil
	}
	return &b
}

// Number returns a whole number from least to most; 0 if absent.
func (f Fields) Number(name string, least, most int) int {
	if n := f.Count(name, least, most); n != nil {
		return *n
	}
	return 0
}

// Count returns a whole number from least to most; nil if absent.
func (f Fields) Count(name string, least, most int) *int {
	raw := f.Raw(name)
	if raw == nil {
		return nil
	}
	var x float64
	if json.Unmarshal(raw, &x) != nil || x != float64(int(x)) || int(x) < least || int(x) > most {
		f.Fail(name, "must be a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
		return nil
	}
	return new(int(x))
}

// Quantity returns a number from least to most; 0 if absent.
func (f Fields) Quantity(name string, least, most float64) float64 {
	raw := f.Raw(name)
	if raw == nil {
		return 0
	}
	var x float64
	if json.Unmarshal(raw, &x) != nil || x < least || x > most {
		f.Fail(name, "must be a number from "+strconv.FormatFloat(least, 'g', -1, 64)+" to "+strconv.FormatFloat(most, 'g', -1, 64))
		return 0
	}
	return x
}

// Object returns the object in a field, empty if absent.
func (f Fields) Object(name string) Fields {
	inner := f.Empty(name)
	if raw := f.Raw(name); raw != nil && json.Unmarshal(raw, &inner.values) != nil {
		f.Fail(name, "must be an object")
	}
	return inner
}

// Empty returns an empty object in the place of a field.
func (f Fields) Empty(name string) Fields {
	return Fields{where: f.where + name + ".", err: f.err}
}

// List returns the values of an array of at most most elements; nil if absent,
// and not nil if empty.
func (f Fields) List(name string, most int) []json.RawMessage {
	raw := f.Raw(name)
	if raw == nil {
		return nil
	}
	list := []json.RawMessage{}
	if json.Unmarshal(raw, &list) != nil {
		f.Fail(name, "must be an array")
		return nil
	}
	if len(list) > most {
		f.Fail(name, "must have at most "+strconv.Itoa(most)+" elements")
		return nil
	}
	return list
}

// Objects returns the objects of an array of at most most elements; nil if
// absent, and not nil if empty.
func (f Fields) Objects(name string, most int) []Fields {
	list := f.List(name, most)
	if list == nil {
		return nil
	}
	objects := make([]Fields, len(list))
	for i, raw := range list {
		objects[i] = f.Empty(name)
		if json.Unmarshal(raw, &objects[i].values) != nil || objects[i].values == nil {
			f.Fail(name, "must hold objects")
			return nil
		}
	}
	return objects
}

// CheckName checks a name that a client or its server chose: 1 to MaxNameBytes
// bytes of UTF-8 without control characters. The error is a *FieldError.
func CheckName(field, s string) error {
	switch {
	case s == "":
		return &FieldError{field, "must not be empty"}
	case len(s) > MaxNameBytes:
		return &FieldError{field, "must have at most " + strconv.Itoa(MaxNameBytes) + " bytes"}
	case !utf8.ValidString(s):
		return &FieldError{field, "must be UTF-8"}
	case badText(s):
		return &FieldError{field, "must not have control characters"}
	}
	return nil
}
