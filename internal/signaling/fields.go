package signaling

import (
	"errors"

	"github.com/hibari/hibari/internal/tenant"
)

// fields is a JSON object of a client.
type fields = tenant.Fields

// readFields reads a JSON object.
func readFields(data []byte) (fields, error) {
	f, ok := tenant.ReadFields(data)
	if !ok {
		return f, bad("expected a JSON object with a type")
	}
	return f, nil
}

// mistake returns the first mistake in f as a refusal; nil if there was none.
func mistake(f fields) error { return badField(f.Err()) }

// checkName checks a name a client chose.
func checkName(field, s string) error { return badField(tenant.CheckName(field, s)) }

// badField makes a refusal of what is wrong with a field.
func badField(err error) error {
	var field *tenant.FieldError
	if errors.As(err, &field) {
		return bad("%s %s", field.Field, field.Problem)
	}
	return err
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
