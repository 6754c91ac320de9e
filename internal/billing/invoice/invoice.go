// Package invoice closes billing periods and keeps what becomes of them: drafts,
// invoices, credit notes and prepaid credit.
//
// A period is closed from a snapshot with two bounds: what happened in the period
// (event time) and was recorded before its cutoff (recorded time). What is recorded
// later adjusts a later invoice. An invoice is a draft until it is made final, gets
// its number then, and is never changed again: the database itself refuses it.
package invoice

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// How periods become invoices.
const (
	// Grace is how long after its end a period is closed: what is recorded by then is
	// in it.
	Grace = time.Hour
	// Review is how long a draft stands before it is made final by itself.
	Review = 24 * time.Hour
)

// State is what an invoice is.
type State string

// The states of an invoice.
const (
	Draft State = "draft" // may be looked through, taken anew, held and added to
	Final State = "final" // has a number and is never changed
)

var (
	// ErrNotFound is returned for an invoice, line or credit note that there is not.
	ErrNotFound = errors.New("no such invoice")
	// ErrFinal is returned to who would change an invoice that is final.
	ErrFinal = errors.New("the invoice is final: correct it by a credit note")
	// ErrDraft is returned to who would correct a draft by a credit note.
	ErrDraft = errors.New("the invoice is a draft: change it instead")
	// ErrHeld is returned to who would make an invoice final that is held.
	ErrHeld = errors.New("the invoice is held: release it first")
	// ErrIssuer is returned as long as nobody has said who issues invoices.
	ErrIssuer = errors.New("say first who issues invoices: name, address and registration number")
	// ErrLater is returned to who would take a draft anew whose next month is closed.
	ErrLater = errors.New("a later month is closed already: what became known since is on its invoice")
)

// Invoice is what a tenant pays for one month in one currency. Amounts are in minor
// units of it.
type Invoice struct {
	ID         string // inv_…
	Tenant     tenant.ID
	TenantName string
	State      State
	Number     string // "": a draft

	Month    string // such as 2026-11
	From, To time.Time
	Zone     string    // whose calendar the month is of
	Cutoff   time.Time // facts that were recorded before it are in it

	Currency               string
	Subtotal, Tax, Total   int64
	Credit                 int64 // prepaid credit that was used
	Due                    int64 // Total less Credit
	Credited               int64 // by credit notes, with tax
	Taxes                  []rating.Tax
	Issuer                 Issuer   // of a draft: as it is now
	Customer               Customer // of a draft: as it is now
	CreatedAt, ReviewUntil time.Time
	Held                   bool // it is not made final by itself
	HeldWhy                string
	FinalisedAt            *time.Time
	FinalisedBy            string       // Scope.Actor
	IssuedOn, DueOn        *time.Time   // days, as midnights of UTC
	Lines                  []Line       // only of one that was asked for alone
	CreditNotes            []CreditNote // only of one that was asked for alone
}

// Line is one line of an invoice.
type Line struct {
	rating.Line
	Number    int    // 1, 2, …
	LicenceID string // whose beginning it charges; "": no licence's
	AddedBy   string // Scope.Actor of who added it by hand; "": it was rated
	Reason    string // for adding it
	Credited  int64  // by credit notes, without tax: of the sign of Amount
}

// Mail tells people of an invoice, if and only if the transaction is committed.
type Mail interface {
	MailPayers(ctx context.Context, tx pgx.Tx, id tenant.ID, kind, subject, text string) error
	WakePostman()
}

// Credits is prepaid credit, as invoices use it; both in a transaction that has the
// tenant's billing row.
type Credits interface {
	// Apply takes at most amount off the tenant's credit for an invoice.
	Apply(ctx context.Context, tx pgx.Tx, id tenant.ID, invoiceID, currency string, amount int64) (applied int64, err error)
	// Note makes the amount of a credit note credit.
	Note(ctx context.Context, tx pgx.Tx, id tenant.ID, creditNoteID, currency string, amount int64) error
}

// Config is what Invoices need.
type Config struct {
	Pool      *pgxpool.Pool
	Ledger    *billing.Ledger
	Plans     *billing.Plans
	Credit    Credits // nil: there is none
	Mail      Mail    // nil: nobody is told
	PublicURL string  // where mails lead
	Log       *slog.Logger

	Grace  time.Duration // 0: Grace
	Review time.Duration // 0: Review
}

// Invoices closes billing periods and keeps their invoices.
type Invoices struct {
	Config // static
	counts counts
}

// Stats counts what has been done in this process.
type Stats struct {
	Closed    int64 // periods
	Drafted   int64
	Finalised int64
	Failed    int64 // rounds of Run in which something could not be done
	Overdue   int64 // drafts of all tenants that should be final, as last looked
}

type counts struct{ closed, drafted, finalised, failed, overdue atomic.Int64 }

// New returns the invoices in the database behind the pool.
func New(c Config) *Invoices {
	if c.Grace == 0 {
		c.Grace = Grace
	}
	if c.Review == 0 {
		c.Review = Review
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Invoices{Config: c}
}

// Stats returns the counts since the start.
func (v *Invoices) Stats() Stats {
	return Stats{v.counts.closed.Load(), v.counts.drafted.Load(), v.counts.finalised.Load(), v.counts.failed.Load(), v.counts.overdue.Load()}
}

// querier is the pool, a transaction, or a tenant's own view of the database.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}
