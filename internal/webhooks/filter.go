package webhooks

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/hibari/hibari/internal/tenant"
)

// maxChannelPrefix is how long the beginning of a channel's name may be that an
// endpoint chooses events by, in bytes.
const maxChannelPrefix = 255

// checked returns the filter with its types sorted and without repetitions, or a
// *tenant.FieldError that names types or channel_prefix.
func (f Filter) checked() (Filter, error) {
	chosen := []string{}
	for _, name := range f.Types {
		if !slices.Contains(Types, name) {
			return Filter{}, &tenant.FieldError{Field: "types", Problem: fmt.Sprintf("There is no event type %q.", name)}
		}
		chosen = append(chosen, name)
	}
	slices.Sort(chosen)
	f.Types = slices.Compact(chosen)
	if len(f.ChannelPrefix) > maxChannelPrefix {
		return Filter{}, &tenant.FieldError{Field: "channel_prefix", Problem: fmt.Sprintf("Use at most %d bytes.", maxChannelPrefix)}
	}
	if !utf8.ValidString(f.ChannelPrefix) || cleanText(f.ChannelPrefix) != f.ChannelPrefix {
		return Filter{}, &tenant.FieldError{Field: "channel_prefix", Problem: "It has characters that no channel's name has."}
	}
	return f, nil
}
