package billing

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"

	"github.com/hibari/hibari/internal/billing/rating"
)

// An Override is what a tenant's prices have that its plan does not, as agreed with
// it. It lies over every version of the plan while the tenant has it.
type Override struct {
	Components []rating.Component `json:"components,omitempty"` // each in place of the plan's with its key, or beside them
	Without    []string           `json:"without,omitempty"`    // keys of the plan's components that the tenant does not pay
	Minimum    *int64             `json:"minimum,omitempty"`    // as rating.Version.Minimum
	Licence    *rating.Licence    `json:"licence,omitempty"`    // in place of the plan's list
}

// ParseOverride reads an override as people write it; "" is none, nil. Unknown fields
// are refused, so that no price is overlooked for a typing mistake. The error is a
// rating.Invalid. Whether it fits a plan is for Assign to say.
func ParseOverride(text []byte) (*Override, error) {
	if len(bytes.TrimSpace(text)) == 0 {
		return nil, nil
	}
	if len(text) > rating.MaxPricesSize {
		return nil, rating.Invalid{{Problem: "too long"}}
	}
	o := &Override{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(o); err != nil {
		return nil, rating.Invalid{{Problem: err.Error()}}
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, rating.Invalid{{Problem: "one JSON object and nothing after it"}}
	}
	return o, nil
}

// over returns the version with the override in it. v stays as it was.
func (o *Override) over(v *rating.Version) *rating.Version {
	if o == nil {
		return v
	}
	own := v.With(o.Components)
	own.Components = withoutKeys(own.Components, o.Without)
	if o.Minimum != nil {
		own.Minimum = *o.Minimum
	}
	if o.Licence != nil {
		list := *o.Licence
		list.Name, list.Currency, list.TaxRounding = v.Name, v.Currency, v.TaxRounding
		own.Licence = &list
	}
	return own
}

func withoutKeys(components []rating.Component, keys []string) []rating.Component {
	var kept []rating.Component
	for _, c := range components {
		left := false
		for _, key := range keys {
			left = left || c.Key == key
		}
		if !left {
			kept = append(kept, c)
		}
	}
	return kept
}
