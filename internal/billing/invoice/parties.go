package invoice

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// What the texts of an issuer and a customer may have at most.
const (
	maxPartyName = 200  // bytes, of a line
	maxAddress   = 1000 // bytes, of an address and of a bank account, which have several lines
)

// defaultIssuer is the one issuer there is for now.
const defaultIssuer = "default"

// Issuer is who issues invoices and is paid.
type Issuer struct {
	ID               string `json:"issuer_id"`
	Name             string `json:"name"`
	Address          string `json:"address"` // may have several lines
	Email            string `json:"email"`
	Registration     string `json:"registration"` // T and 13 digits, of an issuer of Japanese qualified invoices; ""
	BankAccount      string `json:"bank_account"` // may have several lines
	InvoicePrefix    string `json:"invoice_prefix"`
	CreditNotePrefix string `json:"credit_note_prefix"`
	PayDays          int    `json:"pay_days"` // after its day of issue an invoice is due
}

// Customer is whom invoices are made out to.
type Customer struct {
	Name       string `json:"name"` // "": the tenant's
	Address    string `json:"address"`
	Email      string `json:"email"`
	Department string `json:"department"` // or a person
	Reference  string `json:"reference"`  // the customer's own, such as an order's number
}

var (
	registrationForm = regexp.MustCompile(`^T[0-9]{13}$`)
	prefixForm       = regexp.MustCompile(`^[A-Za-z0-9/_-]{0,16}$`)
)

// check says what is wrong with an issuer, by a *tenant.FieldError.
func (i *Issuer) check() error {
	i.Registration = strings.ReplaceAll(strings.TrimSpace(i.Registration), "-", "")
	for _, text := range []struct {
		field string
		value *string
		most  int
	}{{"name", &i.Name, maxPartyName}, {"address", &i.Address, maxAddress}, {"email", &i.Email, maxPartyName}, {"bank_account", &i.BankAccount, maxAddress}} {
		if err := checkText(text.field, text.value, text.most); err != nil {
			return err
		}
	}
	switch {
	case i.Name == "":
		return &tenant.FieldError{Field: "name", Problem: "Say who issues the invoices."}
	case i.Address == "":
		return &tenant.FieldError{Field: "address", Problem: "Say where the issuer is."}
	case i.Registration != "" && !registrationForm.MatchString(i.Registration):
		return &tenant.FieldError{Field: "registration", Problem: "A registration number is T and 13 digits."}
	case !prefixForm.MatchString(i.InvoicePrefix):
		return &tenant.FieldError{Field: "invoice_prefix", Problem: "Use at most 16 letters, digits and - _ /."}
	case !prefixForm.MatchString(i.CreditNotePrefix):
		return &tenant.FieldError{Field: "credit_note_prefix", Problem: "Use at most 16 letters, digits and - _ /."}
	case i.InvoicePrefix == i.CreditNotePrefix:
		return &tenant.FieldError{Field: "credit_note_prefix", Problem: "Choose another than that of invoices."}
	case i.PayDays < 0 || i.PayDays > 365:
		return &tenant.FieldError{Field: "pay_days", Problem: "Choose 0 to 365 days."}
	}
	return nil
}

// check says what is wrong with a customer, by a *tenant.FieldError.
func (c *Customer) check() error {
	for _, text := range []struct {
		field string
		value *string
		most  int
	}{{"name", &c.Name, maxPartyName}, {"address", &c.Address, maxAddress}, {"email", &c.Email, maxPartyName},
		{"department", &c.Department, maxPartyName}, {"reference", &c.Reference, maxPartyName}} {
		if err := checkText(text.field, text.value, text.most); err != nil {
			return err
		}
	}
	return nil
}

// checkText trims a text and bounds it. Only those with a lot of room have lines.
func checkText(field string, value *string, most int) error {
	text := strings.TrimSpace(strings.ReplaceAll(*value, "\r\n", "\n"))
	for line := range strings.SplitSeq(text, "\n") {
		if tenant.Printable(line, most) != line {
			return &tenant.FieldError{Field: field, Problem: fmt.Sprintf("Use at most %d bytes of printable text.", most)}
		}
	}
	if len(text) > most || most == maxPartyName && strings.Contains(text, "\n") {
		return &tenant.FieldError{Field: field, Problem: fmt.Sprintf("Use at most %d bytes of printable text.", most)}
	}
	*value = text
	return nil
}

const issuerColumns = `issuer_id, name, address, email, registration, bank_account, invoice_prefix, credit_note_prefix, pay_days`

func (i *Issuer) scan() []any {
	return []any{&i.ID, &i.Name, &i.Address, &i.Email, &i.Registration, &i.BankAccount, &i.InvoicePrefix, &i.CreditNotePrefix, &i.PayDays}
}

// Issuer returns who issues invoices. Until it is set, its Name is "".
func (v *Invoices) Issuer(ctx context.Context, by tenant.Authority) (Issuer, error) {
	if by.Actor() == "" {
		return Issuer{}, tenant.ErrScope
	}
	var i Issuer
	err := v.Pool.QueryRow(ctx, `select `+issuerColumns+` from issuer where issuer_id = $1`, defaultIssuer).Scan(i.scan()...)
	if err != nil {
		return Issuer{}, fmt.Errorf("couldn't read who issues invoices: %w", err)
	}
	return i, nil
}

// SetIssuer says who issues invoices from now on; final ones keep who issued them. A
// *tenant.FieldError says what is wrong.
func (v *Invoices) SetIssuer(ctx context.Context, by tenant.Authority, i Issuer) error {
	if by.Actor() == "" {
		return tenant.ErrScope
	}
	if err := i.check(); err != nil {
		return err
	}
	err := pgx.BeginFunc(ctx, v.Pool, func(tx pgx.Tx) error {
		var was Issuer
		if err := tx.QueryRow(ctx, `select `+issuerColumns+` from issuer where issuer_id = $1 for no key update`, defaultIssuer).Scan(was.scan()...); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `
			update issuer set name = $2, address = $3, email = $4, registration = $5, bank_account = $6, invoice_prefix = $7,
				credit_note_prefix = $8, pay_days = $9, set_at = clock_timestamp() where issuer_id = $1`,
			defaultIssuer, i.Name, i.Address, i.Email, i.Registration, i.BankAccount, i.InvoicePrefix, i.CreditNotePrefix, i.PayDays)
		if err != nil {
			return err
		}
		return tenant.AuditOperator(ctx, tx, by, "", "issuer.changed", defaultIssuer, tenant.Diff{
			"name": {was.Name, i.Name}, "address": {was.Address, i.Address}, "email": {was.Email, i.Email},
			"registration": {was.Registration, i.Registration}, "bank_account": {was.BankAccount, i.BankAccount},
			"invoice_prefix": {was.InvoicePrefix, i.InvoicePrefix}, "credit_note_prefix": {was.CreditNotePrefix, i.CreditNotePrefix},
			"pay_days": {was.PayDays, i.PayDays},
		})
	})
	if err != nil {
		return fmt.Errorf("couldn't change who issues invoices: %w", err)
	}
	return nil
}

// Customer returns whom the tenant's invoices are made out to; without a name that is
// the tenant's.
func (v *Invoices) Customer(ctx context.Context, scope tenant.Scope) (Customer, error) {
	c, err := readCustomer(ctx, scope.In(v.Pool), scope.Tenant())
	if err != nil {
		return Customer{}, fmt.Errorf("couldn't read the billing details of %s: %w", scope.Tenant(), err)
	}
	return c, nil
}

func readCustomer(ctx context.Context, db querier, id tenant.ID) (c Customer, err error) {
	err = db.QueryRow(ctx, `
		select coalesce(nullif(p.name, ''), t.name), coalesce(p.address, ''), coalesce(p.email, ''), coalesce(p.department, ''), coalesce(p.reference, '')
		from tenant t left join billing_profile p using (tenant_id) where tenant_id = $1`, id).
		Scan(&c.Name, &c.Address, &c.Email, &c.Department, &c.Reference)
	if errors.Is(err, pgx.ErrNoRows) {
		err = ErrNotFound
	}
	return c, err
}

// SetCustomer says whom the tenant's invoices are made out to from now on; final ones
// stay as they are. A *tenant.FieldError says what is wrong.
func (v *Invoices) SetCustomer(ctx context.Context, scope tenant.Scope, c Customer) error {
	if err := c.check(); err != nil {
		return err
	}
	err := scope.In(v.Pool).Tx(ctx, func(tx pgx.Tx) error {
		was, err := readCustomer(ctx, tx, scope.Tenant())
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `
			insert into billing_profile (tenant_id, name, address, email, department, reference) values ($1, $2, $3, $4, $5, $6)
			on conflict (tenant_id) do update set name = excluded.name, address = excluded.address, email = excluded.email,
				department = excluded.department, reference = excluded.reference, updated_at = clock_timestamp()`,
			scope.Tenant(), c.Name, c.Address, c.Email, c.Department, c.Reference)
		if err != nil {
			return err
		}
		return tenant.Audit(ctx, tx, scope, "billing_profile.changed", string(scope.Tenant()), tenant.Diff{
			"name": {was.Name, c.Name}, "address": {was.Address, c.Address}, "email": {was.Email, c.Email},
			"department": {was.Department, c.Department}, "reference": {was.Reference, c.Reference},
		})
	})
	if err != nil {
		return fmt.Errorf("couldn't change the billing details of %s: %w", scope.Tenant(), err)
	}
	return nil
}
