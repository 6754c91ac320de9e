package invoice_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/invoice"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
	"github.com/hibari/hibari/migrations/dbtest"
)

// bench is the invoices of a database of its own. Tests write what happened in months
// that are over: connections, licences, plans.
type bench struct {
	*invoice.Invoices
	t      testing.TB
	pool   *pgxpool.Pool
	ledger *billing.Ledger
	node   string
	store  *tenant.Store // whose outbox the mails go through
	mail   mailbox
}

// operator is who reviews.
var operator = tenant.CommandLine()

// mailbox is a mail server that keeps what it is handed.
type mailbox chan tenant.Message

func (m mailbox) Send(_ context.Context, message tenant.Message) error {
	m <- message
	return nil
}

func newBench(t testing.TB) *bench {
	t.Helper()
	if t, is := t.(*testing.T); is {
		t.Parallel() // each waits for its database most of the time
	}
	return newBenchOn(t, dbtest.New(t))
}

func newBenchOn(t testing.TB, pool *pgxpool.Pool) *bench {
	t.Helper()
	b := &bench{t: t, pool: pool, mail: make(mailbox, 100)}
	b.ledger = billing.NewLedger(pool, new(webhooks.Webhooks).Queue, slog.New(slog.DiscardHandler))
	store, err := tenant.NewStore(pool, make([]byte, 32), slog.New(slog.DiscardHandler))
	b.must(err)
	store.UsePost(tenant.Post{Mailer: b.mail, PublicURL: "https://hibari.example"})
	b.store = store
	b.node = "node_" + tenant.NewID()
	b.exec(`insert into node (node_id, name, instance, public_url, lease_until)
		values ($1, 'test', $1, 'https://node.example', clock_timestamp() + interval '1 hour')`, b.node)
	b.with(time.Hour)
	b.must(b.SetIssuer(t.Context(), operator, invoice.Issuer{Name: "Hibari K.K.", Address: "1-1 Marunouchi\nTokyo", Registration: "T1234567890123",
		InvoicePrefix: "INV-", CreditNotePrefix: "CN-", PayDays: 30}))
	return b
}

// with has the invoices wait so long after a period's end, and review so long.
func (b *bench) with(grace time.Duration) {
	b.Invoices = invoice.New(invoice.Config{Pool: b.pool, Ledger: b.ledger, Plans: billing.NewPlans(b.pool), Mail: b.store,
		PublicURL: "https://hibari.example", Grace: grace})
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) exec(sql string, args ...any) {
	b.t.Helper()
	if _, err := b.pool.Exec(b.t.Context(), sql, args...); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
}

// one returns the single value that a query finds.
func one[T any](b *bench, sql string, args ...any) (value T) {
	b.t.Helper()
	if err := b.pool.QueryRow(b.t.Context(), sql, args...).Scan(&value); err != nil {
		b.t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// at reads a time on a zone's clock: a day, with minutes, or with seconds.
func at(zone, text string) time.Time {
	in, err := time.LoadLocation(zone)
	if err != nil {
		panic(err)
	}
	t, err := time.ParseInLocation("2006-01-02 15:04:05"[:len(text)], text, in)
	if err != nil {
		panic(err)
	}
	return t
}

// newTenant is one that signed up at a moment of its zone.
func (b *bench) newTenant(zone, signup string) tenant.Scope {
	b.t.Helper()
	id := "ten_" + tenant.NewID()
	b.exec(`insert into tenant (tenant_id, name, time_zone, created_at) values ($1, 'Lark', $2, $3)`, id, zone, at(zone, signup))
	b.exec(`insert into tenant_live (tenant_id, max_connections, max_per_channel) values ($1, 300, 150)`, id)
	b.exec(`insert into channel_session (session_id, tenant_id, channel_id) values ($1, $1, 'room')`, id)
	for _, role := range []string{"owner", "billing", "developer"} {
		b.exec(`insert into member (member_id, tenant_id, email, password_hash, role) values ($2, $1, $3, '', $4)`, id, "mem_"+tenant.NewID(), role+"@"+id+".example", role)
	}
	return tenant.OperatorScope(tenant.ID(id))
}

// plan makes a version of a plan that holds from a day on, and the plan if need be.
func (b *bench) plan(id string, number int, from string, v rating.Version) {
	b.t.Helper()
	if v.Rule == (rating.Rule{}) {
		v.Rule = rating.StandardMinute
	}
	prices, err := json.Marshal(v)
	b.must(err)
	b.exec(`insert into plan (plan_id, name, currency, created_by) values ($1, $1, $2, 'test') on conflict do nothing`, id, v.Currency)
	b.exec(`insert into plan_version (plan_id, number, valid_from, prices, created_by) values ($1, $2, $3::text::date, $4, 'test')`, id, number, from, prices)
}

// give gives a tenant a plan from a day on.
func (b *bench) give(scope tenant.Scope, from, plan string) {
	b.t.Helper()
	b.exec(`insert into tenant_plan (tenant_id, from_day, plan_id, created_by) values ($1, $2::text::date, $3, 'test')`, scope.Tenant(), from, plan)
}

// connect is a connection that is over.
func (b *bench) connect(scope tenant.Scope, from, to time.Time, bytesOut int64) string {
	b.t.Helper()
	id := tenant.NewID()
	b.exec(`
		insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol, opened_at, connected_at,
			metered_through, ended_at, end_reason, bytes_out)
		values ($1, $2, 'room', $2, $3, 'recvonly', 'client', 'sora', $4, $4, $5, $5, 'client', $6)`,
		id, scope.Tenant(), b.node, from, to, bytesOut)
	return id
}

// licence is one that began at a moment, at a price.
func (b *bench) licence(scope tenant.Scope, from time.Time, connections int, discounts []string, price billing.LicencePrice) {
	b.t.Helper()
	text, err := json.Marshal(price)
	b.must(err)
	packs := rating.Standard().Licence.Packs(connections)
	b.exec(`
		insert into licence (tenant_id, licence_id, kind, connections, per_channel, packs, discounts, price, valid, period, applied_at, created_by)
		values ($1, $2, 'standard', $3, 150, $4, $5, $6, tstzrange($7, null), tstzrange($7, $8), $7, 'test')`,
		scope.Tenant(), "lic_"+tenant.NewID(), connections, packs, discounts, text, from, from.AddDate(1, 0, 0))
}

// closeThrough closes the tenant's periods up to and with a month, such as 2024-02.
func (b *bench) closeThrough(scope tenant.Scope, month string) {
	b.t.Helper()
	zone := one[string](b, `select time_zone from tenant where tenant_id = $1`, scope.Tenant())
	end := at(zone, month+"-01").AddDate(0, 1, 0)
	b.with(time.Since(end) - 20*time.Hour*24) // the next one ends at least 28 days later
	_, err := b.Close(b.t.Context(), scope.Tenant())
	b.must(err)
	if last := one[string](b, `select to_char(max(month), 'YYYY-MM') from billing_period where tenant_id = $1 and cutoff is not null`, scope.Tenant()); last != month {
		b.t.Fatalf("closed through %s, want %s", last, month)
	}
}

// invoice returns the tenant's invoice or draft of a month.
func (b *bench) invoice(scope tenant.Scope, month string) invoice.Invoice {
	b.t.Helper()
	id := one[string](b, `select coalesce(max(invoice_id), '') from invoice where tenant_id = $1 and month = ($2 || '-01')::date`, scope.Tenant(), month)
	if id == "" {
		b.t.Fatalf("there is no invoice for %s", month)
	}
	i, err := b.Any(b.t.Context(), operator, id)
	b.must(err)
	return i
}

// show writes an invoice down as a golden one.
func show(i invoice.Invoice) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s %s to %s\n", i.Month, i.From.In(zoneOf(i)).Format(time.DateTime), i.To.In(zoneOf(i)).Format(time.DateTime))
	for _, l := range i.Lines {
		fmt.Fprintf(&s, "%s %s %s @ %s = %s", l.Kind, l.Component, l.Quantity, l.UnitPrice, rating.Money(i.Currency, l.Amount))
		if l.Adjusts != nil {
			fmt.Fprintf(&s, " for %s", l.Adjusts.From.In(zoneOf(i)).Format("2006-01"))
		}
		s.WriteByte('\n')
	}
	for _, tax := range i.Taxes {
		fmt.Fprintf(&s, "tax %d %% of %d: %d\n", tax.Percent, tax.Base, tax.Amount)
	}
	fmt.Fprintf(&s, "total %s\n", rating.Money(i.Currency, i.Total))
	return s.String()
}

func zoneOf(i invoice.Invoice) *time.Location {
	zone, err := time.LoadLocation(i.Zone)
	if err != nil {
		panic(err)
	}
	return zone
}

// golden compares an invoice with what it must be.
func (b *bench) golden(i invoice.Invoice, want string) {
	b.t.Helper()
	if got := show(i); strings.TrimSpace(got) != strings.TrimSpace(want) {
		b.t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// wants reports whether a call failed as it must.
func (b *bench) wants(err, want error) {
	b.t.Helper()
	if !errors.Is(err, want) {
		b.t.Errorf("%v, want %v", err, want)
	}
}

func minutesOf(n int) time.Duration { return time.Duration(n) * time.Minute }

// mailed returns the addresses and subjects of so many mails that the outbox has.
func (b *bench) mailed(n int) (mails []string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), time.Minute)
	defer cancel()
	var running sync.WaitGroup
	defer running.Wait()
	posting, stop := context.WithCancel(ctx)
	defer stop()
	running.Go(func() { b.store.RunMail(posting) })
	for range n {
		select {
		case m := <-b.mail:
			to, _, _ := strings.Cut(m.To, "@")
			mails = append(mails, to+": "+m.Subject)
		case <-ctx.Done():
			b.t.Fatalf("only %q were sent", mails)
		}
	}
	slices.Sort(mails)
	return mails
}
