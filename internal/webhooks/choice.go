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

// checked returns the choice with its types sorted and without repetitions, or a
// *tenant.FieldError that names types or channel_prefix.
func (c Choice) checked() (Choice, error) {
	chosen := []string{}
	for _, name := range c.Types {
		if !slices.Contains(Types, name) {
			return Choice{}, &tenant.FieldError{Field: "types", Problem: fmt.Sprintf("There is no event type %q.", name)}
		}
		chosen = append(chosen, name)
	}
	slices.Sort(chosen)
	c.Types = slices.Compact(chosen)
	if len(c.ChannelPrefix) > maxChannelPrefix {
		return Choice{}, &tenant.FieldError{Field: "channel_prefix", Problem: fmt.Sprintf("Use at most %d bytes.", maxChannelPrefix)}
	}
	if !utf8.ValidString(c.ChannelPrefix) || cleanText(c.ChannelPrefix) != c.ChannelPrefix {
		return Choice{}, &tenant.FieldError{Field: "channel_prefix", Problem: "It has characters that no channel's name has."}
	}
	return c, nil
}
