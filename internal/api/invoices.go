package api

import (
	"bytes"
	"context"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/invoice/paper"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// invoiceInput names an invoice.
type invoiceInput struct {
	ID string `path:"id" maxLength:"64" example:"inv_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
}

// madeID is the form of the ids that we make: nothing else names anything.
var madeID = regexp.MustCompile(`^[a-z]+_[0-9A-Z]+$`)

// ownInvoice reads a final invoice of the tenant.
func (a *API) ownInvoice(ctx context.Context, scope tenant.Scope, id string) (invoice.Invoice, error) {
	if !madeID.MatchString(id) {
		return invoice.Invoice{}, tenant.ErrNotFound
	}
	return a.Invoices.Get(ctx, scope, id)
}

func (a *API) listInvoices(ctx context.Context, scope tenant.Scope, in *Paging) (p page[paper.Invoice], err error) {
	before, err := in.after("invoices")
	if err != nil {
		return p, err
	}
	rows, err := a.Invoices.List(ctx, scope, before, in.Limit+1)
	return pageOf(rows, in.Limit, paper.Show, func(i invoice.Invoice) string { return newCursor("invoices", i.ID) }), err
}

func (a *API) getInvoice(ctx context.Context, scope tenant.Scope, in *invoiceInput) (paper.Invoice, error) {
	i, err := a.ownInvoice(ctx, scope, in.ID)
	return paper.Show(i), err
}

// invoiceSegment is what one connection adds to a line of an invoice.
type invoiceSegment struct {
	ConnectionID string       `json:"connection_id"`
	Channel      string       `json:"channel_id"`
	Role         tenant.Role  `json:"role" enum:"sendonly,recvonly,sendrecv"`
	ConnectedAt  time.Time    `json:"connected_at"`
	EndedAt      *time.Time   `json:"ended_at" doc:"null: it was live when it was asked for."`
	From         time.Time    `json:"from" doc:"The part of it that is in the line."`
	To           time.Time    `json:"to"`
	Usage        rating.Usage `json:"usage"`
}

// explanation is a page of the connections of a line.
type explanation struct {
	Line  paper.Line       `json:"line"`
	Sum   rating.Usage     `json:"sum" doc:"Of the connections of all pages: the line's usage."`
	Items []invoiceSegment `json:"items"`
	Next  *string          `json:"next" doc:"The cursor of the next page; null: this is the last."`
}

func (a *API) listInvoiceSegments(ctx context.Context, scope tenant.Scope, in *struct {
	ID   string `path:"id" maxLength:"64" example:"inv_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Line string `path:"line" maxLength:"10" example:"2" doc:"Its number on the invoice."`
	Paging
}) (e explanation, err error) {
	line, bad := strconv.Atoi(in.Line)
	if bad != nil || line < 1 || line > maxInvoiceLine || !madeID.MatchString(in.ID) {
		return e, tenant.ErrNotFound
	}
	after, err := in.after("invoice-segments")
	if err != nil {
		return e, err
	}
	found, err := a.ownInvoice(ctx, scope, in.ID)
	if err != nil {
		return e, err
	}
	x, err := a.Invoices.Explain(ctx, scope, in.ID, line, after, in.Limit)
	if err != nil {
		return e, err
	}
	e = explanation{Line: paper.ShowLine(found.Currency, x.Line), Sum: x.Sum, Items: []invoiceSegment{}}
	for _, s := range x.Segments {
		e.Items = append(e.Items, invoiceSegment{s.ConnectionID, s.ChannelID, s.Role, s.ConnectedAt.UTC(), utcOrNull(s.EndedAt), s.From.UTC(), s.To.UTC(), s.Usage})
	}
	if x.Next != "" {
		e.Next = new(newCursor("invoice-segments", x.Next))
	}
	return e, nil
}

// maxInvoiceLine is a number that no invoice has a line by.
const maxInvoiceLine = 1_000_000

// file is an answer that is a file.
type file struct {
	ContentType string `header:"Content-Type"`
	Disposition string `header:"Content-Disposition"`
	Body        []byte
}

// filed makes an operation of a method that answers with a file of a media type, with
// contentType as its whole header.
func filed[I any](mediaType, contentType string, answer func(context.Context, tenant.Scope, *I) (name string, body []byte, err error)) func(huma.API, huma.Operation) {
	return func(described huma.API, o huma.Operation) {
		o.Responses = map[string]*huma.Response{"200": {
			Description: http.StatusText(http.StatusOK),
			Content:     map[string]*huma.MediaType{mediaType: {Schema: &huma.Schema{Type: huma.TypeString}}},
		}}
		huma.Register(described, o, func(ctx context.Context, in *I) (*file, error) {
			asking := askingOf(ctx)
			name, body, err := answer(ctx, asking.scope, in)
			if err != nil {
				return nil, asking.told(err)
			}
			return &file{contentType, `attachment; filename="` + name + `"`, body}, nil
		})
	}
}

const pdfType = "application/pdf"

func (a *API) getInvoicePDF(ctx context.Context, scope tenant.Scope, in *invoiceInput) (string, []byte, error) {
	i, err := a.ownInvoice(ctx, scope, in.ID)
	if err != nil {
		return "", nil, err
	}
	var body bytes.Buffer
	err = paper.PDF(i).Write(&body)
	return paper.FileName(i.Number) + ".pdf", body.Bytes(), err
}

func (a *API) getInvoiceCSV(ctx context.Context, scope tenant.Scope, in *invoiceInput) (string, []byte, error) {
	i, err := a.ownInvoice(ctx, scope, in.ID)
	if err != nil {
		return "", nil, err
	}
	var body bytes.Buffer
	err = paper.CSV(&body, i)
	return paper.FileName(i.Number) + ".csv", body.Bytes(), err
}

func (a *API) listCreditNotes(ctx context.Context, scope tenant.Scope, in *Paging) (p page[paper.CreditNote], err error) {
	before, err := in.after("credit-notes")
	if err != nil {
		return p, err
	}
	rows, err := a.Invoices.CreditNotes(ctx, scope, before, in.Limit+1)
	return pageOf(rows, in.Limit, paper.ShowNote, func(n invoice.CreditNote) string { return newCursor("credit-notes", n.ID) }), err
}

// noteInput names a credit note.
type noteInput struct {
	ID string `path:"id" maxLength:"64" example:"crn_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
}

func (a *API) ownNote(ctx context.Context, scope tenant.Scope, id string) (invoice.CreditNote, error) {
	if !madeID.MatchString(id) {
		return invoice.CreditNote{}, tenant.ErrNotFound
	}
	return a.Invoices.CreditNote(ctx, scope, id)
}

func (a *API) getCreditNote(ctx context.Context, scope tenant.Scope, in *noteInput) (paper.CreditNote, error) {
	n, err := a.ownNote(ctx, scope, in.ID)
	return paper.ShowNote(n), err
}

func (a *API) getCreditNotePDF(ctx context.Context, scope tenant.Scope, in *noteInput) (string, []byte, error) {
	n, err := a.ownNote(ctx, scope, in.ID)
	if err != nil {
		return "", nil, err
	}
	var body bytes.Buffer
	err = paper.NotePDF(n).Write(&body)
	return paper.FileName(n.Number) + ".pdf", body.Bytes(), err
}

// credit is what is left of prepaid credit in one currency.
type credit struct {
	Currency string  `json:"currency" example:"JPY"`
	Amount   int64   `json:"amount" doc:"Minor units of the currency."`
	Decimal  string  `json:"amount_decimal" example:"50000"`
	Grants   []grant `json:"grants" doc:"In the order of their use."`
}

// grant is credit that was given at once, of which something is left.
type grant struct {
	ID        string            `json:"id"`
	Kind      invoice.GrantKind `json:"kind" enum:"paid,promotional,credit_note"`
	Amount    int64             `json:"amount"`
	Remaining int64             `json:"remaining"`
	ExpiresAt *time.Time        `json:"expires_at" doc:"null: never."`
	Reason    string            `json:"reason"`
	GrantedAt time.Time         `json:"granted_at"`
}

// credits is the prepaid credit, by currency.
type credits struct {
	Items []credit `json:"items"`
}

func (a *API) getCredit(ctx context.Context, scope tenant.Scope, _ *none) (c credits, err error) {
	balances, err := a.Credit.Balances(ctx, scope)
	c.Items = []credit{}
	for _, b := range balances {
		shown := credit{b.Currency, b.Amount, rating.Decimal(b.Currency, b.Amount), []grant{}}
		for _, g := range b.Grants {
			shown.Grants = append(shown.Grants, grant{g.ID, g.Kind, g.Amount, g.Remaining, utcOrNull(g.ExpiresAt), g.Reason, g.GrantedAt.UTC()})
		}
		c.Items = append(c.Items, shown)
	}
	return c, err
}

func (a *API) getBillingDetails(ctx context.Context, scope tenant.Scope, _ *none) (paper.Customer, error) {
	c, err := a.Invoices.Customer(ctx, scope)
	return paper.ShowCustomer(c), err
}

func (a *API) changeBillingDetails(ctx context.Context, scope tenant.Scope, in *struct {
	Body struct {
		Name       *string `json:"name,omitempty" maxLength:"200" doc:"Empty: the organisation's."`
		Address    *string `json:"address,omitempty" maxLength:"1000" doc:"May have several lines."`
		Email      *string `json:"email,omitempty" maxLength:"200"`
		Department *string `json:"department,omitempty" maxLength:"200"`
		Reference  *string `json:"reference,omitempty" maxLength:"200"`
	}
}) (paper.Customer, error) {
	c, err := a.Invoices.Customer(ctx, scope)
	if err != nil {
		return paper.Customer{}, err
	}
	for _, one := range []struct {
		given *string
		kept  *string
	}{{in.Body.Name, &c.Name}, {in.Body.Address, &c.Address}, {in.Body.Email, &c.Email}, {in.Body.Department, &c.Department}, {in.Body.Reference, &c.Reference}} {
		if one.given != nil {
			*one.kept = *one.given
		}
	}
	if err := a.Invoices.SetCustomer(ctx, scope, c); err != nil {
		return paper.Customer{}, err
	}
	return a.getBillingDetails(ctx, scope, nil)
}
