//go:build linux && (amd64 || arm64)

package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/html"
)

// bill is an invoice as the API has it, as far as it is looked at.
type bill struct {
	ID, Number, Month    string
	Subtotal, Tax, Total int64
	Lines                []billLine
}

type billLine struct {
	Number    int64 `json:"line"`
	Component string
	Amount    int64
	Usage     billed
}

// billed is the use that a line is about.
type billed struct {
	Connections, Seconds, Minutes int64
	BilledSeconds                 int64 `json:"billed_seconds"`
	BytesIn                       int64 `json:"bytes_in"`
	BytesOut                      int64 `json:"bytes_out"`
}

func (b billed) plus(o billed) billed {
	return billed{b.Connections + o.Connections, b.Seconds + o.Seconds, b.Minutes + o.Minutes,
		b.BilledSeconds + o.BilledSeconds, b.BytesIn + o.BytesIn, b.BytesOut + o.BytesOut}
}

// closeMonths has the server sleep over the end of the month in which the last visitor
// left, and over the review of both months' invoices.
func (h *hour) closeMonths() {
	h.t.Helper()
	for _, nap := range []time.Duration{32 * 24 * time.Hour, 25 * time.Hour} {
		h.server.stop()
		h.clock.jump(nap)
		h.server.start()
		within(h.t, patience, "what is due of billing is done", func() bool {
			var due int
			err := h.pool.QueryRow(h.t.Context(), `select
				(select count(*) from billing_period where cutoff is null and ends_at + interval '1 hour' <= clock_timestamp())
				+ (select count(*) from invoice where state = 'draft' and review_until <= clock_timestamp())
				+ (select 2 - count(*) from billing_period where cutoff is not null)`).Scan(&due)
			return err == nil && due == 0
		})
	}
}

// checkInvoices compares the invoices, on every surface, with the ledger's segments.
func (h *hour) checkInvoices() {
	t := h.t
	t.Helper()
	months := h.tally(func(_ segment, at time.Time) string { return at.In(tokyo).Format("2006-01") })
	var list struct{ Items []bill }
	if err := json.Unmarshal(h.get("/v1/invoices", "application/json"), &list); err != nil || len(list.Items) != len(months) {
		t.Fatalf("there are %d invoices of %d months, %v", len(list.Items), len(months), err)
	}
	console := h.member()
	var sum billed
	for _, listed := range list.Items {
		var b bill
		if err := json.Unmarshal(h.get("/v1/invoices/"+listed.ID, "application/json"), &b); err != nil {
			t.Fatal(err)
		}
		want := months[b.Month]
		packages := (want.Minutes + 9) / 10 * 10 // ¥10 for each started 10 minutes; no traffic beyond what is included
		if b.Subtotal != packages || b.Tax != packages/10 || b.Total != b.Subtotal+b.Tax {
			t.Errorf("%s of %s is %d + %d = %d; %d minutes are %d without tax", b.Number, b.Month, b.Subtotal, b.Tax, b.Total, want.Minutes, packages)
		}
		for _, l := range b.Lines {
			sum = sum.plus(l.Usage)
			if l.Component == "connection_minutes" {
				h.checkLine(b, l, want)
			}
			h.checkExplained(b, l)
		}
		h.checkPaper(console, b)
	}
	h.checkConserved(sum)
	t.Logf("invoices %v agree, too", list.Items)
}

// checkLine compares what a month's line of minutes says with the segments.
func (h *hour) checkLine(b bill, l billLine, want used) {
	h.t.Helper()
	if got := (used{l.Usage.Connections, l.Usage.Minutes, l.Usage.Seconds}); got != want || l.Usage.BilledSeconds != 60*want.Minutes {
		h.t.Errorf("%s bills %+v, and the segments of %s are %+v", b.Number, l.Usage, b.Month, want)
	}
	if l.Amount != b.Subtotal {
		h.t.Errorf("minutes cost %d of %d", l.Amount, b.Subtotal)
	}
}

// checkExplained compares a line with the connections that explain it. They say all
// that was used of them; the line says what it is about.
func (h *hour) checkExplained(b bill, l billLine) {
	h.t.Helper()
	sum := h.explained(b, l)
	switch l.Component {
	case "connection_minutes":
		sum.BytesIn, sum.BytesOut = 0, 0
	case "gb_out":
		sum = billed{BytesIn: sum.BytesIn, BytesOut: sum.BytesOut}
	}
	if sum != l.Usage {
		h.t.Errorf("line %d of %s is %+v, and its connections are %+v", l.Number, b.Number, l.Usage, sum)
	}
}

// explained adds up the connections that a line lists.
func (h *hour) explained(b bill, l billLine) (sum billed) {
	h.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Items []struct{ Usage billed }
			Next  *string
		}
		path := fmt.Sprintf("/v1/invoices/%s/lines/%d/segments?limit=100&cursor=%s", b.ID, l.Number, cursor)
		if err := json.Unmarshal(h.get(path, "application/json"), &page); err != nil {
			h.t.Fatal(err)
		}
		for _, i := range page.Items {
			sum = sum.plus(i.Usage)
		}
		if page.Next == nil {
			return sum
		}
		cursor = *page.Next
	}
}

// checkPaper compares an invoice's CSV and page with it.
func (h *hour) checkPaper(console *http.Client, b bill) {
	t := h.t
	t.Helper()
	var total int64
	for _, row := range readTable(h, h.get("/v1/invoices/"+b.ID+"/csv", "text/csv")) {
		total += number(row["amount"])
		if n := number(row["line"]); n > 0 {
			l := b.Lines[n-1]
			if number(row["minutes"]) != l.Usage.Minutes || number(row["seconds"]) != l.Usage.Seconds || number(row["amount"]) != l.Amount {
				t.Errorf("the CSV of %s has %v, the API %+v", b.Number, row, l)
			}
		}
	}
	if total != b.Total {
		t.Errorf("the CSV of %s sums to %d, the invoice to %d", b.Number, total, b.Total)
	}
	r, err := http.NewRequest("GET", h.server.url+"/console/invoices/"+b.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	page, err := html.Parse(strings.NewReader(string(h.fetch(console, r))))
	if err != nil {
		t.Fatal(err)
	}
	text := textOf(page)
	for _, says := range []string{b.Number, thousands(b.Total), thousands(b.Subtotal)} {
		if !strings.Contains(text, says) {
			t.Errorf("the page of %s does not say %s", b.Number, says)
		}
	}
	if pdf := h.get("/v1/invoices/"+b.ID+"/pdf", "application/pdf"); !strings.HasPrefix(string(pdf), "%PDF-") {
		t.Errorf("the PDF of %s is none", b.Number)
	}
}

// thousands writes a number as pages do.
func thousands(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return thousands(n/1000) + fmt.Sprintf(",%03d", n%1000)
}

// checkConserved holds the three places where use is kept against each other: the
// connections, the roll-ups, and what all invoices bill.
func (h *hour) checkConserved(invoiced billed) {
	t := h.t
	t.Helper()
	var rolled, segments billed
	err := h.pool.QueryRow(t.Context(), `select sum(connections), sum(seconds), sum(minutes), sum(billed_seconds), sum(bytes_in), sum(bytes_out)
		from usage_slot where tenant_id = $1`, h.account.Tenant).
		Scan(&rolled.Connections, &rolled.Seconds, &rolled.Minutes, &rolled.BilledSeconds, &rolled.BytesIn, &rolled.BytesOut)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range h.ledger {
		n := minutesFor(s.Ended.Sub(s.Connected))
		segments = segments.plus(billed{1, int64(s.Ended.Sub(s.Connected) / time.Second), n, 60 * n, s.In, s.Out})
	}
	if segments != rolled || rolled != invoiced {
		t.Errorf("segments %+v, roll-ups %+v, invoices %+v", segments, rolled, invoiced)
	}
}
