package main

import (
	"bytes"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/billing/rating"
)

// The examples in the page about licences must be what the program answers.
func TestLicenceExamples(t *testing.T) {
	page, err := os.ReadFile("../../docs/licences.md")
	if err != nil {
		t.Fatal(err)
	}
	quotes := regexp.MustCompile("(?s)```console\n\\$ platform ([^\n]*)\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(quotes) < 3 {
		t.Fatalf("%d quotes in the page", len(quotes))
	}
	for _, quote := range quotes {
		var out, problems bytes.Buffer
		if code := run(t.Context(), strings.Fields(quote[1]), stdio{strings.NewReader(""), &out, &problems}); code != 0 || out.String() != quote[2] {
			t.Errorf("platform %s: exit status %d, %s\n%s\nthe page says:\n%s", quote[1], code, problems.String(), out.String(), quote[2])
		}
	}
	rests := regexp.MustCompile(`(?m)^\| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|$`).FindAllStringSubmatch(string(page), -1)
	if len(rests) < 4 {
		t.Fatalf("%d rests of years in the page", len(rests))
	}
	plan := rating.Standard().Licence
	for _, row := range rests {
		var n [6]int
		for i := range n {
			if n[i], err = strconv.Atoi(strings.ReplaceAll(row[i+1], ",", "")); err != nil {
				t.Fatal(err)
			}
		}
		from, err := plan.Quote(n[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		to, err := plan.Quote(n[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := plan.Prorate(from, to, n[2], n[3]); got.Subtotal != int64(n[4]) || got.Total != int64(n[5]) {
			t.Errorf("%s is %+v", row[0], got)
		}
	}
}
