package ui

import (
	"cmp"
	"strconv"
	"strings"
)

// input is one field of a form.
type input struct {
	Name, Label  string
	ID           string // of the element; "": made from Name
	Kind         string // of the input element; "": text
	Value        string
	Hint         string
	Problem      string // what is wrong with Value; "": nothing
	Placeholder  string
	Autocomplete string
	List         string // id of a datalist to choose from; "": none
	Required     bool
	Max          int // characters; 0: 300
	Focus        bool
}

func (i input) id() string {
	if i.ID != "" {
		return i.ID
	}
	return "field-" + strings.ReplaceAll(i.Name, "_", "-")
}

func (i input) max() string { return strconv.Itoa(cmp.Or(i.Max, 300)) }

func (i input) kind() string {
	if i.Kind == "" {
		return "text"
	}
	return i.Kind
}
