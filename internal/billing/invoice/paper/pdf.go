package paper

import (
	"fmt"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/invoice/pdf"
	"github.com/hibari/hibari/internal/billing/rating"
)

// PDF is an invoice, or a draft of one, as a document to be written.
func PDF(i invoice.Invoice) pdf.Document {
	zone := Zone(i)
	d := pdf.Document{
		Kind: pdf.Invoice, Draft: i.State != invoice.Final, Number: i.Number, Issued: i.CreatedAt, Currency: i.Currency,
		Facts:  []pdf.Fact{{Japanese: "対象期間", English: "Period", Value: Days(i.From, i.To, zone) + "\n(" + i.Zone + ")"}},
		Issuer: issuer(i.Issuer), Customer: customer(i.Customer), Amount: Money(i.Currency, i.Due),
		Taxes: taxes(i.Currency, i.Taxes), Sums: []pdf.Fact{
			{Japanese: "小計", English: "Subtotal", Value: Number(i.Currency, i.Subtotal)},
			{Japanese: "消費税", English: "Tax", Value: Number(i.Currency, i.Tax)},
			{Japanese: "合計（税込）", English: "Total", Value: Number(i.Currency, i.Total)},
		},
	}
	if i.IssuedOn != nil {
		d.Issued = *i.IssuedOn
	}
	if i.DueOn != nil {
		d.Facts = append(d.Facts, pdf.Fact{Japanese: "お支払期限", English: "Due", Value: i.DueOn.Format(time.DateOnly)})
	}
	if i.Customer.Reference != "" {
		d.Facts = append(d.Facts, pdf.Fact{Japanese: "貴社番号", English: "Reference", Value: i.Customer.Reference})
	}
	if i.Credit != 0 {
		d.Sums = append(d.Sums, pdf.Fact{Japanese: "前払残高の充当", English: "Prepaid credit", Value: Number(i.Currency, -i.Credit)})
	}
	d.Sums = append(d.Sums, pdf.Fact{Japanese: "ご請求金額", English: "Amount due", Value: Money(i.Currency, i.Due)})
	reduced := false
	for _, l := range i.Lines {
		reduced = reduced || Reduced(i.Currency, l.TaxPercent)
		d.Lines = append(d.Lines, pdf.Line{Name: l.Name, Detail: Details(l, zone), Quantity: Quantity(l), UnitPrice: UnitPrice(l),
			Rate: Rate(i.Currency, l.TaxPercent), Amount: Number(i.Currency, l.Amount)})
	}
	if reduced {
		d.Notes = append(d.Notes, pdf.Fact{Japanese: "※ 軽減税率対象", English: "Reduced tax rate", Value: ""})
	}
	if i.Issuer.BankAccount != "" {
		d.Notes = append(d.Notes, pdf.Fact{Japanese: "お振込先", English: "Pay to", Value: i.Issuer.BankAccount})
	}
	return d
}

// NotePDF is a credit note as a document to be written.
func NotePDF(n invoice.CreditNote) pdf.Document {
	d := pdf.Document{
		Kind: pdf.CreditNote, Number: n.Number, Issued: n.IssuedOn, Currency: n.Currency,
		Facts:  []pdf.Fact{{Japanese: "元の請求書", English: "Corrects", Value: n.InvoiceNumber}, {Japanese: "理由", English: "Reason", Value: n.Reason}},
		Issuer: issuer(n.Issuer), Customer: customer(n.Customer), Amount: Money(n.Currency, n.Total),
		Taxes: taxes(n.Currency, n.Taxes), Sums: []pdf.Fact{
			{Japanese: "小計", English: "Subtotal", Value: Number(n.Currency, n.Subtotal)},
			{Japanese: "消費税", English: "Tax", Value: Number(n.Currency, n.Tax)},
			{Japanese: "返還金額", English: "Amount credited", Value: Money(n.Currency, n.Total)},
		},
	}
	for _, l := range n.Lines {
		detail := []string{fmt.Sprintf("Line %d of %s", l.Line, n.InvoiceNumber)}
		if l.Reason != "" && l.Reason != n.Reason {
			detail = append(detail, l.Reason)
		}
		d.Lines = append(d.Lines, pdf.Line{Name: l.Name, Detail: detail, Rate: Rate(n.Currency, l.TaxPercent), Amount: Number(n.Currency, l.Amount)})
	}
	if n.ToCredit {
		d.Notes = append(d.Notes, pdf.Fact{Japanese: "前払残高に充当", English: "Added to your prepaid credit", Value: ""})
	}
	return d
}

func issuer(i invoice.Issuer) pdf.Party {
	return pdf.Party{Name: i.Name, Address: i.Address, Registration: i.Registration, Contact: i.Email}
}

func customer(c invoice.Customer) pdf.Party {
	return pdf.Party{Name: c.Name, Address: strings.TrimSpace(c.Address + "\n" + c.Department)}
}

func taxes(currency string, rates []rating.Tax) (shown []pdf.Tax) {
	for _, t := range rates {
		shown = append(shown, pdf.Tax{Rate: Rate(currency, t.Percent), Base: Number(currency, t.Base), Amount: Number(currency, t.Amount)})
	}
	return shown
}
