package sheet_test

import (
	"bytes"
	"encoding/csv"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/hibari/hibari/internal/sheet"
)

func TestRow(t *testing.T) {
	var file bytes.Buffer
	w := sheet.New(&file)
	at := time.Date(2026, 11, 27, 1, 2, 3, 500_000_000, time.FixedZone("", 9*3600))
	if err := w.Row("a,b", `say "hi"`, "=1+1", sheet.Number("-12.50"), sheet.Number("-1+cmd()"), -3, int64(9_000_000_000), at, time.Time{}, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Row(1.5); err == nil {
		t.Error("a float was written")
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	const want = `"a,b","say ""hi""",'=1+1,-12.50,'-1+cmd(),-3,9000000000,2026-11-27T01:02:03.5+09:00,,` + "\r\n"
	if file.String() != want {
		t.Errorf("%q, want %q", file.String(), want)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

var errFull = errors.New("full")

// Whoever writes a large file must hear that nobody takes it any longer.
func TestRowTellsThatNobodyReads(t *testing.T) {
	w := sheet.New(full{})
	var err error
	for range 10_000 {
		if err = w.Row("some text that fills the buffer"); err != nil {
			break
		}
	}
	if !errors.Is(err, errFull) {
		t.Errorf("the error is %v", err)
	}
}

// No text is taken for a formula, and each can be had back.
func FuzzText(f *testing.F) {
	for _, text := range []string{"", "hello", "=1", "+1", "-1", "@a", "\t=1", "\r=1", "\n=1", " =1", "\ufeff=1", "\u200b=1", "　＝1", "＋1", "|cmd", "%0A=1", "'", "'=1", "''", "日本", "a=1", "\xff=", "\x00=1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cell := sheet.Text(text)
		if back := strings.TrimPrefix(cell, "'"); back != text {
			t.Errorf("%q became %q, which is %q without its apostrophe", text, cell, back)
		}
		seen := strings.TrimLeftFunc(cell, func(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) || r == 0 })
		if seen != "" && strings.ContainsAny(string([]rune(seen)[0]), "=+-@|%＝＋－＠｜％") {
			t.Errorf("%q became %q", text, cell)
		}
		var file bytes.Buffer
		w := sheet.New(&file)
		if err := w.Row(text, "end"); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		rows, err := csv.NewReader(&file).ReadAll()
		// A reader of CSV takes a CR LF within a cell for a line's end (encoding/csv).
		if want := strings.ReplaceAll(cell, "\r\n", "\n"); err != nil || len(rows) != 1 || !slices.Equal(rows[0], []string{want, "end"}) && !strings.ContainsAny(text, "\r\n") {
			t.Errorf("%q is read back as %q, %v", cell, rows, err)
		}
	})
}
