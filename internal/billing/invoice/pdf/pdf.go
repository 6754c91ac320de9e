// Package pdf writes invoices and credit notes as PDF documents, in Japanese and
// English side by side, with what a Japanese qualified invoice (適格請求書, and
// 適格返還請求書 for a credit note) must show: who issued it and the registration
// number, the day, what it is for, base and tax of each rate, and for whom.
//
// A Document is words: every amount is a text already, so that nothing is computed
// here and the PDF cannot say another number than the page, the CSV and the API.
// The same document gives the same bytes.
package pdf

import (
	"fmt"
	"io"
	"time"

	"codeberg.org/go-pdf/fpdf"
)

// Document is an invoice or a credit note, in words.
type Document struct {
	Kind     Kind
	Draft    bool      // it has no number yet, and says so on each page
	Number   string    // "" of a draft
	Issued   time.Time // its day; of a draft when it was made, which is not shown
	Facts    []Fact    // beside the number and the day: period, due day, what it corrects
	Issuer   Party
	Customer Party
	Amount   string // what is to be paid or is given back, large: "¥3,432,000"
	Lines    []Line
	Taxes    []Tax  // one a rate
	Sums     []Fact // below the taxes: subtotal, tax, total, credit, due; the last one is set off
	Notes    []Fact // such as where to pay; Value may have several lines
	Currency string // ISO 4217; names the column of amounts
}

// Kind is which of the two a document is.
type Kind int

// The kinds of documents.
const (
	Invoice Kind = iota
	CreditNote
)

// Party is who issues a document or whom it is for. All but the name may be "".
type Party struct {
	Name         string
	Address      string // may have several lines
	Registration string // of a qualified invoice issuer: "T" and 13 digits
	Contact      string
}

// Fact is a value and what it is, in both languages.
type Fact struct {
	Japanese, English, Value string
}

// Line is one thing charged. Detail says in small how it was computed.
type Line struct {
	Name      string
	Detail    []string
	Quantity  string
	UnitPrice string
	Rate      string // of the tax: "10 %"; with "※" if it is a reduced one
	Amount    string
}

// Tax is one rate: the base it is of, and the tax, which was rounded once.
type Tax struct {
	Rate, Base, Amount string
}

// MaxLines is the most lines of one document; there are at most some twenty a page.
const MaxLines = 10_000

// Write writes the document. An error is one of w, or of more than MaxLines lines.
func (d Document) Write(w io.Writer) error {
	if len(d.Lines) > MaxLines {
		return fmt.Errorf("an invoice of %d lines is too long for a PDF: at most %d", len(d.Lines), MaxLines)
	}
	f, err := loadFonts()
	if err != nil {
		return err
	}
	p := newPaper(f)
	p.SetTitle(d.title(), true)
	p.SetAuthor(f.printable(d.Issuer.Name), true)
	p.SetCreator("Hibari", true)
	p.SetProducer("Hibari", true)
	p.SetLang("ja")
	p.SetCatalogSort(true)
	p.SetCreationDate(d.Issued.UTC())
	p.SetModificationDate(d.Issued.UTC())
	p.AddPage()
	p.head(d)
	p.lines(d)
	p.sums(d)
	p.feet(d)
	if err := p.Output(w); err != nil {
		return fmt.Errorf("couldn't write a PDF: %w", err)
	}
	return nil
}

// title is the document's name in both languages, with its number.
func (d Document) title() string {
	japanese, english := d.Kind.names(d.Issuer.Registration != "")
	if d.Draft {
		return japanese + "（下書き） " + english + " (draft)"
	}
	return japanese + " " + english + " " + d.Number
}

// names are what a kind is called. A credit note of a registered issuer is a
// qualified return invoice.
func (k Kind) names(registered bool) (japanese, english string) {
	switch {
	case k == CreditNote && registered:
		return "適格返還請求書", "Credit note"
	case k == CreditNote:
		return "返還請求書", "Credit note"
	}
	return "請求書", "Invoice"
}

// The page: A4, in millimetres.
const (
	pageWidth, pageHeight = 210.0, 297.0
	left, right           = 18.0, pageWidth - 18.0
	top, bottom           = 18.0, pageHeight - 22.0
)

// paper is a document being drawn: fpdf with our fonts, and where we are. Owned by
// one Write.
type paper struct {
	*fpdf.Fpdf
	fonts fonts
	y     float64 // what is drawn next begins here
}

// family is the name our fonts have in the file.
const family = "Noto Sans JP"

func newPaper(f fonts) *paper {
	p := &paper{Fpdf: fpdf.New("P", "mm", "A4", ""), fonts: f, y: top}
	p.SetMargins(0, 0, 0)
	p.SetCellMargin(0)
	p.SetAutoPageBreak(false, 0)
	p.AddUTF8FontFromBytes(family, "", f.regular)
	p.AddUTF8FontFromBytes(family, "B", f.bold)
	return p
}

// ink is a colour of the design.
type ink [3]int

var (
	black = ink{22, 28, 38}
	grey  = ink{96, 106, 121}
	blue  = ink{29, 79, 196}
	rule  = ink{205, 212, 222}
	tint  = ink{241, 245, 252}
)

// style is how a text looks: size in points, and the height of its lines in mm.
type style struct {
	size, height float64
	bold         bool
	ink          ink
}

var (
	titleStyle = style{21, 9, true, black}
	bigStyle   = style{19, 9, true, black}
	nameStyle  = style{12.5, 6.2, true, black}
	textStyle  = style{9, 4.6, false, black}
	boldStyle  = style{9, 4.6, true, black}
	labelStyle = style{7.5, 4.6, false, grey}
	smallStyle = style{7.5, 3.8, false, grey}
)

func (p *paper) use(s style) {
	weight := ""
	if s.bold {
		weight = "B"
	}
	p.SetFont(family, weight, s.size)
	p.SetTextColor(s.ink[0], s.ink[1], s.ink[2])
}

// text draws one line at x, y (its upper edge); align is "L", "R" or "C" within
// width. What does not fit is not cut: callers wrap.
func (p *paper) text(x, y, width float64, s style, align, text string) {
	p.use(s)
	p.SetXY(x, y)
	p.CellFormat(width, s.height, p.fonts.printable(text), "", 0, align+"M", false, 0, "")
}

// block draws text wrapped to width and returns where it ends.
func (p *paper) block(x, y, width float64, s style, text string) float64 {
	for _, line := range p.wrap(text, width, s) {
		p.text(x, y, width, s, "L", line)
		y += s.height
	}
	return y
}

// line draws a rule across the page's text.
func (p *paper) line(y, weight float64, colour ink) {
	p.SetDrawColor(colour[0], colour[1], colour[2])
	p.SetLineWidth(weight)
	p.Line(left, y, right, y)
}

// box fills a rectangle.
func (p *paper) box(x, y, width, height float64, colour ink) {
	p.SetFillColor(colour[0], colour[1], colour[2])
	p.Rect(x, y, width, height, "F")
}
