package pdf_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/billing/invoice/pdf"
)

// example is an invoice with a licence, usage and an adjustment.
func example() pdf.Document {
	return pdf.Document{
		Kind: pdf.Invoice, Number: "INV-000042", Issued: time.Date(2026, 12, 2, 0, 0, 0, 0, time.UTC), Currency: "JPY",
		Facts: []pdf.Fact{
			{"対象期間", "Period", "2026-11-01 – 2026-11-30\n(Asia/Tokyo)"},
			{"お支払期限", "Due", "2027-01-31"},
			{"ご担当", "Reference", "情報システム部 PO-2026-117"},
		},
		Issuer: pdf.Party{Name: "株式会社ひばり放送プラットフォーム", Address: "〒150-0002\n東京都渋谷区渋谷二丁目24番12号\n渋谷スクランブルスクエア 39階",
			Registration: "T1234567890123", Contact: "billing@hibari.example"},
		Customer: pdf.Party{Name: "髙橋・德永﨑製作所株式会社", Address: "〒530-0001 大阪府大阪市北区梅田三丁目1番3号 ノースゲートビルディング 23階\n情報システム部"},
		Amount:   "¥3,455,320",
		Lines: []pdf.Line{
			{"Licence for 500 connections, 1 year", []string{"2026-11-01 – 2027-10-31", "¥2,400,000 − 20 % + 2 × ¥600,000"}, "1", "¥3,120,000", "10 %", "¥3,120,000"},
			{"Connection minutes", []string{"2026-11-01 – 2026-11-30, plan standard, version 3", "123,456 min − 100,000 min included = 23,456 min × ¥0.9"}, "23,456 min", "¥0.9", "10 %", "¥21,110"},
			{"Traffic out", []string{"12.345678901 GB × ¥8"}, "12.345678901 GB", "¥8", "10 %", "¥99"},
			{"Adjustment: connection minutes of October 2026", []string{"known late: 10 min × ¥0.9 − ¥0 billed"}, "10 min", "¥0.9", "10 %", "¥9"},
		},
		Taxes: []pdf.Tax{{"10 %", "¥3,141,218", "¥314,121"}},
		Sums:  []pdf.Fact{{"小計", "Subtotal", "¥3,141,218"}, {"消費税", "Tax", "¥314,121"}, {"ご請求金額", "Amount due", "¥3,455,339"}},
		Notes: []pdf.Fact{{"お振込先", "Pay to", "みらい銀行 渋谷支店（123）\n普通 1234567\nカ）ヒバリホウソウ"}},
	}
}

// write returns the document's bytes.
func write(t *testing.T, d pdf.Document) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := d.Write(&file); err != nil {
		t.Fatal(err)
	}
	if at := os.Getenv("HIBARI_PDF"); at != "" { // to look at
		if err := os.WriteFile(filepath.Join(at, strings.NewReplacer("/", "_", " ", "_").Replace(t.Name())+".pdf"), file.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return file.Bytes()
}

// TestSample asks that what a qualified invoice must show can be read out of the
// file as text, by poppler, and that the same invoice is the same file.
func TestSample(t *testing.T) {
	d := example()
	file := write(t, d)
	text := textOf(t, file)
	for _, want := range []string{"請求書", "Invoice", "INV-000042", "2026-12-02", "株式会社ひばり放送プラットフォーム", "T1234567890123",
		"髙橋・德永﨑製作所株式会社", "御中", "¥3,455,320", "123,456 min", "10 %", "¥314,121", "Adjustment", "1 / 1"} {
		if !strings.Contains(text, want) {
			t.Errorf("the PDF's text has no %q:\n%s", want, text)
		}
	}
	if again := write(t, d); !bytes.Equal(file, again) {
		t.Error("the same invoice was written as another file")
	}
}

// TestLong lays 300 lines out over pages, each with its head and foot.
func TestLong(t *testing.T) {
	d := example()
	d.Lines = nil
	for i := range 300 {
		d.Lines = append(d.Lines, pdf.Line{Name: fmt.Sprintf("配信チャンネル第%d号の接続時間（分単位で切り上げたもの）", i), Detail: []string{"1,000 min × ¥1"}, Quantity: "1,000 min", UnitPrice: "¥1", Rate: "10 %", Amount: "¥1,000"})
	}
	text := textOf(t, write(t, d))
	pages := strings.Split(strings.TrimSuffix(text, "\f"), "\f")
	if len(pages) < 10 {
		t.Fatalf("300 lines are on %d pages", len(pages))
	}
	for i, page := range pages {
		for _, want := range []string{fmt.Sprintf("%d / %d", i+1, len(pages)), "INV-000042"} {
			if !strings.Contains(page, want) {
				t.Errorf("page %d has no %q:\n%s", i+1, want, page)
			}
		}
	}
	flat := strings.Join(strings.Fields(text), "")
	for i := range 300 {
		if !strings.Contains(flat, fmt.Sprintf("第%d号", i)) {
			t.Errorf("line %d is not there", i)
		}
	}
}

// TestDraft asks that a draft cannot be taken for an invoice.
func TestDraft(t *testing.T) {
	d := example()
	d.Draft, d.Number = true, ""
	text := textOf(t, write(t, d))
	for _, want := range []string{"下書き", "Draft, not an invoice"} {
		if !strings.Contains(text, want) {
			t.Errorf("the draft has no %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "2026-12-02") {
		t.Error("the draft has a date")
	}
}

// TestCreditNote looks for what a qualified return invoice has.
func TestCreditNote(t *testing.T) {
	d := example()
	d.Kind, d.Number, d.Amount = pdf.CreditNote, "CN-000003", "¥1,100"
	d.Facts = []pdf.Fact{{"元の請求書", "Corrects", "INV-000042"}}
	d.Lines = []pdf.Line{{"Connection minutes", []string{"line 2 of INV-000042: a test of ours"}, "", "", "10 %", "¥1,000"}}
	text := textOf(t, write(t, d))
	for _, want := range []string{"適格返還請求書", "Credit note", "CN-000003", "INV-000042", "Amount credited"} {
		if !strings.Contains(text, want) {
			t.Errorf("the credit note has no %q:\n%s", want, text)
		}
	}
}

// TestStrangeNames writes what tenants may call themselves: signs the font lacks,
// controls, and a name much too long for its place.
func TestStrangeNames(t *testing.T) {
	d := example()
	d.Customer = pdf.Party{Name: "𠮷野家 😀 Công ty Ể한국\x00\u202e\r\n" + strings.Repeat("長い名前", 40), Address: strings.Repeat("W", 400)}
	text := textOf(t, write(t, d), "-raw") // column by column
	if !strings.Contains(text, "〓野家") || !strings.Contains(text, "Công ty") || strings.ContainsAny(text, "\x00\u202e") {
		t.Errorf("the name became:\n%s", text)
	}
	if n := strings.Count(strings.Join(strings.Fields(text), ""), "長い名前"); n != 40 {
		t.Errorf("of 40 pieces of the name %d are there", n)
	}
}

// FuzzDocument: no text breaks the layout, which could go on for ever.
func FuzzDocument(f *testing.F) {
	f.Add("name", "detail", "address")
	f.Add("髙橋、。「」", " - - ", "\n\n\n")
	f.Add("a b", "W\u3099", "\xff\xfe")
	f.Fuzz(func(t *testing.T, name, detail, address string) {
		if len(name)+len(detail)+len(address) > 4000 {
			t.Skip("longer than our forms take")
		}
		d := example()
		d.Lines[0].Name, d.Lines[0].Detail = name, []string{detail}
		d.Customer = pdf.Party{Name: name, Address: address}
		if err := d.Write(io.Discard); err != nil {
			t.Fatal(err)
		}
	})
}

// TestTooLong: a document has an end.
func TestTooLong(t *testing.T) {
	d := example()
	d.Lines = make([]pdf.Line, pdf.MaxLines+1)
	if err := d.Write(io.Discard); err == nil {
		t.Error("a document of more lines than MaxLines was written")
	}
}

// TestFonts holds the vendored fonts against the notice beside them.
func TestFonts(t *testing.T) {
	notice, err := os.ReadFile("font/NOTICE.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"NotoSansJP-Regular.ttf", "NotoSansJP-Bold.ttf"} {
		packed, err := os.Open("font/" + name + ".gz")
		if err != nil {
			t.Fatal(err)
		}
		defer packed.Close()
		plain, err := gzip.NewReader(packed)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, plain); err != nil {
			t.Fatal(err)
		}
		if want := hex.EncodeToString(sum.Sum(nil)) + "  " + name; !strings.Contains(string(notice), want) {
			t.Errorf("the notice has no line %q", want)
		}
	}
}

// textOf reads a PDF's text with poppler, which scripts/install.sh brings.
func textOf(t *testing.T, file []byte, options ...string) string {
	t.Helper()
	if options == nil {
		options = []string{"-layout"}
	}
	read := exec.Command("pdftotext", append(options, "-", "-")...)
	read.Stdin = bytes.NewReader(file)
	text, err := read.Output()
	if err != nil {
		t.Fatalf("couldn't read the PDF: %v", err)
	}
	return string(text)
}
