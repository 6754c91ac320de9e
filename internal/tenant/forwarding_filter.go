package tenant

import (
	"cmp"
	"encoding/json"
	"math"
	"strconv"
)

// ForwardingFilter says what is forwarded to a connection and what is not.
type ForwardingFilter struct {
	Name     string          `json:"name,omitempty"`     // "": default
	Priority *int            `json:"priority,omitempty"` // the lowest goes first; nil: 32767
	Action   string          `json:"action"`             // FilterBlock or FilterAllow
	Rules    [][]FilterRule  `json:"rules"`              // it meets if all rules of any inner list do
	Version  string          `json:"version,omitempty"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
}

// What a filter does with what meets it.
const (
	FilterBlock = "block"
	FilterAllow = "allow"
)

// FilterRule is a condition on a publisher or its media.
type FilterRule struct {
	Field    string   `json:"field"`    // connection_id, client_id or kind
	Operator string   `json:"operator"` // is_in or is_not_in
	Values   []string `json:"values"`   // of kind: audio, video
}

// ReadForwardingFilters reads forwarding_filters, or the one of its older name
// forwarding_filter; nil if both are absent, and not nil if empty.
func ReadForwardingFilters(f Fields) []ForwardingFilter {
	list := f.Objects("forwarding_filters", maxForwardingFilters)
	if f.Raw("forwarding_filter") != nil {
		if list != nil {
			f.Fail("forwarding_filter", "and forwarding_filters are both there: use forwarding_filters")
		}
		list = []Fields{f.Object("forwarding_filter")}
	}
	if list == nil {
		return nil
	}
	found := make([]ForwardingFilter, 0, len(list))
	size := 0
	for _, o := range list {
		found = append(found, ForwardingFilter{
			Name:     o.Name("name"),
			Priority: o.Count("priority", math.MinInt32, math.MaxInt32),
			Action:   cmp.Or(o.Choice("action", FilterBlock, FilterAllow), FilterBlock),
			Rules:    readRules(o),
			Version:  o.Name("version"),
			Metadata: anyJSON(o, "metadata", MaxMetadataBytes),
		})
		size += found[len(found)-1].size()
	}
	if size > maxFilterSize {
		f.Fail("forwarding_filters", "must have at most "+strconv.Itoa(maxFilterSize)+" rules and values in all")
	}
	return found
}

// size is how many rules and values there are to look at.
func (f *ForwardingFilter) size() (n int) {
	for _, rules := range f.Rules {
		n++
		for _, r := range rules {
			n += 1 + len(r.Values)
		}
	}
	return n
}

// readRules reads the conditions of a filter.
func readRules(f Fields) [][]FilterRule {
	lists := f.List("rules", maxFilterRules)
	if lists == nil && f.Err() == nil {
		f.Fail("rules", "is missing")
	}
	rules := make([][]FilterRule, 0, len(lists))
	for _, raw := range lists {
		// The inner list has no name of its own: it stands in the outer's.
		inner := f.at("rules", raw)
		conditions := inner.Objects("rules", maxFilterRules)
		if conditions == nil {
			f.Fail("rules", "must hold arrays of rules")
			return nil
		}
		all := make([]FilterRule, 0, len(conditions))
		for _, o := range conditions {
			rule := FilterRule{
				Field:    need(o, "field", "connection_id", "client_id", "kind"),
				Operator: need(o, "operator", "is_in", "is_not_in"),
				Values:   names(o, "values", maxFilterValues),
			}
			if rule.Field == "kind" {
				words(o, "values", []string{"audio", "video"})
			}
			if rule.Values == nil {
				o.Fail("values", "is missing")
			}
			all = append(all, rule)
		}
		rules = append(rules, all)
	}
	return rules
}

// need is Choice of a field that must be there.
func need(f Fields, name string, allowed ...string) string {
	word := f.Choice(name, allowed...)
	if word == "" {
		f.Fail(name, "is missing")
	}
	return word
}

// at returns an object that has one field.
func (f Fields) at(name string, value json.RawMessage) Fields {
	return Fields{values: map[string]json.RawMessage{name: value}, where: f.where, err: f.err}
}
