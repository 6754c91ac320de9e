package tenant_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

// What is said about an end is kept in a form that every store can hold, or refused.
func TestAPIReason(t *testing.T) {
	for said, want := range map[string]string{
		``: ``, `null`: ``, ` null `: ``,
		`"rude"`:                        `"rude"`,
		`{"b": 1e3, "a": ["雲雀", null]}`: `{"a":["雲雀",null],"b":1e3}`,
		`{"n":12345678901234567890123}`: `{"n":12345678901234567890123}`,
		`"\ud800 half of a surrogate"`:  `"` + "\ufffd" + ` half of a surrogate"`,
		"\"no UTF-8: \xff\"":            "\"no UTF-8: \ufffd\"",
		`"<b>&"`:                        `"<b>&"`,
	} {
		got, err := tenant.NewAPIReason([]byte(said))
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", said, got, err)
		}
	}
	for said, code := range map[string]tenant.Code{
		`7`: tenant.BadMessage, `true`: tenant.BadMessage, `[]`: tenant.BadMessage, `{`: tenant.BadMessage, `"a" "b"`: tenant.BadMessage,
		`"\u0000"`: tenant.BadMessage, `{"\u0000":1}`: tenant.BadMessage, `{"n":1e400}`: tenant.BadMessage, `{"n":1e-400}`: tenant.BadMessage,
		strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40):  tenant.BadMessage,
		`"` + strings.Repeat("x", tenant.MaxReasonBytes) + `"`:       tenant.TooLarge,
		`{"a":"` + strings.Repeat("x", tenant.MaxReasonBytes) + `"}`: tenant.TooLarge,
	} {
		if got, err := tenant.NewAPIReason([]byte(said)); tenant.AsRefusal(err) == nil || tenant.AsRefusal(err).Code != code {
			t.Errorf("%.40s: %s, %v", said, got, err)
		}
	}
}

// An end that nobody has said anything about stays so in the file of what is owed.
func TestEndingThroughJSON(t *testing.T) {
	for _, said := range []string{``, `"rude"`} {
		var was, is tenant.Ending
		if said != "" {
			was.Said = json.RawMessage(said)
		}
		text, err := json.Marshal(was)
		if err == nil {
			err = json.Unmarshal(text, &is)
		}
		if err != nil || string(is.Said) != said {
			t.Errorf("%q became %q in %s: %v", said, is.Said, text, err)
		}
	}
}
