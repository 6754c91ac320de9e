package billing_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// signUp makes a tenant as the product does: a trial, or a licence that stands.
func (b *bench) signUp(trial bool) tenant.Scope {
	b.t.Helper()
	store, err := tenant.NewStore(b.pool, []byte("0123456789abcdef0123456789abcdef"), slog.New(slog.DiscardHandler))
	b.must(err)
	made, err := store.CreateTenant(b.t.Context(), tenant.NewTenant{Name: "Lark", Email: strings.ToLower(tenant.NewID()) + "@example.com", Trial: trial})
	b.must(err)
	return tenant.OperatorScope(made.Tenant)
}

// pass moves everything about the tenant's licences into the past by so much, as
// if that time had passed.
func (b *bench) pass(scope tenant.Scope, by string) {
	b.t.Helper()
	// In one statement the new ranges would meet the old ones of their neighbours.
	b.must(pgx.BeginFunc(b.t.Context(), b.pool, func(tx pgx.Tx) error {
		rows, err := tx.Query(b.t.Context(), `select licence_id from licence where tenant_id = $1 order by lower(valid)`, scope.Tenant())
		if err != nil {
			return err
		}
		ids, err := pgx.CollectRows(rows, pgx.RowTo[string])
		for _, id := range ids {
			if err == nil {
				_, err = tx.Exec(b.t.Context(), `update licence set
					valid = tstzrange(lower(valid) - $2::interval, upper(valid) - $2::interval, '[)'),
					period = case when period is not null then tstzrange(lower(period) - $2::interval, upper(period) - $2::interval, '[)') end,
					applied_at = applied_at - $2::interval where licence_id = $1`, id, by)
			}
		}
		return err
	}))
}

// due applies what is due of all tenants.
func (b *bench) due() {
	b.t.Helper()
	_, err := b.ApplyLicences(b.t.Context())
	b.must(err)
}

func (b *bench) state(scope tenant.Scope) billing.LicenceState {
	b.t.Helper()
	s, err := b.LicenceState(b.t.Context(), scope)
	b.must(err)
	return s
}

// change changes the licence, which must be possible.
func (b *bench) change(scope tenant.Scope, connections int) billing.LicenceChange {
	b.t.Helper()
	c, err := b.ChangeLicence(b.t.Context(), scope, connections, "")
	b.must(err)
	return c
}

// impossible checks that a change is not possible, and why.
func (b *bench) impossible(scope tenant.Scope, connections int, why string) {
	b.t.Helper()
	var field *tenant.FieldError
	if _, err := b.PreviewLicence(b.t.Context(), scope, connections); !errors.As(err, &field) || !strings.Contains(field.Problem, why) {
		b.t.Errorf("a look at a licence for %d: %v, want %q", connections, err, why)
	}
	if _, err := b.ChangeLicence(b.t.Context(), scope, connections, ""); !errors.As(err, &field) || !strings.Contains(field.Problem, why) {
		b.t.Errorf("a licence for %d: %v, want %q", connections, err, why)
	}
}

// story writes the tenant's licences, oldest first: "trial 300, none 0 scheduled".
func (b *bench) licences(scope tenant.Scope) string {
	b.t.Helper()
	all, err := b.LicenceHistory(b.t.Context(), scope, time.Time{}, 100)
	b.must(err)
	var parts []string
	for i := len(all) - 1; i >= 0; i-- {
		parts = append(parts, fmt.Sprintf("%s %d/%d", all[i].Kind, all[i].Connections, all[i].PerChannel))
	}
	return strings.Join(parts, ", ")
}

// checkLicences asks the database for what must hold of all licences of a tenant
// at any moment.
func (b *bench) checkLicences(scope tenant.Scope) {
	b.t.Helper()
	for broken, sql := range map[string]string{
		"the licences have a gap or an overlap": `select count(*) from (
			select upper(valid) as finish, lead(lower(valid)) over (order by lower(valid)) as next from licence where tenant_id = $1) l where finish is distinct from next`,
		"there are licences, and none at the beginning": `select count(*) from tenant where tenant_id = $1
			and (select min(lower(valid)) from licence where tenant_id = $1) > created_at + interval '1 minute'`,
		"admission has other figures than the licence in force": `select count(*) from tenant_live t where tenant_id = $1
			and (max_connections, max_per_channel) is distinct from (
				select (connections, per_channel) from licence l where l.tenant_id = t.tenant_id and applied_at is not null order by lower(valid) desc limit 1)`,
		"more than one change is scheduled": `select greatest(count(*) - 1, 0) from licence where tenant_id = $1 and applied_at is null`,
	} {
		if n := one[int64](b, sql, scope.Tenant()); n != 0 {
			b.t.Errorf("%s (%d): %s", broken, n, b.licences(scope))
		}
	}
}

func (b *bench) wantLicences(scope tenant.Scope, want string) {
	b.t.Helper()
	if got := b.licences(scope); got != want {
		b.t.Errorf("licences:\n  %s\nwant:\n  %s", got, want)
	}
	b.checkLicences(scope)
}

// actions returns what the audit log has about the tenant's licences.
func (b *bench) actions(scope tenant.Scope) string {
	b.t.Helper()
	return one[string](b, `select coalesce(string_agg(actor || ' ' || action, ', ' order by audit_id), '') from audit_entry where tenant_id = $1 and action like 'licence.%'`, scope.Tenant())
}

// A sign-up has a trial, and when it is over nobody more is let in. Whoever is
// connected stays.
func TestTrialEnds(t *testing.T) {
	b := newBench(t)
	scope := b.signUp(true)
	b.wantLicences(scope, "trial 300/150, none 0/150")
	s := b.state(scope)
	if s.MaxConnections != 300 || s.Scheduled == nil || s.Scheduled.From.Sub(s.Current.From).Round(time.Second) != tenant.TrialLength || s.Cancellable() || s.Renews() {
		t.Errorf("%+v", s)
	}
	if err := b.CancelLicenceChange(t.Context(), scope); !errors.Is(err, billing.ErrNotFound) {
		t.Errorf("the end of a trial was called off: %v", err)
	}
	b.impossible(scope, 0, "no licence here that would be renewed")
	id := b.open(scope, "a", tenant.SendRecv)
	b.pass(scope, "29 days 23 hours")
	b.due()
	b.open(scope, "a", tenant.SendRecv)
	b.pass(scope, "1 hour")
	b.due()
	b.due() // whoever comes second finds nothing to do
	var r *tenant.Refusal
	if _, err := b.Open(t.Context(), b.node, opening(scope, "a", tenant.SendRecv)); !errors.As(err, &r) || r.Code != tenant.TenantFull || r.Max != 0 || r.Current != 2 ||
		!strings.Contains(r.Detail, "trial licence has ended") {
		t.Errorf("after the trial: %v", err)
	}
	if s := b.state(scope); s.Connections != 2 || s.Current.Kind != billing.NoLicence {
		t.Errorf("after the trial: %+v", s)
	}
	b.must(b.Close(t.Context(), id, tenant.Ending{Reason: "client"}))
	b.wantLicences(scope, "trial 300/150, none 0/150")
	if got, want := b.actions(scope), "system licence.began"; got != want {
		t.Errorf("audit log: %s, want %s", got, want)
	}
	// A licence by the plan at once, for a year.
	c := b.change(scope, 400)
	if !c.Now || c.To.Price.Charge.Total != 3_300_000 || c.To.Price.Days != 0 {
		t.Errorf("%+v, %+v", c, c.To.Price)
	}
	b.open(scope, "a", tenant.SendRecv)
	b.wantLicences(scope, "trial 300/150, none 0/150, standard 400/150")
}

// A year: more at once and for the rest of it, fewer from its end on, renewed by
// itself.
func TestLicenceYear(t *testing.T) {
	b := newBench(t)
	scope := b.signUp(true)
	b.impossible(scope, 350, "choose 400")
	b.impossible(scope, 5000, "Ask the operator for more")
	b.change(scope, 300)
	b.wantLicences(scope, "trial 300/150, standard 300/150")
	first := b.state(scope)
	if !first.Renews() || first.Current.PeriodTo == nil || !first.Current.PeriodTo.Equal(first.Current.From.UTC().AddDate(1, 0, 0)) {
		t.Errorf("%+v", first)
	}
	b.impossible(scope, 300, "the licence that you have")

	b.pass(scope, "100 days")
	c := b.change(scope, 500)
	days := int(c.To.PeriodTo.Sub(*c.To.PeriodFrom) / (24 * time.Hour))
	if p := c.To.Price; !c.Now || p.Of != days || p.Days != days-100 || p.Charge.Subtotal != (1_200_000*int64(p.Days)*2+int64(days))/(2*int64(days)) || p.Year.Total != 3_960_000 {
		t.Errorf("%+v, %+v", c, c.To.Price)
	}
	if s := b.state(scope); s.MaxConnections != 500 || !s.Current.PeriodTo.Equal(*c.From.PeriodTo) {
		t.Errorf("%+v", s)
	}

	c = b.change(scope, 400)
	if s := b.state(scope); c.Now || s.MaxConnections != 500 || !s.Cancellable() || s.Scheduled.Connections != 400 || !s.Scheduled.From.Equal(*s.Current.PeriodTo) {
		t.Errorf("%+v, %+v", c, s)
	}
	b.must(b.CancelLicenceChange(t.Context(), scope))
	if err := b.CancelLicenceChange(t.Context(), scope); !errors.Is(err, billing.ErrNotFound) {
		t.Errorf("called off twice: %v", err)
	}
	b.wantLicences(scope, "trial 300/150, standard 300/150, standard 500/150")

	b.change(scope, 0)   // not renewed …
	b.change(scope, 300) // … but smaller
	b.wantLicences(scope, "trial 300/150, standard 300/150, standard 500/150, standard 300/150")
	b.pass(scope, "266 days") // into the second year
	b.due()
	if s := b.state(scope); s.MaxConnections != 300 || s.Scheduled != nil || s.Current.Price.Charge.Total != 2_640_000 {
		t.Errorf("in the second year: %+v", s)
	}
	b.pass(scope, "2 years") // and nobody looked for two more
	b.due()
	b.wantLicences(scope, "trial 300/150, standard 300/150, standard 500/150, standard 300/150, standard 300/150, standard 300/150")
	if s := b.state(scope); s.At.Before(*s.Current.PeriodFrom) || s.At.After(*s.Current.PeriodTo) || !s.Current.PeriodFrom.Equal(s.Current.From) {
		t.Errorf("renewed: %+v", s)
	}
	b.change(scope, 0)
	b.pass(scope, "1 year 1 day")
	b.due()
	if s := b.state(scope); s.MaxConnections != 0 || s.Current.Kind != billing.NoLicence {
		t.Errorf("not renewed: %+v", s)
	}
	b.checkLicences(scope)
	if got, want := b.actions(scope), "operator licence.changed, operator licence.changed, operator licence.scheduled, operator licence.change_cancelled, "+
		"operator licence.scheduled, operator licence.scheduled, system licence.began, system licence.renewed, system licence.renewed, operator licence.scheduled, system licence.began"; got != want {
		t.Errorf("audit log:\n  %s\nwant:\n  %s", got, want)
	}
}

// What the operator grants holds at once, up or down, and what it does not touch
// stays.
func TestGrantLicence(t *testing.T) {
	b := newBench(t)
	scope := b.signUp(true)
	grant := func(g billing.LicenceGrant) { t.Helper(); _, err := b.GrantLicence(t.Context(), scope, g); b.must(err) }
	n := func(v int) *int { return &v }
	grant(billing.LicenceGrant{PerChannel: n(250), Discounts: &[]string{"case", "company"}})
	b.wantLicences(scope, "trial 300/150, trial 300/250, none 0/250")
	if c := b.change(scope, 500); c.To.Price.Charge.Total != 3_432_000 || c.To.PerChannel != 250 {
		t.Errorf("%+v, %+v", c, c.To.Price)
	}
	b.change(scope, 300)
	grant(billing.LicenceGrant{PerChannel: n(400)})
	b.wantLicences(scope, "trial 300/150, trial 300/250, standard 500/250, standard 500/400, standard 300/400")
	if s := b.state(scope); s.Current.Kind != billing.StandardLicence || s.Scheduled.Price.Year.Total != 2_112_000 || s.MaxPerChannel != 400 {
		t.Errorf("%+v", s)
	}
	grant(billing.LicenceGrant{Connections: n(7), PerChannel: n(3)})
	b.wantLicences(scope, "trial 300/150, trial 300/250, standard 500/250, standard 500/400, custom 7/3")
	if s := b.state(scope); s.Renews() || s.Current.Price != nil || s.MaxConnections != 7 {
		t.Errorf("%+v", s)
	}
	grant(billing.LicenceGrant{Connections: n(2000), Until: time.Now().AddDate(0, 1, 0)})
	b.impossible(scope, 1000, "Ask the operator for a smaller one")
	b.pass(scope, "32 days")
	b.due()
	if s := b.state(scope); s.MaxConnections != 0 || s.Current.Kind != billing.NoLicence {
		t.Errorf("%+v", s)
	}
	b.checkLicences(scope)

	var field *tenant.FieldError
	for name, g := range map[string]billing.LicenceGrant{
		"connections": {Connections: n(-1)}, "per_channel": {PerChannel: n(1 << 30)}, "discount": {Discounts: &[]string{"friend"}},
		"until": {Until: time.Now().Add(time.Hour)},
	} {
		if _, err := b.GrantLicence(t.Context(), scope, g); !errors.As(err, &field) || field.Field != name {
			t.Errorf("%+v: %v", g, err)
		}
	}
	if _, err := b.GrantLicence(t.Context(), scope, billing.LicenceGrant{Connections: n(5), Until: time.Now().Add(-time.Hour)}); !errors.As(err, &field) || field.Field != "until" {
		t.Errorf("until the past: %v", err)
	}
	b.checkLicences(scope)
}

// A form that is sent twice, or by two people, changes the licence once.
func TestLicenceChangesOnce(t *testing.T) {
	b := newBench(t)
	scope := b.signUp(true)
	seen := b.state(scope).Current.ID
	var wg sync.WaitGroup
	results := make([]error, 8)
	for i := range results {
		wg.Go(func() { _, results[i] = b.ChangeLicence(t.Context(), scope, 300+100*(i%3), seen) })
	}
	wg.Wait()
	changed := 0
	for _, err := range results {
		switch {
		case err == nil:
			changed++
		case !errors.Is(err, billing.ErrLicenceChanged):
			t.Error(err)
		}
	}
	if changed != 1 {
		t.Errorf("%d changes of one licence that was looked at", changed)
	}
	b.checkLicences(scope)
}

// Whatever happens at once on several nodes, the history has neither gap nor
// overlap, and admission has the figures of the licence in force.
func TestLicenceChurn(t *testing.T) {
	b := newBench(t)
	scope := b.signUp(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			for n := i; ctx.Err() == nil; n++ {
				var err error
				switch n % 5 {
				case 0:
					_, err = b.ChangeLicence(t.Context(), scope, 300+100*(n%8), "")
				case 1:
					err = b.CancelLicenceChange(t.Context(), scope)
				case 2:
					_, err = b.GrantLicence(t.Context(), scope, billing.LicenceGrant{PerChannel: &n})
				case 3:
					_, err = b.ApplyLicences(t.Context())
				case 4:
					_, err = b.Open(t.Context(), b.node, opening(scope, "a", tenant.SendRecv))
				}
				var field *tenant.FieldError
				var refusal *tenant.Refusal
				if err != nil && !errors.As(err, &field) && !errors.As(err, &refusal) && !errors.Is(err, billing.ErrNotFound) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.checkLicences(scope)
	b.check(scope)
}

// One tenant's licences are nobody else's.
func TestLicencesAreTheTenants(t *testing.T) {
	b := newBench(t)
	one, other := b.signUp(true), b.signUp(false)
	b.change(one, 400)
	b.wantLicences(other, "custom 300/150")
	for _, scope := range []tenant.Scope{{}, tenant.OperatorScope("ten_none")} {
		_, state := b.LicenceState(t.Context(), scope)
		_, changed := b.ChangeLicence(t.Context(), scope, 300, "")
		_, granted := b.GrantLicence(t.Context(), scope, billing.LicenceGrant{})
		for _, err := range []error{state, changed, granted, b.CancelLicenceChange(t.Context(), scope)} {
			if !errors.Is(err, tenant.ErrScope) && !errors.Is(err, billing.ErrNotFound) {
				t.Errorf("%q: %v", scope.Tenant(), err)
			}
		}
		if all, err := b.LicenceHistory(t.Context(), scope, time.Time{}, 9); len(all) > 0 || scope.Tenant() == "" && !errors.Is(err, tenant.ErrScope) {
			t.Errorf("%q: %v, %v", scope.Tenant(), all, err)
		}
	}
}

// A node waits for what comes next, and no longer.
func TestApplyLicencesSaysHowLong(t *testing.T) {
	b := newBench(t)
	scope := b.signUp(true)
	if wait, err := b.ApplyLicences(t.Context()); err != nil || wait != 10*time.Second {
		t.Errorf("%v, %v", wait, err)
	}
	b.pass(scope, "29 days 23 hours 59 minutes 58 seconds")
	if wait, err := b.ApplyLicences(t.Context()); err != nil || wait > 2*time.Second || wait < time.Millisecond {
		t.Errorf("%v, %v", wait, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var loop sync.WaitGroup
	for range 2 { // nodes
		loop.Go(func() { b.RunLicences(ctx) })
	}
	deadline := time.Now().Add(20 * time.Second)
	for b.state(scope).Current.Kind != billing.NoLicence && time.Now().Before(deadline) {
		runtime.Gosched() // each look asks the database
	}
	cancel()
	loop.Wait()
	applied := one[float64](b, `select extract(epoch from applied_at - lower(valid)) from licence where tenant_id = $1 and kind = 'none'`, scope.Tenant())
	if applied < 0 || applied > 2 {
		t.Errorf("the end of the trial was applied %v s after it", applied)
	}
}
