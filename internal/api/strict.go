package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"unicode/utf8"

	"github.com/hibari/hibari/internal/tenant"
)

// checkJSON checks that a body is one JSON document of UTF-8, not too deep, and
// without a name that stands twice in an object: of two values, another program
// might take the other one. The error is a *tenant.Refusal.
func checkJSON(body []byte) error {
	if !utf8.Valid(body) {
		return tenant.Refuse(tenant.BadMessage, "the body is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := checkValue(d, 0); err != nil {
		var refusal *tenant.Refusal
		if errors.As(err, &refusal) {
			return refusal
		}
		return tenant.Refuse(tenant.BadMessage, "the body is no JSON: see byte %d", d.InputOffset())
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return tenant.Refuse(tenant.BadMessage, "the body goes on after its JSON document: see byte %d", d.InputOffset())
	}
	return nil
}

// checkValue reads one value, whose depth is how many it stands in.
func checkValue(d *json.Decoder, depth int) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	open, ok := token.(json.Delim)
	if !ok {
		return nil
	}
	if depth == maxDepth {
		return tenant.Refuse(tenant.BadMessage, "the body nests deeper than %d levels", maxDepth)
	}
	seen := map[string]bool{}
	for d.More() {
		if open == '{' {
			name, err := d.Token()
			if err != nil {
				return err
			}
			text, _ := name.(string) // the decoder lets nothing else be a name
			if seen[text] {
				return tenant.Refuse(tenant.BadMessage, "a name stands twice in an object: see byte %d", d.InputOffset())
			}
			seen[text] = true
		}
		if err := checkValue(d, depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token() // the end
	return err
}
