package paper_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/invoice/paper"
	"github.com/hibari/hibari/internal/billing/rating"
)

// sample is an invoice over November 2026 in Tokyo, rated by package rating: a
// licence, a flat fee, packages, tiers, a line of the operator's at the reduced rate,
// and late facts of October.
func sample(t *testing.T) invoice.Invoice {
	t.Helper()
	zone, err := time.LoadLocation("Asia/Tokyo")
	if err != nil {
		t.Fatal(err)
	}
	month := func(m time.Month) time.Time { return time.Date(2026, m, 1, 0, 0, 0, 0, zone) }
	version, err := rating.Parse("metered", "Metered", 3, []byte(`{"currency":"JPY","rule":{"increment_seconds":60,"minimum_seconds":60,"scope":"connection"},
		"components":[
		{"key":"support","name":"優先サポート","kind":"flat","tax_percent":10,"amount":"30000"},
		{"key":"connection_minutes","name":"Connection minutes","kind":"metered","tax_percent":10,"meter":"connection_minutes","model":"package","package_size":"10","unit_price":"10","included":"1000"},
		{"key":"gb_out","name":"Data to clients","kind":"metered","tax_percent":10,"meter":"gb_out","model":"graduated","tiers":[{"up_to":"100","unit_price":"12.5"},{"unit_price":"8.25"}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	period := func(m time.Month, u rating.Usage) rating.Period {
		return rating.Period{From: month(m), To: month(m + 1), Zone: zone, Parts: []rating.Part{{From: month(m), To: month(m + 1), Version: version, Usage: u}}}
	}
	october := rating.Usage{Connections: 40, Seconds: 9000, Minutes: 180, BilledSeconds: 180 * 60, BytesOut: 5e9}
	was, err := rating.Rate(rating.Statement{Period: period(time.October, october)})
	if err != nil {
		t.Fatal(err)
	}
	october.BytesOut += 3e9
	bill, err := rating.Rate(rating.Statement{
		Period: period(time.November, rating.Usage{Connections: 812, Seconds: 4_000_000, Minutes: 70_123, BilledSeconds: 70_123 * 60, BytesIn: 1e9, BytesOut: 123_456_789_012}),
		Charges: []rating.Charge{
			{Kind: rating.LicenceLine, Key: "lic_1", Name: "Licence for 500 connections, a year", Amount: 3_120_000, From: month(time.November), To: month(time.November).AddDate(1, 0, 0), TaxPercent: 10},
			{Kind: rating.ManualLine, Key: "line_1", Name: "=Catering at your event", Amount: 12_345, From: month(time.November), To: month(time.December), TaxPercent: 8},
		},
		Late: []rating.Late{{Period: period(time.October, october), Billed: was.Lines}},
	})
	if err != nil {
		t.Fatal(err)
	}
	day := func(d int) *time.Time { return new(time.Date(2026, 12, d, 0, 0, 0, 0, time.UTC)) }
	i := invoice.Invoice{
		ID: "inv_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M", State: invoice.Final, Number: "INV-000042", Month: "2026-11", From: month(time.November), To: month(time.December),
		Zone: "Asia/Tokyo", Cutoff: month(time.December).Add(time.Hour), Currency: bill.Currency, Subtotal: bill.Subtotal, Tax: bill.Tax, Total: bill.Total,
		Credit: 5000, Due: bill.Total - 5000, Taxes: bill.Taxes, IssuedOn: day(2), DueOn: day(31), CreatedAt: month(time.December),
		Issuer: invoice.Issuer{Name: "株式会社ひばり放送", Address: "〒150-0002 東京都渋谷区渋谷二丁目24番12号", Email: "billing@hibari.example", Registration: "T1234567890123",
			BankAccount: "みらい銀行 渋谷支店（123）\n普通 1234567 カ）ヒバリホウソウ"},
		Customer: invoice.Customer{Name: "髙橋製作所株式会社", Address: "〒530-0001 大阪市北区梅田三丁目1番3号", Department: "情報システム部", Reference: "PO-2026-117"},
	}
	for at, l := range bill.Lines {
		line := invoice.Line{Line: l, Number: at + 1}
		if l.Kind == rating.ManualLine {
			line.Reason, line.AddedBy = "Agreed by mail on 20 November.", "operator"
		}
		i.Lines = append(i.Lines, line)
	}
	return i
}

// note is a credit note of the sample.
func note(i invoice.Invoice) invoice.CreditNote {
	return invoice.CreditNote{ID: "crn_1", Number: "CN-000003", Invoice: i.ID, InvoiceNumber: i.Number, Currency: "JPY", Reason: "A test of ours was counted.",
		Lines: []invoice.CreditLine{{Line: 3, Name: i.Lines[2].Name, Amount: 1000, TaxPercent: 10}}, Taxes: []rating.Tax{{Percent: 10, Base: 1000, Amount: 100}},
		Subtotal: 1000, Tax: 100, Total: 1100, ToCredit: true, Issuer: i.Issuer, Customer: i.Customer, IssuedOn: time.Date(2026, 12, 10, 0, 0, 0, 0, time.UTC)}
}

// TestOnePaper asks that PDF, CSV and JSON say the same amounts as the invoice.
func TestOnePaper(t *testing.T) {
	i := sample(t)
	text := pdfText(t, i)
	var file bytes.Buffer
	if err := paper.CSV(&file, i); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(rows[0], paper.Columns) {
		t.Errorf("the columns are %v", rows[0])
	}
	column := func(row []string, name string) string { return row[slices.Index(rows[0], name)] }
	written, err := json.Marshal(paper.Show(i))
	if err != nil {
		t.Fatal(err)
	}
	var shown paper.Invoice
	if err := json.Unmarshal(written, &shown); err != nil {
		t.Fatal(err)
	}

	if len(rows) != 1+len(i.Lines)+len(i.Taxes) || len(shown.Lines) != len(i.Lines) {
		t.Fatalf("%d lines and %d taxes became %d rows and %d lines of JSON", len(i.Lines), len(i.Taxes), len(rows), len(shown.Lines))
	}
	var sum int64
	for _, row := range rows[1:] {
		amount, err := strconv.ParseInt(column(row, "amount"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += amount
	}
	if sum != i.Total {
		t.Errorf("the rows sum to %d, and the invoice is of %d", sum, i.Total)
	}
	for at, l := range i.Lines {
		row, of := rows[1+at], shown.Lines[at]
		if column(row, "unrounded") != l.Unrounded.String() || column(row, "hash") != l.Hash || column(row, "seconds") != strconv.FormatInt(l.Usage.Seconds, 10) {
			t.Errorf("line %d is %v", l.Number, row)
		}
		if of.Amount != l.Amount || of.Unrounded != l.Unrounded.String() || of.Usage != l.Usage || len(of.Steps) != len(l.Steps) {
			t.Errorf("line %d is %+v", l.Number, of)
		}
		for _, want := range append([]string{l.Name, paper.Number("JPY", l.Amount)}, paper.Arithmetic(l.Line)...) {
			if !strings.Contains(text, want) {
				t.Errorf("line %d: the PDF has no %q", l.Number, want)
			}
		}
	}
	if manual := rows[len(i.Lines)-len(shown.Lines)+slices.IndexFunc(i.Lines, func(l invoice.Line) bool { return l.Kind == rating.ManualLine })+1]; column(manual, "name") != "'=Catering at your event" {
		t.Errorf("a name that is a formula is written as %q", column(manual, "name"))
	}
	for _, want := range []string{"T1234567890123", "INV-000042", "2026-12-02", "髙橋製作所株式会社", "※", "軽減税率", paper.Money("JPY", i.Due), "-5,000", "2026-11-01 – 2026-11-30", "2026-10-01 – 2026-10-31"} {
		if !strings.Contains(text, want) {
			t.Errorf("the PDF has no %q:\n%s", want, text)
		}
	}
	for _, tax := range i.Taxes {
		for _, minor := range []int64{tax.Base, tax.Amount} {
			if !strings.Contains(text, paper.Number("JPY", minor)) {
				t.Errorf("the PDF has no %d of the tax at %d %%", minor, tax.Percent)
			}
		}
	}
}

func TestNote(t *testing.T) {
	var file bytes.Buffer
	if err := paper.NotePDF(note(sample(t))).Write(&file); err != nil {
		t.Fatal(err)
	}
	text := read(t, &file)
	for _, want := range []string{"適格返還請求書", "CN-000003", "INV-000042", "A test of ours", "¥1,100", "Line 3"} {
		if !strings.Contains(text, want) {
			t.Errorf("the credit note has no %q:\n%s", want, text)
		}
	}
}

func TestMoney(t *testing.T) {
	for _, c := range []struct {
		currency string
		minor    int64
		money    string
	}{{"JPY", 3_432_000, "¥3,432,000"}, {"JPY", -1, "-¥1"}, {"USD", 123_456, "USD 1,234.56"}, {"KWD", -1_234_567, "KWD -1,234.567"}, {"JPY", 0, "¥0"}} {
		if got := paper.Money(c.currency, c.minor); got != c.money {
			t.Errorf("%d %s is %q, want %q", c.minor, c.currency, got, c.money)
		}
	}
}

func pdfText(t *testing.T, i invoice.Invoice) string {
	t.Helper()
	var file bytes.Buffer
	if err := paper.PDF(i).Write(&file); err != nil {
		t.Fatal(err)
	}
	return read(t, &file)
}

// read reads a PDF's text with poppler.
func read(t *testing.T, file *bytes.Buffer) string {
	t.Helper()
	if at := os.Getenv("HIBARI_PDF"); at != "" { // to look at
		if err := os.WriteFile(filepath.Join(at, "paper-"+t.Name()+".pdf"), file.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	reader := exec.Command("pdftotext", "-layout", "-", "-")
	reader.Stdin = file
	text, err := reader.Output()
	if err != nil {
		t.Fatalf("couldn't read the PDF: %v", err)
	}
	return string(text)
}
