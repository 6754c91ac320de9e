package api

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	maxPage    = 1000
	maxCursor  = 2048
	cursorMark = "1" // of the form below; another form gets another mark
)

// Paging is how a list is asked for, page by page.
type Paging struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"How many items a page has at most."`
	Cursor string `query:"cursor" maxLength:"2048" doc:"The next of the page before. Absent: from the start."`
}

// page is one page of a list.
type page[T any] struct {
	Items []T     `json:"items"`
	Next  *string `json:"next" doc:"The cursor of the next page; null: this is the last."`
}

// pageOf makes a page of rows, of which one more than limit was asked for:
// whether there is one says whether there are more. The cursor is that of the
// last row on the page.
func pageOf[R, T any](rows []R, limit int, show func(R) T, cursor func(R) string) page[T] {
	p := page[T]{Items: []T{}}
	if len(rows) > limit {
		rows = rows[:limit]
		p.Next = new(cursor(rows[limit-1]))
	}
	for _, row := range rows {
		p.Items = append(p.Items, show(row))
	}
	return p
}

// newCursor makes the cursor of a list: where a page ended. Callers must not
// read it, so that it can change.
func newCursor(list string, position ...string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(append([]string{cursorMark, list}, position...), "\x00")))
}

// readCursor reads what newCursor made for the same list and as many values;
// nil for "". The error is a *Problem.
func readCursor(list, cursor string, values int) ([]string, error) {
	if cursor == "" {
		return nil, nil
	}
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	parts := strings.Split(string(text), "\x00")
	if err != nil || len(cursor) > maxCursor || len(parts) != values+2 || parts[0] != cursorMark || parts[1] != list || hasEmpty(parts) {
		return nil, errCursor
	}
	return parts[2:], nil
}

func hasEmpty(parts []string) bool {
	for _, part := range parts {
		if part == "" {
			return true
		}
	}
	return false
}

var errCursor = invalid("query", "cursor", "It is not the next of a page of this list.")

// after reads a cursor that has one value: the id a page ended with; "" at the
// start.
func (p Paging) after(list string) (string, error) {
	position, err := readCursor(list, p.Cursor, 1)
	if position == nil {
		return "", err
	}
	return position[0], nil
}

// place is where an item stands in a list that is in order of time.
type place struct {
	at time.Time
	id string
}

func (p place) cursor(list string) string {
	return newCursor(list, strconv.FormatInt(p.at.UnixMicro(), 10), p.id)
}

// before reports whether p is earlier than q, of the same moment by id.
func (p place) before(q place) bool {
	if c := p.at.Truncate(time.Microsecond).Compare(q.at.Truncate(time.Microsecond)); c != 0 {
		return c < 0
	}
	return p.id < q.id
}

// order says which way a list goes.
type order bool

const (
	oldestFirst order = false
	newestFirst order = true
)

// from returns what comes after the cursor, in order, of a list that is short
// enough to be read whole. rows is reordered.
func from[R any](rows []R, list string, in *Paging, way order, at func(R) place) ([]R, error) {
	position, err := readCursor(list, in.Cursor, 2)
	if err != nil {
		return nil, err
	}
	earlier := func(p, q place) bool {
		if way == newestFirst {
			p, q = q, p
		}
		return p.before(q)
	}
	slices.SortFunc(rows, func(a, b R) int {
		switch p, q := at(a), at(b); {
		case earlier(p, q):
			return -1
		case earlier(q, p):
			return 1
		}
		return 0
	})
	if position == nil {
		return rows, nil
	}
	micros, err := strconv.ParseInt(position[0], 10, 64)
	if err != nil {
		return nil, errCursor
	}
	last := place{time.UnixMicro(micros), position[1]}
	return slices.DeleteFunc(rows, func(r R) bool { return !earlier(last, at(r)) }), nil
}
