package ui_test

import (
	"encoding/csv"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/invoice/paper"
	"github.com/hibari/hibari/internal/tenant"
)

// billed is what a tenant has to pay.
type billed struct {
	draft, invoice, note, grant string // ids; the draft is of last month, the invoice of the one before
	connection                  string // on the invoice
}

// bill gives p's tenant a final invoice with a credit note, a draft, and credit.
func (p *person) bill() billed {
	p.t.Helper()
	ctx, s, id := p.t.Context(), p.site, p.signed.Tenant
	exec := func(sql string, args ...any) {
		p.t.Helper()
		if _, err := s.pool.Exec(ctx, sql, args...); err != nil {
			p.t.Fatal(err)
		}
	}
	must := func(err error) {
		p.t.Helper()
		if err != nil {
			p.t.Fatal(err)
		}
	}
	this := time.Now().UTC()
	month := func(n int) time.Time {
		return time.Date(this.Year(), this.Month()+time.Month(n), 1, 0, 0, 0, 0, time.UTC)
	}
	exec(`update tenant set time_zone = 'UTC', created_at = $2 where tenant_id = $1`, id, month(-2))
	exec(`insert into tenant_plan (tenant_id, from_day, plan_id, created_by) values ($1, $2, 'metered', 'test')`, id, month(-3))
	exec(`update plan_version set valid_from = '2020-01-01' where plan_id = 'metered' and valid_from > '2020-01-01'`)
	b := billed{connection: tenant.NewID()}
	exec(`insert into channel_session (session_id, tenant_id, channel_id) values ($1, $2, $3)`, b.connection, id, secretChannel)
	for n, connection := range []string{b.connection, tenant.NewID()} {
		from := month(n-2).AddDate(0, 0, 3)
		exec(`
			insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol, opened_at, connected_at,
				metered_through, ended_at, end_reason, bytes_out)
			select $1, $2, $6, $3, node_id, 'recvonly', 'client', 'sora', $4, $4, $5, $5, 'client', 25e9 from node limit 1`,
			connection, id, b.connection, from, from.Add(4*time.Hour+17*time.Second), secretChannel)
	}
	by := tenant.CommandLine()
	must(s.invoices.SetIssuer(ctx, by, invoice.Issuer{Name: "株式会社ひばり", Address: "〒150-0002 東京都渋谷区渋谷2-24-12", Registration: "T1234567890123",
		BankAccount: "みらい銀行 渋谷支店\n普通 1234567", InvoicePrefix: "INV-", CreditNotePrefix: "CN-", PayDays: 30}))
	must(s.invoices.SetCustomer(ctx, p.scope, invoice.Customer{Name: "髙橋製作所", Address: "大阪市北区梅田3-1-3", Reference: "PO-117"}))
	_, err := s.invoices.Close(ctx, id)
	must(err)
	drafts, err := s.invoices.Drafts(ctx, by)
	must(err)
	for _, d := range drafts {
		switch {
		case d.Tenant != id:
		case d.Month == month(-2).Format("2006-01"):
			b.invoice = d.ID
		case d.Month == month(-1).Format("2006-01"):
			b.draft = d.ID
		}
	}
	if b.invoice == "" {
		p.t.Fatalf("no draft for %s among %d", month(-2).Format("2006-01"), len(drafts))
	}
	must(s.invoices.Finalise(ctx, by, b.invoice))
	note, err := s.invoices.IssueCreditNote(ctx, by, b.invoice, invoice.CreditRequest{Reason: "A test of ours", Lines: []invoice.CreditLine{{Line: 1, Amount: 10}}})
	must(err)
	grant, err := s.credit.Grant(ctx, by, id, invoice.NewGrant{Kind: invoice.PaidCredit, Currency: "JPY", Amount: 5000, Reason: "Paid by transfer"})
	must(err)
	b.note, b.grant = note.ID, grant.ID
	return b
}

// cells are the texts of the cells with this label.
func cells(page *html.Node, label string) (texts []string) {
	for _, n := range all(page, func(n *html.Node) bool { return n.Data == "td" && value(n, "data-label") == label }) {
		texts = append(texts, words(n))
	}
	return texts
}

// An invoice is the same on its page, as PDF, CSV and JSON, and its lines are
// explained down to the connections.
func TestInvoicePages(t *testing.T) {
	t.Parallel()
	p := newSite(t).owner(t, "Skylark")
	b := p.bill()
	kept, err := p.site.invoices.Get(t.Context(), p.scope, b.invoice)
	if err != nil {
		t.Fatal(err)
	}
	path := "/console/invoices/" + b.invoice

	list := p.get("/console/invoices").want(http.StatusOK).page()
	if got := cells(list, "Number"); len(got) != 2 || got[0] != kept.Number || got[1] != "CN-1" && !strings.HasPrefix(got[1], "CN-") {
		t.Errorf("listed: %v", got)
	}
	if !strings.Contains(words(list), "JPY 5,000") {
		t.Error("the credit is not shown")
	}
	page := p.get(path).want(http.StatusOK).page()
	amounts := cells(page, "Amount")
	if len(amounts) != len(kept.Lines) || len(amounts) < 2 {
		t.Fatalf("%d lines are shown as %v", len(kept.Lines), amounts)
	}
	for i, l := range kept.Lines {
		if amounts[i] != paper.Number(kept.Currency, l.Amount) {
			t.Errorf("line %d is shown as %s", l.Number, amounts[i])
		}
	}
	for _, want := range []string{"T1234567890123", "髙橋製作所", "PO-117", paper.Number("JPY", kept.Total), "CN-"} {
		if !strings.Contains(words(page), want) {
			t.Errorf("the page has no %q", want)
		}
	}

	explained := p.get(path + "/lines/1").want(http.StatusOK).page()
	links := all(explained, func(n *html.Node) bool { return strings.HasSuffix(value(n, "href"), b.connection) })
	if len(links) != 1 || cells(explained, "Seconds")[0] != "14,417" || cells(explained, "Minutes")[0] != "241" || !strings.Contains(words(explained), "as on the line") {
		t.Errorf("line 1 is explained as: %s", words(explained))
	}
	p.get(path + "/lines/99").want(http.StatusNotFound)
	p.get(path + "/lines/a%00b").want(http.StatusNotFound)
	p.get("/console/invoices/a%00b").want(http.StatusNotFound)
	p.get("/console/invoices/" + b.draft).want(http.StatusNotFound)

	pdf := p.get(path + "/pdf").want(http.StatusOK)
	if !strings.HasPrefix(pdf.body, "%PDF-") || pdf.header.Get("Content-Disposition") != `inline; filename="`+kept.Number+`.pdf"` {
		t.Errorf("the PDF comes with %v", pdf.header)
	}
	p.get("/console/credit-notes/" + b.note + "/pdf").want(http.StatusOK)
	rows, err := csv.NewReader(strings.NewReader(p.get(path + "/csv").want(http.StatusOK).body)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, row := range rows[1:] {
		amount, err := strconv.ParseInt(row[len(row)-4], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += amount
	}
	var shown paper.Invoice
	if err := json.Unmarshal([]byte(p.get(path+"/json").want(http.StatusOK).body), &shown); err != nil {
		t.Fatal(err)
	}
	if sum != kept.Total || shown.Total != kept.Total || len(shown.Lines) != len(kept.Lines) || len(shown.CreditNotes) != 1 {
		t.Errorf("the total is %d, in the CSV %d, in the JSON %d", kept.Total, sum, shown.Total)
	}
	print := words(p.get(path + "/print").want(http.StatusOK).page())
	for _, want := range []string{"請求書", "登録番号", "T1234567890123", paper.Money("JPY", kept.Due), "対象額"} {
		if !strings.Contains(print, want) {
			t.Errorf("the print view has no %q", want)
		}
	}
}

func TestBillingDetails(t *testing.T) {
	t.Parallel()
	p := newSite(t).owner(t, "Skylark")
	p.post("/console/billing-details", "name", "髙橋製作所", "address", "〒530-0001\n大阪市北区", "reference", "PO-1").wantTo("/console/billing-details?done=billing-details")
	page := p.get("/console/billing-details").want(http.StatusOK)
	for _, want := range []string{"髙橋製作所", "大阪市北区", "PO-1"} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the form has no %q", want)
		}
	}
	wrong := p.post("/console/billing-details", "name", strings.Repeat("x", 300)).want(http.StatusUnprocessableEntity)
	if !strings.Contains(wrong.body, "role=\"alert\"") {
		t.Error("the form does not say what is wrong")
	}
}

// An operator looks a draft through, adds to it, holds it and makes it final, and
// corrects it then.
func TestOperatorInvoices(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	k := s.keeper(t, "keeper@example.com")
	if !strings.Contains(k.get("/operator/invoices").want(http.StatusOK).body, "Nobody issues invoices yet") {
		t.Error("it is not said that nobody issues invoices")
	}
	k.post("/operator/issuer", "name", "Hibari", "address", "Tokyo", "registration", "T12", "pay_days", "30", "invoice_prefix", "INV-", "credit_note_prefix", "CN-").want(http.StatusUnprocessableEntity)
	k.post("/operator/issuer", "name", "Hibari", "address", "Tokyo", "registration", "T1234567890123", "pay_days", "x").want(http.StatusUnprocessableEntity)
	b := p.bill()
	if got := cells(k.get("/operator/invoices").want(http.StatusOK).page(), "Tenant"); len(got) != 1 || got[0] != "Skylark" {
		t.Errorf("drafts of %v", got)
	}
	path := "/operator/invoices/" + b.draft
	k.get(path).want(http.StatusOK)
	k.get(path + "/lines/1").want(http.StatusOK)
	k.get(path + "/pdf").want(http.StatusOK)
	k.get(path + "/credit-note").want(http.StatusConflict)

	k.post(path+"/lines", "name", "Setup", "amount", "1.5", "tax_percent", "10", "reason", "Agreed").want(http.StatusUnprocessableEntity)
	k.post(path+"/lines", "name", "Setup", "amount", "-1,500", "tax_percent", "10", "reason", "Agreed").wantTo(path + "?done=line-added")
	k.post(path+"/hold", "why", "").want(http.StatusUnprocessableEntity)
	k.post(path+"/hold", "why", "Ask sales").wantTo(path + "?done=invoice-held")
	k.post(path + "/finalise").want(http.StatusConflict)
	page := k.get(path).want(http.StatusOK).page()
	lines := cells(page, "Amount")
	if lines[len(lines)-1] != "-1,500" || !strings.Contains(words(page), "Ask sales") {
		t.Errorf("the draft has %v", lines)
	}
	k.post(path + "/lines/" + strconv.Itoa(len(lines)) + "/drop").wantTo(path + "?done=line-dropped")
	k.post(path + "/release").wantTo(path + "?done=invoice-released")
	k.post(path + "/recompute").wantTo(path + "?done=invoice-recomputed")
	k.get(path + "/finalise").want(http.StatusOK)
	k.post(path + "/finalise").wantTo(path + "?done=invoice-final")
	k.post(path + "/recompute").want(http.StatusConflict)
	final, err := s.invoices.Get(t.Context(), p.scope, b.draft)
	if err != nil || final.Credit == 0 {
		t.Errorf("the invoice took %d of the credit, %v", final.Credit, err)
	}

	k.get(path + "/credit-note").want(http.StatusOK)
	k.post(path+"/credit-note", "reason", "Too much", "line_1", "x").want(http.StatusUnprocessableEntity)
	k.post(path+"/credit-note", "reason", "", "line_1", "10").want(http.StatusUnprocessableEntity)
	k.post(path+"/credit-note", "reason", "Too much").want(http.StatusUnprocessableEntity)
	k.post(path+"/credit-note", "reason", "Too much", "line_1", "10", "to_credit", "on").wantTo(path + "?done=note-issued")
	if got := cells(k.get(path).page(), "Number"); len(got) != 1 {
		t.Errorf("credit notes: %v", got)
	}

	bills := "/operator/tenants/" + string(p.signed.Tenant) + "/invoices"
	if got := cells(k.get(bills).want(http.StatusOK).page(), "Number"); len(got) != 2 {
		t.Errorf("the tenant's invoices: %v", got)
	}
	k.post(bills+"/credit", "amount", "x", "currency", "JPY", "reason", "Sorry").want(http.StatusUnprocessableEntity)
	k.post(bills+"/credit", "amount", "100", "currency", "XXX", "reason", "Sorry").want(http.StatusUnprocessableEntity)
	k.post(bills+"/credit", "amount", "100", "currency", "JPY", "reason", "").want(http.StatusUnprocessableEntity)
	k.post(bills+"/credit", "amount", "1,000", "currency", "jpy", "expires_at", "2099-12-31", "reason", "Sorry", "promotional", "on").wantTo(bills + "?done=credit-given")
	withdraw := bills + "/credit/" + b.grant + "/withdraw"
	k.get(withdraw).want(http.StatusOK)
	k.post(withdraw, "reason", "").want(http.StatusUnprocessableEntity)
	k.post(withdraw, "reason", "Paid back").wantTo(bills + "?done=credit-withdrawn")
	k.get(withdraw).want(http.StatusNotFound)
	balances, err := s.credit.Balances(t.Context(), p.scope)
	if err != nil || len(balances) != 1 || balances[0].Grants[0].Reason != "Sorry" || balances[0].Grants[0].ExpiresAt == nil {
		t.Errorf("the tenant has %+v, %v", balances, err)
	}
}
