package api

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// FuzzCursor: whatever comes as a cursor is refused or is one that we made.
func FuzzCursor(f *testing.F) {
	f.Add(newCursor("connections", "9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"), uint8(0))
	f.Add(place{time.Unix(1, 0), "key_1"}.cursor("connections"), uint8(1))
	f.Add("MQ", uint8(0))
	f.Add("", uint8(0))
	f.Fuzz(func(t *testing.T, cursor string, n uint8) {
		values := 1 + int(n%4)
		position, err := readCursor("connections", cursor, values)
		var p *Problem
		if err != nil && !errors.As(err, &p) {
			t.Fatalf("%q: %v", cursor, err)
		}
		if err == nil && position != nil && newCursor("connections", position...) != cursor {
			t.Errorf("%q is read as %q", cursor, position)
		}
		in := &Paging{Cursor: cursor}
		rows, err := from([]place{{time.Unix(1, 0), "a"}, {time.Unix(2, 0), "b"}}, "connections", in, newestFirst, func(p place) place { return p })
		if err == nil && !slices.IsSortedFunc(rows, func(a, b place) int { return b.at.Compare(a.at) }) {
			t.Errorf("%q gives %v", cursor, rows)
		}
	})
}

// FuzzBody: what is let through is JSON that every program reads alike, and not
// deep.
func FuzzBody(f *testing.F) {
	for _, text := range []string{`{"name":"a"}`, `{"a":[1,{"b":null}]}`, `{"a":1,"a":2}`, `[[[]]]`, `{"a":1}{}`, `"\u0000"`, "{\"\xff\":1}", ``, `nul`, `{"a":1,}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		err := checkJSON(body)
		var refusal *tenant.Refusal
		if err != nil {
			if !errors.As(err, &refusal) {
				t.Fatalf("%q: %v", body, err)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q is no JSON", body)
		}
		var v any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if d := depthOf(v); d > maxDepth {
			t.Errorf("%q is %d deep", body, d)
		}
	})
}

func depthOf(v any) int {
	most := 0
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			most = max(most, depthOf(one))
		}
		return most + 1
	case map[string]any:
		for _, one := range v {
			most = max(most, depthOf(one))
		}
		return most + 1
	}
	return 0
}

// FuzzTime: a day or a time of a query is read, or told.
func FuzzTime(f *testing.F) {
	f.Add("2026-11-01")
	f.Add("2026-11-01T00:00:00+09:00")
	f.Add("0000-01-01")
	f.Fuzz(func(t *testing.T, text string) {
		at, err := readTime("from", text, time.UTC)
		if err == nil && (at.Year() < -1 || at.Year() > 10000) {
			t.Errorf("%q is %v", text, at)
		}
	})
}
