package invoice_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations/dbtest"
)

// purse is a tenant with prepaid credit, and documents that it is used for.
type purse struct {
	*invoice.Credit
	pool  *pgxpool.Pool
	id    tenant.ID
	scope tenant.Scope
	n     int // documents so far
}

// fatal is of *testing.T and *rapid.T.
type fatal interface {
	Helper()
	Fatalf(format string, args ...any)
}

func newPurse(t fatal, pool *pgxpool.Pool) *purse {
	t.Helper()
	id := tenant.ID("ten_" + tenant.NewID())
	p := &purse{Credit: invoice.NewCredit(pool, slog.New(slog.DiscardHandler)), pool: pool, id: id, scope: tenant.OperatorScope(id)}
	p.exec(t, pool, `insert into tenant (tenant_id, name, time_zone) values ($1, 'Purse', 'UTC')`, id)
	return p
}

func (p *purse) exec(t fatal, db tenant.Execer, sql string, args ...any) {
	t.Helper()
	if _, err := db.Exec(context.Background(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// document makes an invoice, a draft with nothing in it.
func (p *purse) document(t fatal) (id string) {
	t.Helper()
	p.n++
	id = "inv_" + tenant.NewID()
	month := time.Date(2000, time.Month(p.n), 1, 0, 0, 0, 0, time.UTC)
	p.exec(t, p.pool, `insert into billing_period (tenant_id, month, starts_at, ends_at, time_zone, cutoff, usage)
		values ($1, $2, $2::date::timestamp at time zone 'UTC', ($2::date + interval '1 month')::timestamp at time zone 'UTC', 'UTC', clock_timestamp(), '{}')`, p.id, month)
	p.exec(t, p.pool, `insert into invoice (tenant_id, invoice_id, month, currency, cutoff, statement, taxes, subtotal, tax, total, review_until)
		values ($1, $2, $3, 'JPY', clock_timestamp(), '{}', '[]', 0, 0, 0, clock_timestamp())`, p.id, id, month)
	return id
}

// note makes a credit note that corrects an invoice by an amount.
func (p *purse) note(t fatal, amount int64) (id string) {
	t.Helper()
	of := p.document(t)
	id = "crn_" + tenant.NewID()
	err := pgx.BeginFunc(context.Background(), p.pool, func(tx pgx.Tx) error {
		p.exec(t, tx, `update issuer set next_credit_note = next_credit_note + 1`)
		p.exec(t, tx, `insert into credit_note (tenant_id, credit_note_id, invoice_id, currency, reason, taxes, subtotal, tax, total, to_credit,
				issuer_id, sequence, number, issuer, customer, issued_on, issued_by)
			select $1, $2, $3, 'JPY', 'test', '[]', $4, 0, $4, true, issuer_id, next_credit_note - 1, (next_credit_note - 1)::text, '{}', '{}', '2026-01-01', 'test'
			from issuer`, p.id, id, of, amount)
		return nil
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return id
}

func (p *purse) give(t fatal, kind invoice.GrantKind, amount int64, ends time.Duration) invoice.Grant {
	t.Helper()
	n := invoice.NewGrant{Kind: kind, Currency: "JPY", Amount: amount, Reason: "test"}
	if ends != 0 {
		at := time.Now().Add(ends)
		n.ExpiresAt = &at
	}
	g, err := p.Grant(context.Background(), tenant.CommandLine(), p.id, n)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return g
}

func (p *purse) pay(t fatal, id string, amount int64) (applied int64) {
	t.Helper()
	err := pgx.BeginFunc(context.Background(), p.pool, func(tx pgx.Tx) (err error) {
		applied, err = p.Apply(context.Background(), tx, p.id, id, "JPY", amount)
		return err
	})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return applied
}

// left says what is left of each grant, in the order of their use.
func (p *purse) left(t fatal) (amounts []int64) {
	t.Helper()
	balances, err := p.Balances(context.Background(), p.scope)
	if err != nil {
		t.Fatalf("%v", err)
	}
	for _, b := range balances {
		sum := int64(0)
		for _, g := range b.Grants {
			amounts, sum = append(amounts, g.Remaining), sum+g.Remaining
		}
		if sum != b.Amount {
			t.Fatalf("a balance of %d is of grants with %d", b.Amount, sum)
		}
	}
	return amounts
}

// TestCreditIsUsedInOrder: what ends first, then what was a present, then what was paid.
func TestCreditIsUsedInOrder(t *testing.T) {
	p := newPurse(t, dbtest.New(t))
	p.give(t, invoice.PaidCredit, 100, 0)
	p.give(t, invoice.PromotionalCredit, 50, 0)
	p.give(t, invoice.PaidCredit, 30, 48*time.Hour)
	p.give(t, invoice.PromotionalCredit, 20, 24*time.Hour)
	if got, want := p.left(t), []int64{20, 30, 50, 100}; !slices.Equal(got, want) {
		t.Fatalf("%v are left, want %v", got, want)
	}
	first := p.document(t)
	if got := p.pay(t, first, 60); got != 60 {
		t.Errorf("%d were used", got)
	}
	if got, want := p.left(t), []int64{40, 100}; !slices.Equal(got, want) {
		t.Errorf("%v are left, want %v", got, want)
	}
	if got := p.pay(t, first, 60); got != 60 {
		t.Errorf("asked again it says %d", got)
	}
	if got := p.pay(t, p.document(t), 1000); got != 140 {
		t.Errorf("%d were used, want the rest", got)
	}
	if got := p.pay(t, p.document(t), 1000); got != 0 {
		t.Errorf("%d were used of nothing", got)
	}
	note := p.note(t, 7)
	for range 2 {
		err := pgx.BeginFunc(t.Context(), p.pool, func(tx pgx.Tx) error { return p.Note(t.Context(), tx, p.id, note, "JPY", 7) })
		if err != nil {
			t.Fatal(err)
		}
	}
	if got, want := p.left(t), []int64{7}; !slices.Equal(got, want) {
		t.Errorf("%v are left, want %v", got, want)
	}
	all, err := p.Transactions(t.Context(), p.scope, 0, 100)
	if err != nil {
		t.Fatal(err)
	}
	var amounts []int64
	for i, x := range all {
		sum := int64(0)
		for _, e := range x.Entries {
			sum += e.Amount
		}
		if sum != 0 || i > 0 && x.Number >= all[i-1].Number {
			t.Errorf("transaction %+v", x)
		}
		amounts = append(amounts, x.Amount)
	}
	if want := []int64{7, -140, -60, 20, 30, 50, 100}; !slices.Equal(amounts, want) {
		t.Errorf("transactions of %v, want %v", amounts, want)
	}
	if page, err := p.Transactions(t.Context(), p.scope, all[1].Number, 2); err != nil || len(page) != 2 || page[0].ID != all[2].ID || len(page[0].Entries) != len(all[2].Entries) {
		t.Errorf("a page of %+v, %v", page, err)
	}
}

// TestCreditRefusals: what cannot be granted is refused by name, and nothing is written.
func TestCreditRefusals(t *testing.T) {
	p := newPurse(t, dbtest.New(t))
	past := time.Now().Add(-time.Hour)
	good := invoice.NewGrant{Kind: invoice.PaidCredit, Currency: "JPY", Amount: 1, Reason: "why"}
	for field, spoil := range map[string]func(*invoice.NewGrant){
		"kind":       func(n *invoice.NewGrant) { n.Kind = invoice.CreditNoteCredit },
		"currency":   func(n *invoice.NewGrant) { n.Currency = "XXX" },
		"amount":     func(n *invoice.NewGrant) { n.Amount = 0 },
		"reason":     func(n *invoice.NewGrant) { n.Reason = " " },
		"expires_at": func(n *invoice.NewGrant) { n.ExpiresAt = &past },
	} {
		n := good
		spoil(&n)
		var refused *tenant.FieldError
		if _, err := p.Grant(t.Context(), tenant.CommandLine(), p.id, n); !errors.As(err, &refused) || refused.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	if _, err := p.Grant(t.Context(), tenant.CommandLine(), "ten_none", good); !errors.Is(err, billing.ErrNotFound) {
		t.Errorf("for nobody: %v", err)
	}
	if _, err := p.Grant(t.Context(), tenant.Authority{}, p.id, good); !errors.Is(err, tenant.ErrScope) {
		t.Errorf("by nobody: %v", err)
	}
	g := p.give(t, invoice.PaidCredit, 5, 0)
	if err := p.Withdraw(t.Context(), tenant.CommandLine(), p.id, g.ID, "a mistake"); err != nil {
		t.Error(err)
	}
	if err := p.Withdraw(t.Context(), tenant.CommandLine(), p.id, g.ID, "again"); !errors.Is(err, invoice.ErrNoGrant) {
		t.Errorf("again: %v", err)
	}
	if left := p.left(t); len(left) > 0 {
		t.Errorf("%v are left", left)
	}
}

// TestCreditLedgerStands: the database refuses whatever would make the ledger untrue.
func TestCreditLedgerStands(t *testing.T) {
	p := newPurse(t, dbtest.New(t))
	g := p.give(t, invoice.PaidCredit, 100, 0)
	all, err := p.Transactions(t.Context(), p.scope, 0, 1)
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	const begin = `insert into credit_transaction (tenant_id, transaction_id, kind, currency, actor, reason) values ($1, 'crt_x', 'withdrawal', 'JPY', 'test', 'test')`
	for name, statements := range map[string][]string{
		"entries that do not sum to zero": {begin,
			`insert into credit_entry values ($1, 'crt_x', $2, 'customer', 'JPY', -10)`, `insert into credit_entry values ($1, 'crt_x', $2, 'paid', 'JPY', 9)`,
			`update credit_grant set remaining = remaining - 10 where tenant_id = $1 and grant_id = $2`},
		"a transaction without entries":   {begin},
		"entries that the grant does not": {begin, `insert into credit_entry values ($1, 'crt_x', $2, 'customer', 'JPY', -10)`, `insert into credit_entry values ($1, 'crt_x', $2, 'paid', 'JPY', 10)`},
		"another currency":                {begin, `insert into credit_entry values ($1, 'crt_x', $2, 'customer', 'USD', -10)`},
		"more to a transaction from before": {
			`insert into credit_entry select $1, transaction_id, $2, 'expired', 'JPY', 1 from credit_transaction where tenant_id = $1`},
		"another amount left": {`update credit_grant set remaining = 50 where tenant_id = $1 and grant_id = $2`},
		"less than nothing":   {`update credit_grant set remaining = -1 where tenant_id = $1 and grant_id = $2`},
		"another amount":      {`update credit_grant set amount = 200 where tenant_id = $1 and grant_id = $2`},
		"a longer life":       {`update credit_grant set expires_at = 'infinity' where tenant_id = $1 and grant_id = $2`},
		"a grant from nowhere": {
			`insert into credit_grant (tenant_id, grant_id, kind, currency, amount, remaining, reason, granted_by) values ($1, $2 || 'x', 'paid', 'JPY', 5, 5, 'x', 'x')`},
		"an entry changed":      {`update credit_entry set amount = amount where tenant_id = $1 and grant_id = $2`},
		"an entry deleted":      {`delete from credit_entry where tenant_id = $1 and grant_id = $2`},
		"a transaction deleted": {`delete from credit_transaction where tenant_id = $1 and $2 <> ''`},
		"a grant deleted":       {`delete from credit_grant where tenant_id = $1 and grant_id = $2`},
	} {
		err := pgx.BeginFunc(t.Context(), p.pool, func(tx pgx.Tx) error {
			for _, sql := range statements {
				args := []any{p.id, g.ID}
				if sql == begin {
					args = args[:1]
				}
				if _, err := tx.Exec(t.Context(), sql, args...); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
	if got := p.left(t); !slices.Equal(got, []int64{100}) {
		t.Errorf("%v are left", got)
	}
}

// TestCreditIsNotUsedTwice: however many invoices become final at once, they share
// what there is.
func TestCreditIsNotUsedTwice(t *testing.T) {
	p := newPurse(t, dbtest.New(t))
	for range 5 {
		p.give(t, invoice.PaidCredit, 100, 0)
	}
	var ids []string
	for range 12 {
		ids = append(ids, p.document(t))
	}
	applied := make([]int64, len(ids))
	var all sync.WaitGroup
	for i, id := range ids {
		all.Go(func() { applied[i] = p.pay(t, id, 70) })
	}
	all.Wait()
	sum := int64(0)
	for _, n := range applied {
		sum += n
	}
	if sum != 500 || len(p.left(t)) > 0 {
		t.Errorf("%v were used, %v are left of 500", applied, p.left(t))
	}
}

// TestCreditMachine holds the ledger against a model through grants, uses, ends,
// withdrawals and credit notes.
func TestCreditMachine(t *testing.T) {
	url := dbtest.URL(t)
	owner, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close(context.Background())
	// So that the test can let credit end; nothing else changes a grant.
	if _, err := owner.Exec(t.Context(), `drop trigger keep on credit_grant`); err != nil {
		t.Fatal(err)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	config.ConnConfig.RuntimeParams["role"] = tenant.WorkerRole
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	type held struct {
		id        string
		remaining int64
		rank      int // of its kind
		ends      int // the order of ends; 0: none
	}
	rapid.Check(t, func(t *rapid.T) {
		p := newPurse(t, pool)
		var model []*held
		var granted, used, expired, withdrawn int64
		ends := 0
		pick := func() *held {
			if len(model) == 0 {
				t.Skip("no grants")
			}
			return rapid.SampledFrom(model).Draw(t, "grant")
		}
		t.Repeat(map[string]func(*rapid.T){
			"grant": func(t *rapid.T) {
				kind := rapid.SampledFrom([]invoice.GrantKind{invoice.PaidCredit, invoice.PromotionalCredit}).Draw(t, "kind")
				amount := rapid.Int64Range(1, 1000).Draw(t, "amount")
				h := &held{remaining: amount, rank: map[invoice.GrantKind]int{invoice.PromotionalCredit: 0, invoice.PaidCredit: 2}[kind]}
				length := time.Duration(0)
				if rapid.Bool().Draw(t, "ends") {
					ends++
					h.ends, length = ends, time.Duration(ends)*time.Hour
				}
				h.id = p.give(t, kind, amount, length).ID
				model, granted = append(model, h), granted+amount
			},
			"note": func(t *rapid.T) {
				amount := rapid.Int64Range(1, 1000).Draw(t, "amount")
				id := p.note(t, amount)
				err := pgx.BeginFunc(context.Background(), pool, func(tx pgx.Tx) error { return p.Note(context.Background(), tx, p.id, id, "JPY", amount) })
				if err != nil {
					t.Fatal(err)
				}
				model, granted = append(model, &held{remaining: amount, rank: 1}), granted+amount
			},
			"pay": func(t *rapid.T) {
				amount := rapid.Int64Range(0, 1500).Draw(t, "amount")
				got, want := p.pay(t, p.document(t), amount), int64(0)
				order := slices.Clone(model)
				slices.SortStableFunc(order, func(a, b *held) int {
					if (a.ends == 0) != (b.ends == 0) {
						return b.ends - a.ends
					}
					return (a.ends-b.ends)*10 + a.rank - b.rank
				})
				for _, h := range order {
					part := min(h.remaining, amount-want)
					h.remaining, want = h.remaining-part, want+part
				}
				if used += got; got != want {
					t.Fatalf("%d were used, want %d", got, want)
				}
			},
			"withdraw": func(t *rapid.T) {
				h := pick()
				if h.id == "" {
					t.Skip("a credit note's")
				}
				err := p.Withdraw(context.Background(), tenant.CommandLine(), p.id, h.id, "test")
				if (err == nil) != (h.remaining > 0) {
					t.Fatalf("%v with %d left", err, h.remaining)
				}
				withdrawn, h.remaining = withdrawn+h.remaining, 0
			},
			"end": func(t *rapid.T) {
				h := pick()
				if h.ends == 0 {
					t.Skip("it does not end")
				}
				p.exec(t, pool, `update credit_grant set granted_at = '1999-01-01', expires_at = '2000-01-01' where tenant_id = $1 and grant_id = $2`, p.id, h.id)
				if n, err := p.Expire(context.Background()); err != nil || (n == 1) != (h.remaining > 0) {
					t.Fatalf("%d ended, %v, with %d left", n, err, h.remaining)
				}
				expired, h.remaining = expired+h.remaining, 0
			},
			"": func(t *rapid.T) {
				var sum, customer, fromInvoice, fromExpired int64
				err := pool.QueryRow(context.Background(), `select coalesce(sum(amount), 0)::bigint, coalesce(sum(amount) filter (where account = 'customer'), 0)::bigint,
					coalesce(sum(amount) filter (where account = 'invoice'), 0)::bigint, coalesce(sum(amount) filter (where account = 'expired'), 0)::bigint
					from credit_entry where tenant_id = $1`, p.id).Scan(&sum, &customer, &fromInvoice, &fromExpired)
				if err != nil {
					t.Fatal(err)
				}
				var want, got int64
				for _, h := range model {
					want += h.remaining
				}
				for _, n := range p.left(t) {
					got += n
				}
				if sum != 0 || customer != want || got != want || fromInvoice != used || fromExpired != expired || granted != want+used+expired+withdrawn {
					t.Fatal(fmt.Sprint("entries sum to ", sum, ", the customer has ", customer, ", is shown ", got, ", want ", want, "; used ", fromInvoice, " of ", used, ", expired ", fromExpired, " of ", expired))
				}
			},
		})
	})
}
