package api_test

import (
	"encoding/csv"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/tenant"
)

// bill gives the tenant a final invoice of the month before last, for two connections,
// with a credit note and prepaid credit, and returns the ids.
func (c *caller) bill() (invoiceID, noteID string) {
	c.t.Helper()
	ctx, id := c.t.Context(), c.made.Tenant
	must := func(err error) {
		c.t.Helper()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	exec := func(sql string, args ...any) {
		c.t.Helper()
		_, err := c.pool.Exec(ctx, sql, args...)
		must(err)
	}
	now := time.Now().UTC()
	month := time.Date(now.Year(), now.Month()-2, 1, 0, 0, 0, 0, time.UTC)
	exec(`update tenant set time_zone = 'UTC', created_at = $2 where tenant_id = $1`, id, month)
	exec(`update plan_version set valid_from = '2020-01-01' where plan_id = 'metered' and valid_from > '2020-01-01'`)
	exec(`insert into tenant_plan (tenant_id, from_day, plan_id, created_by) values ($1, $2, 'metered', 'test')`, id, month.AddDate(0, -1, 0))
	session := tenant.NewID()
	exec(`insert into channel_session (session_id, tenant_id, channel_id) values ($1, $2, $3)`, session, id, secretChannel)
	for n := range 2 {
		from := month.AddDate(0, 0, 3+n)
		exec(`
			insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol, opened_at, connected_at,
				metered_through, ended_at, end_reason, bytes_out)
			select $1, $2, $6, $3, node_id, 'recvonly', 'client', 'sora', $4, $4, $5, $5, 'client', 25e9 from node limit 1`,
			tenant.NewID(), id, session, from, from.Add(4*time.Hour+17*time.Second), secretChannel)
	}
	by := tenant.CommandLine()
	must(c.invoices.SetIssuer(ctx, by, invoice.Issuer{Name: "Hibari", Address: "Tokyo", Registration: "T1234567890123", InvoicePrefix: "INV-", CreditNotePrefix: "CN-", PayDays: 30}))
	_, err := c.invoices.Close(ctx, id)
	must(err)
	drafts, err := c.invoices.Drafts(ctx, by)
	must(err)
	for _, d := range drafts {
		if d.Tenant == id {
			invoiceID = d.ID
		}
	}
	must(c.invoices.Finalise(ctx, by, invoiceID))
	note, err := c.invoices.IssueCreditNote(ctx, by, invoiceID, invoice.CreditRequest{Reason: "A test of ours", Lines: []invoice.CreditLine{{Line: 1, Amount: 10}}})
	must(err)
	_, err = c.credit.Grant(ctx, by, id, invoice.NewGrant{Kind: invoice.PaidCredit, Currency: "JPY", Amount: 5000, Reason: "Paid by transfer"})
	must(err)
	return invoiceID, note.ID
}

// An invoice in the API: read, listed, as files, and its lines down to the
// connections, page by page.
func TestInvoices(t *testing.T) {
	c := newService(t).caller(t, "lark").as(tenant.Billing)
	if got := c.get("/v1/invoices").want(200).items(); len(got) != 0 {
		t.Errorf("before the first one: %v", got)
	}
	if got := c.do("PATCH", "/v1/billing-details", `{"name":"髙橋製作所","address":"大阪市\n北区"}`).want(200).object(); got["name"] != "髙橋製作所" || got["reference"] != "" {
		t.Errorf("billing details: %v", got)
	}
	c.do("PATCH", "/v1/billing-details", `{"name":"a\u0007b"}`).problem(422, api.CodeInvalid)
	id, note := c.bill()
	listed := c.get("/v1/invoices").want(200).items()
	path := "/v1/invoices/" + id
	one := c.get(path).want(200).object()
	if len(listed) != 1 || listed[0]["id"] != id || listed[0]["lines"] != nil || listed[0]["total"] != one["total"] {
		t.Errorf("listed: %v", listed)
	}
	total := one["total"].(float64)
	if one["decimal"].(map[string]any)["total"] != strconv.FormatInt(int64(total), 10) || one["customer"].(map[string]any)["name"] != "髙橋製作所" || len(one["credit_notes"].([]any)) != 1 {
		t.Errorf("read: %v", one)
	}
	var sum float64
	for _, line := range one["lines"].([]any) {
		sum += line.(map[string]any)["amount"].(float64)
	}
	if sum != one["subtotal"] || sum == 0 {
		t.Errorf("the lines sum to %v, and the subtotal is %v", sum, one["subtotal"])
	}

	pdf := c.get(path + "/pdf").want(200)
	if !strings.HasPrefix(string(pdf.body), "%PDF-") || pdf.header.Get("Content-Type") != "application/pdf" {
		t.Errorf("the PDF comes with %v", pdf.header)
	}
	rows, err := csv.NewReader(strings.NewReader(string(c.get(path + "/csv").want(200).body))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var amounts int64
	for _, row := range rows[1:] {
		amount, err := strconv.ParseInt(row[len(row)-4], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		amounts += amount
	}
	if amounts != int64(total) {
		t.Errorf("the CSV sums to %d, and the total is %v", amounts, total)
	}

	first := c.get(path + "/lines/1/segments?limit=1").want(200).object()
	second := c.get(path + "/lines/1/segments?limit=1&cursor=" + first["next"].(string)).want(200).object()
	var seconds float64
	for _, page := range []map[string]any{first, second} {
		items := page["items"].([]any)
		if len(items) != 1 {
			t.Fatalf("a page of one has %v", items)
		}
		seconds += items[0].(map[string]any)["usage"].(map[string]any)["seconds"].(float64)
	}
	if second["next"] != nil || seconds != 2*14417 || first["sum"].(map[string]any)["seconds"] != seconds || first["line"].(map[string]any)["usage"].(map[string]any)["seconds"] != seconds {
		t.Errorf("line 1 is of %v s: %v", seconds, first)
	}
	c.get(path+"/lines/99/segments").problem(404, api.CodeNotFound)

	if got := c.get("/v1/credit-notes").want(200).items(); len(got) != 1 || got[0]["id"] != note {
		t.Errorf("credit notes: %v", got)
	}
	if got := c.get("/v1/credit-notes/" + note).want(200).object(); got["invoice_id"] != id || got["subtotal"] != 10.0 {
		t.Errorf("credit note: %v", got)
	}
	c.get("/v1/credit-notes/" + note + "/pdf").want(200)
	if got := c.get("/v1/credit").want(200).items(); len(got) != 1 || got[0]["amount"] != 5000.0 || got[0]["amount_decimal"] != "5000" {
		t.Errorf("credit: %v", got)
	}
	c.as(tenant.Developer).get("/v1/invoices").problem(403, api.CodeForbidden)
}
