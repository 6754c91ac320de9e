package invoice

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// IssueCreditNote corrects a final invoice: it takes something off its lines, never
// more than is left of one. The tax is that of the invoice on what is credited of each
// rate in all, less what earlier notes have credited: notes for all of an invoice credit
// its tax to the last unit. ErrDraft, ErrIssuer, ErrNotFound; a *tenant.FieldError says
// what is wrong with the request.
func (v *Invoices) IssueCreditNote(ctx context.Context, by tenant.Authority, invoiceID string, r CreditRequest) (CreditNote, error) {
	if by.Actor() == "" {
		return CreditNote{}, tenant.ErrScope
	}
	var note CreditNote
	err := pgx.BeginFunc(ctx, v.Pool, func(tx pgx.Tx) error {
		i, err := v.lock(ctx, tx, invoiceID)
		if err != nil {
			return err
		}
		if i.state != Final {
			return ErrDraft
		}
		lines, err := readLines(ctx, tx, i.tenant, i.id)
		if err != nil {
			return err
		}
		if note, err = r.of(lines); err != nil {
			return err
		}
		if err := v.taxNote(ctx, tx, i, lines, &note); err != nil {
			return err
		}
		if r.ToCredit && note.Total <= 0 {
			return &tenant.FieldError{Field: "to_credit", Problem: "Only what is paid back can become credit."}
		}
		if err := v.writeNote(ctx, tx, i, &note, by.Actor()); err != nil {
			return err
		}
		if note.ToCredit {
			if v.Credit == nil {
				return &tenant.FieldError{Field: "to_credit", Problem: "There is no prepaid credit here."}
			}
			if err := v.Credit.Note(ctx, tx, i.tenant, note.ID, i.currency, note.Total); err != nil {
				return err
			}
		}
		return tenant.AuditOperator(ctx, tx, by, i.tenant, "credit_note.issued", note.ID,
			map[string]any{"number": note.Number, "invoice": i.number, "total": note.Total, "currency": i.currency, "reason": note.Reason})
	})
	if err != nil {
		return CreditNote{}, fmt.Errorf("couldn't issue a credit note for %s: %w", invoiceID, err)
	}
	if v.Mail != nil {
		v.Mail.WakePostman()
	}
	return note, nil
}

// of makes a note out of what is asked for, without tax.
func (r CreditRequest) of(lines []Line) (CreditNote, error) {
	note := CreditNote{ToCredit: r.ToCredit, Reason: r.Reason}
	if err := checkText("reason", &note.Reason, maxPartyName); err != nil {
		return note, err
	}
	switch {
	case note.Reason == "":
		return note, &tenant.FieldError{Field: "reason", Problem: "Say what is corrected: the tenant will read it."}
	case len(r.Lines) == 0:
		return note, &tenant.FieldError{Field: "lines", Problem: "Choose at least one line."}
	}
	seen := map[int]bool{}
	for _, c := range r.Lines {
		if c.Line < 1 || c.Line > len(lines) || seen[c.Line] {
			return note, &tenant.FieldError{Field: "lines", Problem: fmt.Sprintf("Line %d is not on the invoice, or chosen twice.", c.Line)}
		}
		seen[c.Line] = true
		l := lines[c.Line-1]
		left := l.Amount - l.Credited
		if c.Amount == 0 || (c.Amount > 0) != (l.Amount > 0) || (c.Amount > 0 && c.Amount > left) || (c.Amount < 0 && c.Amount < left) {
			return note, &tenant.FieldError{Field: "lines", Problem: fmt.Sprintf("Of line %d there is %d left to credit.", c.Line, left)}
		}
		if strings.TrimSpace(c.Reason) == "" {
			c.Reason = note.Reason
		}
		if err := checkText("lines", &c.Reason, maxPartyName); err != nil {
			return note, err
		}
		c.Name, c.TaxPercent = l.Name, l.TaxPercent
		note.Lines = append(note.Lines, c)
	}
	return note, nil
}

// taxNote adds the tax to the note's lines.
func (v *Invoices) taxNote(ctx context.Context, tx pgx.Tx, i *locked, lines []Line, note *CreditNote) error {
	var kept []byte
	if err := tx.QueryRow(ctx, `select statement from invoice where tenant_id = $1 and invoice_id = $2`, i.tenant, i.id).Scan(&kept); err != nil {
		return err
	}
	s, err := readStatement(kept)
	if err != nil {
		return err
	}
	// Both times all credited lines as charges, by the rules of the invoice.
	bill := func(amount func(Line) int64) (rating.Bill, error) {
		parts := s.Period.Parts
		last := parts[len(parts)-1]
		last.From, last.Usage = last.To, rating.Usage{}
		of := rating.Statement{Period: s.Period}
		of.Period.Parts = []rating.Part{last}
		for _, l := range lines {
			if a := amount(l); a != 0 {
				of.Charges = append(of.Charges, rating.Charge{Kind: rating.ManualLine, Amount: a, TaxPercent: l.TaxPercent})
			}
		}
		return rating.Rate(of)
	}
	this := map[int]int64{}
	for _, c := range note.Lines {
		this[c.Line] = c.Amount
	}
	before, err := bill(func(l Line) int64 { return l.Credited })
	if err != nil {
		return err
	}
	after, err := bill(func(l Line) int64 { return l.Credited + this[l.Number] })
	if err != nil {
		return err
	}
	for _, tax := range after.Taxes {
		for _, was := range before.Taxes {
			if was.Percent == tax.Percent {
				tax.Base, tax.Amount = tax.Base-was.Base, tax.Amount-was.Amount
			}
		}
		if tax.Base != 0 || tax.Amount != 0 {
			note.Taxes = append(note.Taxes, tax)
		}
	}
	note.Subtotal, note.Tax, note.Total = after.Subtotal-before.Subtotal, after.Tax-before.Tax, after.Total-before.Total
	return nil
}

// writeNote gives the note its number and writes it.
func (v *Invoices) writeNote(ctx context.Context, tx pgx.Tx, i *locked, note *CreditNote, actor string) error {
	customer, err := readCustomer(ctx, tx, i.tenant)
	if err != nil {
		return err
	}
	issuer, sequence, err := v.nextNumber(ctx, tx, "next_credit_note")
	if err != nil {
		return err
	}
	note.ID, note.Number = "crn_"+tenant.NewID(), fmt.Sprintf("%s%06d", issuer.CreditNotePrefix, sequence)
	note.Invoice, note.InvoiceNumber, note.Currency = i.id, i.number, i.currency
	note.Issuer, note.Customer, note.IssuedAt, note.IssuedOn, note.IssuedBy = issuer, customer, i.now, day(i.now.In(i.zone)), actor
	taxes := []byte("[]")
	if len(note.Taxes) > 0 {
		if taxes, err = json.Marshal(note.Taxes); err != nil {
			return err
		}
	}
	issuerJSON, customerJSON, err := parties(issuer, customer)
	if err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue(`
		insert into credit_note (tenant_id, credit_note_id, invoice_id, currency, reason, taxes, subtotal, tax, total, to_credit,
			issuer_id, sequence, number, issuer, customer, issued_at, issued_on, issued_by)
		values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`,
		i.tenant, note.ID, i.id, i.currency, note.Reason, taxes, note.Subtotal, note.Tax, note.Total, note.ToCredit,
		issuer.ID, sequence, note.Number, issuerJSON, customerJSON, note.IssuedAt, note.IssuedOn, actor)
	for _, c := range note.Lines {
		batch.Queue(`
			insert into credit_note_line (tenant_id, credit_note_id, invoice_id, line, name, amount, tax_percent, reason)
			values ($1, $2, $3, $4, $5, $6, $7, $8)`, i.tenant, note.ID, i.id, c.Line, c.Name, c.Amount, c.TaxPercent, c.Reason)
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("couldn't write the credit note: %w", err)
	}
	if v.Mail == nil {
		return nil
	}
	return v.Mail.MailPayers(ctx, tx, i.tenant, "credit_note", "Credit note "+note.Number+" for invoice "+i.number, fmt.Sprintf(`Hello,

the credit note %s of %s corrects your invoice %s.

Reason:   %s
Credited: %s

%s/console/invoices/%s
`, note.Number, issuer.Name, i.number, note.Reason, rating.Money(i.currency, note.Total), v.PublicURL, i.id))
}

// CreditNote returns one of the tenant's credit notes. ErrNotFound.
func (v *Invoices) CreditNote(ctx context.Context, scope tenant.Scope, creditNoteID string) (CreditNote, error) {
	found, err := readNotes(ctx, scope.In(v.Pool), `where n.tenant_id = $1 and n.credit_note_id = $2`, scope.Tenant(), creditNoteID)
	if err != nil {
		return CreditNote{}, err
	}
	if len(found) == 0 {
		return CreditNote{}, ErrNotFound
	}
	return found[0], nil
}

// CreditNotes returns at most limit of the tenant's credit notes, the newest first, from
// the one after the note before on; "" starts with the newest.
func (v *Invoices) CreditNotes(ctx context.Context, scope tenant.Scope, before string, limit int) ([]CreditNote, error) {
	return readNotes(ctx, scope.In(v.Pool), `
		where n.tenant_id = $1 and ($2 = '' or (n.issued_at, n.credit_note_id) < (
			select b.issued_at, b.credit_note_id from credit_note b where b.tenant_id = $1 and b.credit_note_id = $2))
		order by n.issued_at desc, n.credit_note_id desc limit $3`, scope.Tenant(), before, limit)
}

func readNotes(ctx context.Context, db querier, where string, args ...any) ([]CreditNote, error) {
	rows, err := db.Query(ctx, `
		select n.credit_note_id, n.number, n.invoice_id, i.number, n.currency, n.reason, n.taxes, n.subtotal, n.tax, n.total, n.to_credit,
			n.issuer, n.customer, n.issued_on, n.issued_at, n.issued_by,
			(select json_agg(json_build_object('Line', l.line, 'Name', l.name, 'Amount', l.amount, 'TaxPercent', l.tax_percent, 'Reason', l.reason) order by l.line)
				from credit_note_line l where l.tenant_id = n.tenant_id and l.credit_note_id = n.credit_note_id)
		from credit_note n join invoice i using (tenant_id, invoice_id) `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("couldn't read credit notes: %w", err)
	}
	notes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (n CreditNote, err error) {
		err = row.Scan(&n.ID, &n.Number, &n.Invoice, &n.InvoiceNumber, &n.Currency, &n.Reason, &n.Taxes, &n.Subtotal, &n.Tax, &n.Total, &n.ToCredit,
			&n.Issuer, &n.Customer, &n.IssuedOn, &n.IssuedAt, &n.IssuedBy, &n.Lines)
		return n, err
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read credit notes: %w", err)
	}
	return notes, nil
}
