package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/invoice/paper"
	"github.com/hibari/hibari/internal/billing/invoice/pdf"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/sheet"
	"github.com/hibari/hibari/internal/tenant"
)

// invoicesData is a page of the tenant's invoices.
type invoicesData struct {
	invoices []invoice.Invoice // newest first
	next     string            // where older ones begin; "": there are none
	notes    []invoice.CreditNote
	credit   []invoice.Balance
}

const invoicesShown = 25

func (c *Console) invoices(w http.ResponseWriter, r *http.Request, v *visit) (err error) {
	var d invoicesData
	ctx, scope := r.Context(), v.login.Scope
	if d.invoices, err = c.Invoices.List(ctx, scope, r.URL.Query().Get("before"), invoicesShown+1); err != nil {
		return err
	}
	d.invoices, d.next = pageOfInvoices(d.invoices, "/console/invoices")
	if d.notes, err = c.Invoices.CreditNotes(ctx, scope, "", invoicesShown); err != nil {
		return err
	}
	if d.credit, err = c.Credit.Balances(ctx, scope); err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, invoicesPage(v, d))
}

// pageOfInvoices cuts the row too many off, and says where it is.
func pageOfInvoices(list []invoice.Invoice, path string) ([]invoice.Invoice, string) {
	if len(list) <= invoicesShown {
		return list, ""
	}
	list = list[:invoicesShown]
	return list, path + "?" + url.Values{"before": {list[len(list)-1].ID}}.Encode()
}

// billData is an invoice or a draft, where a person sees it.
type billData struct {
	invoice.Invoice
	base string // its path
	// operator is set on the operator's console.
	operator bool
}

func invoicePath(id string) string { return "/console/invoices/" + url.PathEscape(id) }

func notePath(id string) string { return "/console/credit-notes/" + url.PathEscape(id) }

// madeID is a part of the path that names something we made; "" if it cannot, so that
// nothing has it.
func madeID(r *http.Request, name string) string {
	id := param(r, name)
	for i := range len(id) {
		if c := id[i]; c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return ""
		}
	}
	return id
}

// linePath is where a line is explained.
func (d billData) linePath(line int) string { return d.base + "/lines/" + strconv.Itoa(line) }

// explained reports whether a line was counted from connections.
func explained(l invoice.Line) bool {
	return l.Meter != "" && (l.Kind == rating.MeteredLine || l.Kind == rating.AdjustmentLine)
}

// title names the invoice.
func (d billData) title() string {
	if d.State != invoice.Final {
		return "Draft for " + d.Month
	}
	return "Invoice " + d.Number
}

func (c *Console) ownInvoice(r *http.Request, v *visit) (billData, error) {
	i, err := c.Invoices.Get(r.Context(), v.login.Scope, madeID(r, "invoice"))
	return billData{i, invoicePath(i.ID), false}, err
}

func (c *Console) invoice(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.ownInvoice(r, v)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, invoicePage(v, d))
}

// invoicePrint is the invoice as a sheet of paper.
func (c *Console) invoicePrint(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.ownInvoice(r, v)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, c.printPage(paper.PDF(d.Invoice), d.base))
}

func (c *Console) invoicePDF(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.ownInvoice(r, v)
	if err != nil {
		return err
	}
	return sendPDF(w, paper.PDF(d.Invoice), fileName(d.Invoice))
}

func (c *Console) invoiceCSV(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.ownInvoice(r, v)
	if err != nil {
		return err
	}
	file := sheet.NewDownload(w, sheet.ContentType, fileName(d.Invoice)+".csv")
	return file.End(paper.CSV(file, d.Invoice))
}

func (c *Console) invoiceJSON(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.ownInvoice(r, v)
	if err != nil {
		return err
	}
	file := sheet.NewDownload(w, "application/json", fileName(d.Invoice)+".json")
	text := json.NewEncoder(file)
	text.SetIndent("", "  ")
	return file.End(text.Encode(paper.Show(d.Invoice)))
}

func (c *Console) notePDF(w http.ResponseWriter, r *http.Request, v *visit) error {
	n, err := c.Invoices.CreditNote(r.Context(), v.login.Scope, madeID(r, "note"))
	if err != nil {
		return err
	}
	return sendPDF(w, paper.NotePDF(n), paper.FileName(n.Number))
}

// sendPDF sends a document to be shown by the browser, or saved under its name.
func sendPDF(w http.ResponseWriter, d pdf.Document, name string) error {
	var file bytes.Buffer
	if err := d.Write(&file); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/pdf")
	w.Header().Set("Content-Disposition", fmt.Sprintf(`inline; filename="%s.pdf"`, name))
	w.Header().Set("Content-Length", strconv.Itoa(file.Len()))
	w.Write(file.Bytes()) // the client may be gone; nothing to do about it
	return nil
}

// fileName is what an invoice's files are called.
func fileName(i invoice.Invoice) string {
	if i.State != invoice.Final {
		return "draft-" + i.Month
	}
	return paper.FileName(i.Number)
}

// explainData is one line with the connections it was counted from.
type explainData struct {
	billData
	invoice.Explanation
	after string // where this page begins; "": at the first connection
	next  string // where the next one does; "": this is the last
}

// segmentsShown is how many connections a page of an explanation has.
const segmentsShown = 100

// askedLine reads a line's number; ErrNotFound if it is none.
func askedLine(r *http.Request) (int, error) {
	line, err := strconv.Atoi(param(r, "line"))
	if err != nil || line < 1 {
		return 0, tenant.ErrNotFound
	}
	return line, nil
}

func (c *Console) explainLine(w http.ResponseWriter, r *http.Request, v *visit) error {
	line, err := askedLine(r)
	if err != nil {
		return err
	}
	d := explainData{after: r.URL.Query().Get("after")}
	if d.billData, err = c.ownInvoice(r, v); err != nil {
		return err
	}
	if d.Explanation, err = c.Invoices.Explain(r.Context(), v.login.Scope, d.ID, line, d.after, segmentsShown); err != nil {
		return err
	}
	d.follow()
	return v.page(w, r, http.StatusOK, explainPage(v, d))
}

// follow says where the next page is.
func (d *explainData) follow() {
	if d.Next != "" {
		d.next = d.linePath(d.Line.Number) + "?" + url.Values{"after": {d.Next}}.Encode()
	}
}

// amountOf is how much of a line's quantity one connection is, in base units.
func (d explainData) amountOf(u rating.Usage) string {
	switch d.Line.Meter {
	case rating.GBOut:
		return whole(u.BytesOut) + " bytes"
	case rating.RecordingMinutes:
		return whole(u.RecordingSeconds) + " s"
	}
	return whole(u.BilledSeconds) + " s"
}

// billed names the last column of the segments.
func (d explainData) billed() string {
	switch d.Line.Meter {
	case rating.GBOut:
		return "Sent to clients"
	case rating.RecordingMinutes:
		return "Recorded"
	}
	return "Billed"
}
