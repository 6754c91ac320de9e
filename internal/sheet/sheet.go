// Package sheet writes tables as files: CSV (RFC 4180) that is safe to open in a
// spreadsheet, and lines of JSON. It is a leaf, and the only place of the product that
// writes CSV.
package sheet

import (
	"encoding/csv"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// MediaType is that of CSV (RFC 7111).
	MediaType = "text/csv"
	// ContentType is the whole header of a file that a Writer wrote.
	ContentType = MediaType + "; charset=utf-8; header=present"
	// LinesType is that of one JSON object a line.
	LinesType = "application/jsonl"
)

// Number is a decimal number as text, such as an amount of money: "-12.50".
type Number string

var plainNumber = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

// Writer writes rows of CSV. It keeps a few kilobytes, until Flush. Owned by one goroutine.
type Writer struct {
	out *csv.Writer
	row []string // of the row under way
}

// New returns a Writer whose rows go to out, each ended by CR LF.
func New(out io.Writer) *Writer {
	w := &Writer{out: csv.NewWriter(out)}
	w.out.UseCRLF = true
	return w
}

// Row writes one row. A string is text, and guarded (Text). An
// int, an int64 and a Number that is one are numbers, and stand as they are; a Number that
// is none is text. A time is written as RFC 3339 with its own offset; the zero time and nil
// are empty cells. Another type is an error, and nothing is written then. An error of the
// writer below stays: each later call returns it, too.
func (w *Writer) Row(cells ...any) error {
	w.row = w.row[:0]
	for _, cell := range cells {
		text, err := written(cell)
		if err != nil {
			return err
		}
		w.row = append(w.row, text)
	}
	if err := w.out.Write(w.row); err != nil {
		return fmt.Errorf("couldn't write a row: %w", err)
	}
	return w.out.Error()
}

// Flush writes what is kept.
func (w *Writer) Flush() error {
	w.out.Flush()
	return w.out.Error()
}

func written(cell any) (string, error) {
	switch cell := cell.(type) {
	case nil:
		return "", nil
	case string:
		return Text(cell), nil
	case int:
		return strconv.Itoa(cell), nil
	case int64:
		return strconv.FormatInt(cell, 10), nil
	case Number:
		if !plainNumber.MatchString(string(cell)) {
			return Text(string(cell)), nil
		}
		return string(cell), nil
	case time.Time:
		if cell.IsZero() {
			return "", nil
		}
		return cell.Format(time.RFC3339Nano), nil
	}
	return "", fmt.Errorf("a cell cannot be a %T", cell)
}

// dangerous are the signs that spreadsheets take for the start of a formula, or of
// something else than text; some do so in their full-width forms, too.
const dangerous = "=+-@|%＝＋－＠｜％\t\r\n"

// Text returns the cell of a text (OWASP, CSV injection). A spreadsheet takes one that
// begins with certain signs for a formula, also after a space, so an apostrophe is put
// before it, which says that it is text. One that begins with an apostrophe gets another:
// whoever takes one away from each cell that has one gets back what was written.
func Text(text string) string {
	begins := strings.TrimLeftFunc(text, func(r rune) bool {
		return unicode.IsSpace(r) && r != '\t' && r != '\r' && r != '\n' || unicode.Is(unicode.Cf, r) || r == 0
	})
	first, _ := utf8.DecodeRuneInString(begins)
	if strings.HasPrefix(text, "'") || begins != "" && strings.ContainsRune(dangerous, first) {
		return "'" + text
	}
	return text
}
