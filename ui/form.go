package ui

import (
	"net/http"
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
	MinLength    int
	Required     bool
	Focus        bool
}

func (i input) id() string {
	if i.ID != "" {
		return i.ID
	}
	return "field-" + strings.ReplaceAll(i.Name, "_", "-")
}

func (i input) kind() string {
	if i.Kind == "" {
		return "text"
	}
	return i.Kind
}

// share is part of all as the width of a bar 100 wide.
func share(part, all int) string {
	if all <= 0 {
		return "0"
	}
	return strconv.FormatFloat(min(100, 100*float64(part)/float64(all)), 'f', 1, 64)
}

// ask sends a question: only the form to our scripts, else a page.
func (v *visit) ask(w http.ResponseWriter, r *http.Request, q question) error {
	if v.partial {
		return v.page(w, r, http.StatusOK, askForm(q))
	}
	return v.page(w, r, http.StatusOK, askPage(v, q))
}

// under reports whether the page asked for belongs to the menu entry path.
func (v *visit) under(path string) bool {
	switch path {
	case "/console":
		return v.path == path
	case "/demo/hello":
		return strings.HasPrefix(v.path, "/demo/")
	case "/console/webhooks":
		return strings.HasPrefix(v.path, path) || strings.HasPrefix(v.path, "/console/deliveries/")
	}
	return v.path == path || strings.HasPrefix(v.path, path+"/")
}
