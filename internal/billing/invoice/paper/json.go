package paper

import (
	"time"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/rating"
)

// Invoice is an invoice as JSON, for the API and for a file of it. Amounts are in
// minor units of the currency, and beside them as decimal numbers.
type Invoice struct {
	ID          string          `json:"id" example:"inv_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Number      string          `json:"number" example:"INV-000042" doc:"Without gaps, by the issuer."`
	Month       string          `json:"month" example:"2026-11" doc:"In the time zone."`
	From        time.Time       `json:"from" doc:"When the billing period began."`
	To          time.Time       `json:"to" doc:"Not included any more."`
	TimeZone    string          `json:"time_zone" example:"Asia/Tokyo"`
	Cutoff      time.Time       `json:"cutoff" doc:"What was recorded before it is in the invoice; what came later is on a later one."`
	Currency    string          `json:"currency" example:"JPY"`
	Subtotal    int64           `json:"subtotal" doc:"Minor units of the currency, as all amounts beside it."`
	Tax         int64           `json:"tax"`
	Total       int64           `json:"total"`
	Credit      int64           `json:"credit" doc:"Prepaid credit that was used."`
	Due         int64           `json:"due" doc:"The total less the credit."`
	Credited    int64           `json:"credited" doc:"By credit notes, with tax."`
	Decimal     InvoiceDecimals `json:"decimal" doc:"The same amounts as decimal numbers."`
	Taxes       []Tax           `json:"taxes" doc:"One for each rate, rounded once."`
	Issuer      Issuer          `json:"issuer"`
	Customer    Customer        `json:"customer"`
	IssuedOn    string          `json:"issued_on" example:"2026-12-02"`
	DueOn       string          `json:"due_on" example:"2027-01-01"`
	FinalisedAt *time.Time      `json:"finalised_at"`
	Lines       []Line          `json:"lines,omitempty" doc:"Absent in lists."`
	CreditNotes []CreditNote    `json:"credit_notes,omitempty" doc:"What corrects it; absent in lists."`
}

// InvoiceDecimals are the amounts of an invoice in the currency's own unit.
type InvoiceDecimals struct {
	Subtotal string `json:"subtotal" example:"3141218"`
	Tax      string `json:"tax" example:"314121"`
	Total    string `json:"total" example:"3455339"`
	Credit   string `json:"credit" example:"0"`
	Due      string `json:"due" example:"3455339"`
	Credited string `json:"credited" example:"0"`
}

// Tax is the tax of one rate.
type Tax struct {
	Percent int64       `json:"percent" example:"10"`
	Base    int64       `json:"base" doc:"What it is of."`
	Amount  int64       `json:"amount" doc:"Rounded once."`
	Decimal TaxDecimals `json:"decimal"`
}

// TaxDecimals are the amounts of a tax in the currency's own unit.
type TaxDecimals struct {
	Base   string `json:"base" example:"3141218"`
	Amount string `json:"amount" example:"314121"`
}

// Issuer is who issued a document.
type Issuer struct {
	Name         string `json:"name"`
	Address      string `json:"address"`
	Email        string `json:"email"`
	Registration string `json:"registration_number" example:"T1234567890123" doc:"Of an issuer of Japanese qualified invoices; else empty."`
	BankAccount  string `json:"bank_account"`
}

// Customer is whom a document is for.
type Customer struct {
	Name       string `json:"name" maxLength:"200"`
	Address    string `json:"address" maxLength:"1000"`
	Email      string `json:"email" maxLength:"200"`
	Department string `json:"department" maxLength:"200"`
	Reference  string `json:"reference" maxLength:"200" doc:"Your own, such as the number of an order."`
}

// Line is one line of an invoice, with everything it was computed from.
type Line struct {
	Number     int          `json:"line" doc:"From 1."`
	Kind       string       `json:"kind" enum:"licence,flat,metered,minimum,adjustment,manual"`
	Component  string       `json:"component" example:"connection_minutes" doc:"Of the plan; of a licence its id."`
	Name       string       `json:"name"`
	From       time.Time    `json:"from"`
	To         time.Time    `json:"to"`
	Plan       string       `json:"plan,omitempty"`
	Version    int          `json:"version,omitempty" doc:"Of the plan's prices."`
	Adjusts    *Span        `json:"adjusts,omitempty" doc:"Of an adjustment: the period whose late facts it is for."`
	Meter      string       `json:"meter,omitempty"`
	Model      string       `json:"model,omitempty" doc:"How the price is computed: per_unit, package, graduated or volume."`
	Usage      rating.Usage `json:"usage" doc:"What was used, of what the line is about."`
	Quantity   string       `json:"quantity" example:"123456" doc:"In units, before what is included."`
	Unit       string       `json:"unit" example:"minute"`
	Included   string       `json:"included" example:"100000" doc:"Of the quantity, free."`
	UnitPrice  string       `json:"unit_price" example:"0.9" doc:"Of one unit, package or month; 0 with tiers."`
	Steps      []Step       `json:"steps" doc:"The arithmetic."`
	Unrounded  string       `json:"unrounded" example:"21110.4" doc:"What they come to."`
	Amount     int64        `json:"amount" example:"21110" doc:"The same, rounded once: minor units, without tax."`
	Decimal    string       `json:"amount_decimal" example:"21110"`
	TaxPercent int64        `json:"tax_percent" example:"10"`
	Credited   int64        `json:"credited" doc:"By credit notes, without tax."`
	Reason     string       `json:"reason,omitempty" doc:"Of a line that was added by hand."`
	Hash       string       `json:"hash" doc:"SHA-256 of everything the line was computed from."`
}

// Span is the time from ≤ t < to.
type Span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Step is one step of a line's arithmetic, in the currency's own unit.
type Step struct {
	Text      string `json:"text" example:"Each minute"`
	Quantity  string `json:"quantity" example:"23456"`
	UnitPrice string `json:"unit_price" example:"0.9"`
	Amount    string `json:"amount" example:"21110.4"`
}

// CreditNote is a credit note as JSON. Its amounts are what is taken off the invoice.
type CreditNote struct {
	ID            string       `json:"id" example:"crn_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Number        string       `json:"number" example:"CN-000003"`
	InvoiceID     string       `json:"invoice_id"`
	InvoiceNumber string       `json:"invoice_number" example:"INV-000042"`
	Currency      string       `json:"currency" example:"JPY"`
	Reason        string       `json:"reason"`
	Subtotal      int64        `json:"subtotal" doc:"Minor units of the currency, as all amounts beside it."`
	Tax           int64        `json:"tax"`
	Total         int64        `json:"total"`
	Decimal       NoteDecimals `json:"decimal"`
	Taxes         []Tax        `json:"taxes"`
	Lines         []NoteLine   `json:"lines"`
	ToCredit      bool         `json:"to_credit" doc:"The total became prepaid credit."`
	IssuedOn      string       `json:"issued_on" example:"2026-12-10"`
}

// NoteDecimals are the amounts of a credit note in the currency's own unit.
type NoteDecimals struct {
	Subtotal string `json:"subtotal" example:"1000"`
	Tax      string `json:"tax" example:"100"`
	Total    string `json:"total" example:"1100"`
}

// NoteLine is what a credit note takes off one line.
type NoteLine struct {
	Line       int    `json:"line" doc:"Of the invoice."`
	Name       string `json:"name"`
	Amount     int64  `json:"amount" doc:"Minor units, without tax."`
	Decimal    string `json:"amount_decimal" example:"1000"`
	TaxPercent int64  `json:"tax_percent"`
	Reason     string `json:"reason"`
}

// Show returns an invoice as JSON.
func Show(i invoice.Invoice) Invoice {
	text := func(minor int64) string { return rating.Decimal(i.Currency, minor) }
	shown := Invoice{
		ID: i.ID, Number: i.Number, Month: i.Month, From: i.From.UTC(), To: i.To.UTC(), TimeZone: i.Zone, Cutoff: i.Cutoff.UTC(), Currency: i.Currency,
		Subtotal: i.Subtotal, Tax: i.Tax, Total: i.Total, Credit: i.Credit, Due: i.Due, Credited: i.Credited,
		Decimal:  InvoiceDecimals{text(i.Subtotal), text(i.Tax), text(i.Total), text(i.Credit), text(i.Due), text(i.Credited)},
		Taxes:    showTaxes(i.Currency, i.Taxes),
		Issuer:   Issuer{i.Issuer.Name, i.Issuer.Address, i.Issuer.Email, i.Issuer.Registration, i.Issuer.BankAccount},
		Customer: ShowCustomer(i.Customer), IssuedOn: day(i.IssuedOn), DueOn: day(i.DueOn), FinalisedAt: i.FinalisedAt,
	}
	for _, l := range i.Lines {
		shown.Lines = append(shown.Lines, ShowLine(i.Currency, l))
	}
	for _, n := range i.CreditNotes {
		shown.CreditNotes = append(shown.CreditNotes, ShowNote(n))
	}
	return shown
}

// ShowCustomer returns billing details as JSON.
func ShowCustomer(c invoice.Customer) Customer {
	return Customer{c.Name, c.Address, c.Email, c.Department, c.Reference}
}

// ShowLine returns a line as JSON.
func ShowLine(currency string, l invoice.Line) Line {
	shown := Line{
		Number: l.Number, Kind: string(l.Kind), Component: l.Component, Name: l.Name, From: l.From.UTC(), To: l.To.UTC(),
		Plan: l.Plan, Version: l.Version, Meter: string(l.Meter), Model: string(l.Model), Usage: l.Usage,
		Quantity: l.Quantity.String(), Unit: l.Unit, Included: l.Included.String(), UnitPrice: l.UnitPrice.String(),
		Steps: []Step{}, Unrounded: l.Unrounded.String(), Amount: l.Amount, Decimal: rating.Decimal(currency, l.Amount),
		TaxPercent: l.TaxPercent, Credited: l.Credited, Reason: l.Reason, Hash: l.Hash,
	}
	if l.Adjusts != nil {
		shown.Adjusts = &Span{l.Adjusts.From.UTC(), l.Adjusts.To.UTC()}
	}
	for _, s := range l.Steps {
		shown.Steps = append(shown.Steps, Step{s.Text, s.Quantity.String(), s.UnitPrice.String(), s.Amount.String()})
	}
	return shown
}

// ShowNote returns a credit note as JSON.
func ShowNote(n invoice.CreditNote) CreditNote {
	text := func(minor int64) string { return rating.Decimal(n.Currency, minor) }
	shown := CreditNote{
		ID: n.ID, Number: n.Number, InvoiceID: n.Invoice, InvoiceNumber: n.InvoiceNumber, Currency: n.Currency, Reason: n.Reason,
		Subtotal: n.Subtotal, Tax: n.Tax, Total: n.Total, Decimal: NoteDecimals{text(n.Subtotal), text(n.Tax), text(n.Total)},
		Taxes: showTaxes(n.Currency, n.Taxes), Lines: []NoteLine{}, ToCredit: n.ToCredit, IssuedOn: n.IssuedOn.Format(time.DateOnly),
	}
	for _, l := range n.Lines {
		shown.Lines = append(shown.Lines, NoteLine{l.Line, l.Name, l.Amount, text(l.Amount), l.TaxPercent, l.Reason})
	}
	return shown
}

func showTaxes(currency string, rates []rating.Tax) []Tax {
	shown := []Tax{}
	for _, t := range rates {
		shown = append(shown, Tax{t.Percent, t.Base, t.Amount, TaxDecimals{rating.Decimal(currency, t.Base), rating.Decimal(currency, t.Amount)}})
	}
	return shown
}

func day(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.DateOnly)
}
