package invoice

import (
	"time"

	"github.com/hibari/hibari/internal/billing/rating"
)

// CreditNote corrects a final invoice. Its amounts are what is taken off the
// invoice's: more than 0 where the customer pays less. It is final from its birth.
type CreditNote struct {
	ID            string // crn_…
	Number        string
	Invoice       string // its ID
	InvoiceNumber string
	Currency      string
	Reason        string
	Lines         []CreditLine
	Taxes         []rating.Tax

	Subtotal, Tax, Total int64
	ToCredit             bool // Total became prepaid credit
	Issuer               Issuer
	Customer             Customer
	IssuedOn             time.Time // a day, as a midnight of UTC
	IssuedAt             time.Time
	IssuedBy             string // Scope.Actor
}

// CreditLine takes something off one line of the invoice.
type CreditLine struct {
	Line       int    // of the invoice
	Name       string // the line's
	Amount     int64  // minor units without tax, of the line's sign
	TaxPercent int64
	Reason     string
}

// CreditRequest is what a credit note is to correct.
type CreditRequest struct {
	Lines    []CreditLine // Line, Amount and, if it is another than Reason, Reason
	Reason   string
	ToCredit bool // make the total prepaid credit; else it is paid back by other means
}
