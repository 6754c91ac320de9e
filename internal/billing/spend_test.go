package billing_test

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

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// spendBench is a bench with caps, for tenants who pay ¥10 for each started 10 minutes.
type spendBench struct {
	*bench
	spend *billing.Spend

	mu sync.Mutex
	// Guarded by mu
	subjects []string       // of mails whose transaction was committed, as far as a tx can tell: those that were posted
	texts    []string       //
	mailFail error          // what posting a mail meets
	ends     []tenant.ID    // tenants whose connections were ended
	endFail  error          // what ending meets
	reasons  map[string]int // why
}

func newSpendBench(t *testing.T) *spendBench {
	t.Helper()
	b := &spendBench{bench: newBench(t), reasons: map[string]int{}}
	b.spend = b.newSpend()
	return b
}

// newSpend is another node's.
func (b *spendBench) newSpend() *billing.Spend {
	return billing.NewSpend(billing.SpendConfig{Pool: b.pool, Ledger: b.Ledger, Plans: billing.NewPlans(b.pool), Mail: b, PublicURL: "https://hibari.test",
		Log: slog.New(slog.NewTextHandler(b.t.Output(), nil)), End: func(_ context.Context, scope tenant.Scope, why tenant.Parting) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.ends = append(b.ends, scope.Tenant())
			b.reasons[why.Reason]++
			return b.endFail
		}})
}

func (b *spendBench) MailPayers(_ context.Context, _ pgx.Tx, _ tenant.ID, _, subject, text string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mailFail != nil {
		return b.mailFail
	}
	b.subjects, b.texts = append(b.subjects, subject), append(b.texts, text)
	return nil
}

func (b *spendBench) WakePostman() {}

// payer is a tenant with metered prices.
func (b *spendBench) payer() tenant.Scope {
	b.t.Helper()
	scope := b.newTenant(10, 10)
	b.exec(`insert into tenant_plan (tenant_id, from_day, plan_id, created_by) values ($1, '2000-01-02', 'metered', 'test')`, scope.Tenant())
	return scope
}

// use has n connections of a minute each have been ago.
func (b *spendBench) use(scope tenant.Scope, n int, ago time.Duration) {
	b.t.Helper()
	b.exec(`
		with s as (
			insert into channel_session (session_id, tenant_id, channel_id, started_at, ended_at)
			select $2, $1, 'past', clock_timestamp() - $4::interval, clock_timestamp() - $4::interval returning session_id
		)
		insert into connection (connection_id, tenant_id, channel_id, session_id, node_id, role, client_id, protocol, opened_at, connected_at, metered_through, ended_at, end_reason)
		select $2 || '-' || n, $1, 'past', session_id, $5, 'sendrecv', 'c', 'sora', at, at, at, at, 'client'
		from s, generate_series(1, $3) n, (select clock_timestamp() - $4::interval as at) a`, scope.Tenant(), tenant.NewID(), n, ago, b.node)
}

// due has everybody's turn come.
func (b *spendBench) due() { b.exec(`update spend_cap set evaluated_at = null`) }

func (b *spendBench) look() {
	b.t.Helper()
	b.due()
	b.must(b.spend.Look(b.t.Context()))
}

func (b *spendBench) setCap(scope tenant.Scope, amount int64, action billing.CapAction) {
	b.t.Helper()
	_, err := b.spend.SetCap(b.t.Context(), scope, &billing.SpendCap{Amount: amount, Action: action})
	b.must(err)
}

// told returns what the tenant's usage.threshold events say, in order.
func (b *spendBench) told(scope tenant.Scope) (all []billing.SpendData) {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), `select data from event where tenant_id = $1 and type = 'usage.threshold' order by seq`, scope.Tenant())
	b.must(err)
	texts, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	b.must(err)
	for _, text := range texts {
		var d billing.SpendData
		b.must(json.Unmarshal(text, &d))
		all = append(all, d)
	}
	return all
}

func thresholdsOf(told []billing.SpendData) (all []string) {
	for _, d := range told {
		all = append(all, d.Threshold)
	}
	return all
}

// admits reports whether somebody new is let in.
func (b *spendBench) admits(scope tenant.Scope) bool {
	b.t.Helper()
	o := opening(scope, "room", tenant.SendRecv)
	_, err := b.Open(b.t.Context(), b.node, o)
	if err == nil {
		b.must(b.Close(b.t.Context(), o.ConnectionID, tenant.Ending{Reason: tenant.EndClient}))
		return true
	}
	if refusal(err) != tenant.SpendCapReached {
		b.t.Fatal(err)
	}
	return false
}

// A cap tells of its thresholds once each, refuses newcomers when it is reached, and
// lets them in again when it is raised, without waiting for a look.
func TestCapIsKept(t *testing.T) {
	b := newSpendBench(t)
	scope, other := b.payer(), b.payer()
	b.setCap(scope, 1100, billing.CapRefuse)
	told := func(want ...string) {
		t.Helper()
		if got := thresholdsOf(b.told(scope)); !slices.Equal(got, want) {
			t.Fatalf("was told of %q, want %q", got, want)
		}
	}
	b.look()
	told()
	b.use(scope, 491, time.Millisecond) // 50 packages of ¥10, and 10 % tax
	b.use(other, 5000, time.Millisecond)
	for range 3 {
		b.look()
		told("50")
	}
	d := b.told(scope)[0]
	if d.Amount != 550 || d.Decimal != "550" || d.Cap != 1100 || d.CapDecimal != "1100" || d.Currency != "JPY" || d.Action != billing.CapRefuse ||
		!d.PeriodFrom.Before(d.DataThrough) || !d.DataThrough.Before(d.PeriodTo) {
		t.Errorf("%+v", d)
	}
	if !b.admits(scope) {
		t.Fatal("refused too early")
	}
	b.use(scope, 600, time.Millisecond) // 110 packages: more than 100 % at once
	b.look()
	told("50", "80", "100")
	if b.admits(scope) || !b.admits(other) {
		t.Fatal("who has reached a cap is refused, and nobody else")
	}
	if len(b.subjects) != 2 || !strings.Contains(b.subjects[0], "50 %") || !strings.Contains(b.subjects[1], "has reached its cap") {
		t.Errorf("mails: %q", b.subjects)
	}
	for _, part := range []string{"JPY 1,210 has been spent", "cap is JPY 1,100", "https://hibari.test/console/spending", "spend_cap_reached"} {
		if !strings.Contains(b.texts[1], part) {
			t.Errorf("the mail lacks %q:\n%s", part, b.texts[1])
		}
	}
	m, err := b.spend.Month(t.Context(), scope)
	b.must(err)
	if m.Bill.Total != 1210 || m.Percent != 110 || *m.Cap != (billing.SpendCap{Amount: 1100, Currency: "JPY", Action: billing.CapRefuse}) ||
		m.CappedUntil == nil || !m.CappedUntil.Equal(m.To) || m.Plan != "Metered" || m.Forecast != nil {
		t.Errorf("%+v", m)
	}
	var alerts []string
	for _, a := range m.Alerts {
		alerts = append(alerts, fmt.Sprintf("%s of %d: %d", a.Threshold, a.Cap, a.Amount))
	}
	if want := []string{"100 of 1100: 1210", "80 of 1100: 1210", "50 of 1100: 550"}; !slices.Equal(alerts, want) {
		t.Errorf("alerts %q", alerts)
	}

	b.setCap(scope, 2200, billing.CapRefuse)
	if !b.admits(scope) {
		t.Fatal("a higher cap did not let anybody in")
	}
	b.look()
	told("50", "80", "100", "50") // of the new one
	b.setCap(scope, 1100, billing.CapRefuse)
	if b.admits(scope) {
		t.Fatal("a lower cap let somebody in")
	}
	b.setCap(scope, 1100, billing.CapAlert)
	if !b.admits(scope) {
		t.Fatal("a cap that only tells refuses")
	}
	b.look()
	told("50", "80", "100", "50") // of that one before
	b.setCap(scope, 1100, billing.CapRefuse)
	_, err = b.spend.SetCap(t.Context(), scope, nil)
	b.must(err)
	if !b.admits(scope) {
		t.Fatal("without a cap nobody comes in")
	}
	if changes := one[int](b.bench, `select count(*) from audit_entry where tenant_id = $1 and action = 'spend_cap.changed'`, scope.Tenant()); changes != 6 {
		t.Errorf("%d entries in the audit log", changes)
	}
}

// What an earlier period was told, and a cap that was reached in it, count no more.
func TestNextPeriodBeginsAnew(t *testing.T) {
	b := newSpendBench(t)
	scope := b.payer()
	b.setCap(scope, 110, billing.CapRefuse)
	b.exec(`insert into spend_alert (tenant_id, period_from, cap, currency, threshold, amount)
		select $1, '2020-01-01', 110, 'JPY', t, 110 from unnest(array['50', '80', '100']) t`, scope.Tenant())
	b.exec(`update tenant_live set spend_capped_until = clock_timestamp() - interval '1 second' where tenant_id = $1`, scope.Tenant())
	m, err := b.spend.Month(t.Context(), scope)
	b.must(err)
	if m.CappedUntil != nil || len(m.Alerts) != 0 {
		t.Errorf("%+v", m)
	}
	b.use(scope, 100, time.Millisecond)
	b.look()
	if got := thresholdsOf(b.told(scope)); !slices.Equal(got, []string{"50", "80", "100"}) || b.admits(scope) {
		t.Errorf("was told of %q", got)
	}
}

// The forecast is told once, when it reaches the cap, and is the rating of what lies
// ahead at the pace of seven days.
func TestForecastIsTold(t *testing.T) {
	b := newSpendBench(t)
	scope := b.payer()
	b.exec(`update tenant set created_at = clock_timestamp() - interval '60 days' where tenant_id = $1`, scope.Tenant())
	b.use(scope, 7000, time.Millisecond)
	m, err := b.spend.Month(t.Context(), scope)
	b.must(err)
	if m.Forecast == nil {
		t.Fatal("there is no forecast")
	}
	ahead := 7000 * 60 * int64(m.To.Sub(m.Now)/time.Microsecond) / int64(7*24*time.Hour/time.Microsecond)
	packages := (7000*60 + ahead + 599) / 600
	if want := packages*10 + packages; m.Forecast.Total < want-11 || m.Forecast.Total > want+11 { // the microseconds of reading
		t.Errorf("the forecast is %d, want %d", m.Forecast.Total, want)
	}
	limit := m.Forecast.Total * 9 / 10
	if m.Bill.Total >= limit {
		limit = m.Bill.Total + 1 // the last days of a month
	}
	b.setCap(scope, limit, billing.CapRefuse)
	for range 2 {
		b.look()
	}
	told := b.told(scope)
	last := told[len(told)-1]
	if n := len(slices.DeleteFunc(thresholdsOf(told), func(t string) bool { return t != billing.ForecastThreshold })); n != 1 ||
		last.Threshold != billing.ForecastThreshold || last.Amount < m.Forecast.Total-11 || !b.admits(scope) {
		t.Errorf("was told %+v", told)
	}
	if n := len(b.subjects); n != 1 || !strings.Contains(b.subjects[0], "going to reach") || !strings.Contains(b.texts[0], rating.Money("JPY", m.Bill.Total)) {
		t.Errorf("mails: %q %q", b.subjects, b.texts)
	}
}

// Nodes that look at once tell once.
func TestCapsOnSeveralNodes(t *testing.T) {
	b := newSpendBench(t)
	var scopes []tenant.Scope
	for range 6 {
		scope := b.payer()
		b.setCap(scope, 110, billing.CapRefuse)
		b.use(scope, 200, time.Millisecond)
		scopes = append(scopes, scope)
	}
	nodes := []*billing.Spend{b.spend, b.newSpend(), b.newSpend()}
	b.due()
	var wg sync.WaitGroup
	for _, node := range nodes {
		wg.Go(func() {
			for range 4 {
				if err := node.Look(t.Context()); err != nil {
					t.Error(err)
				}
				b.due() // in the midst of the others
			}
		})
	}
	wg.Wait()
	for _, scope := range scopes {
		if got := thresholdsOf(b.told(scope)); !slices.Equal(got, []string{"50", "80", "100"}) {
			t.Errorf("was told of %q", got)
		}
	}
	if len(b.subjects) != len(scopes) {
		t.Errorf("%d mails", len(b.subjects))
	}
	looks := int64(0)
	for _, node := range nodes {
		looks += node.Stats().Looks
	}
	b.must(b.spend.Look(t.Context())) // all are due again
	before := b.spend.Stats().Looks
	if b.must(b.spend.Look(t.Context())); b.spend.Stats().Looks != before || looks < int64(len(scopes)) {
		t.Error("somebody was looked at twice within a minute")
	}
}

// What follows from a look is done as a whole or not at all, and then by the next one.
func TestLookThatFails(t *testing.T) {
	b := newSpendBench(t)
	first, second := b.payer(), b.payer()
	for _, scope := range []tenant.Scope{first, second} {
		b.setCap(scope, 110, billing.CapEnd)
		b.use(scope, 100, time.Millisecond)
	}
	b.mailFail = errors.New("no room")
	b.due()
	if err := b.spend.Look(t.Context()); err == nil || b.spend.Stats().Failed != 2 { // one does not stop the other
		t.Fatal(err)
	}
	for _, scope := range []tenant.Scope{first, second} {
		if told := b.told(scope); len(told) != 0 || !b.admits(scope) || one[int](b.bench, `select count(*) from spend_alert where tenant_id = $1`, scope.Tenant()) != 0 {
			t.Errorf("a part of it was done: %v", told)
		}
	}
	if len(b.ends) != 0 {
		t.Error("connections were ended")
	}
	b.mailFail, b.endFail = nil, errors.New("the node does not answer")
	b.due()
	if err := b.spend.Look(t.Context()); err == nil || len(b.ends) != 2 {
		t.Fatal(err, b.ends)
	}
	b.endFail = nil
	for range 2 { // whoever came in over a node that was cut off
		b.look()
	}
	if len(b.ends) != 6 || b.reasons[tenant.EndSpendCap] != 6 {
		t.Errorf("ended %d times, %v", len(b.ends), b.reasons)
	}
	for _, scope := range []tenant.Scope{first, second} {
		if got := thresholdsOf(b.told(scope)); !slices.Equal(got, []string{"50", "80", "100"}) || b.admits(scope) {
			t.Errorf("was told of %q", got)
		}
	}
}

// Caps that make no sense are refused, and leave the one there is.
func TestWrongCaps(t *testing.T) {
	b := newSpendBench(t)
	scope := b.payer()
	b.setCap(scope, 500, billing.CapAlert)
	for field, wrong := range map[string]billing.SpendCap{
		"amount":   {Amount: 0, Action: billing.CapRefuse},
		"action":   {Amount: 5, Action: "shout"},
		"currency": {Amount: 5, Currency: "USD", Action: billing.CapRefuse},
	} {
		_, err := b.spend.SetCap(t.Context(), scope, &wrong)
		var f *tenant.FieldError
		if !errors.As(err, &f) || f.Field != field {
			t.Errorf("%+v: %v", wrong, err)
		}
	}
	if _, err := b.spend.SetCap(t.Context(), scope, &billing.SpendCap{Amount: billing.MaxSpendCap + 1, Action: billing.CapRefuse}); err == nil {
		t.Error("too large a cap was taken")
	}
	if c, err := b.spend.Cap(t.Context(), scope); err != nil || *c != (billing.SpendCap{Amount: 500, Currency: "JPY", Action: billing.CapAlert}) {
		t.Error(c, err)
	}
	if _, err := b.spend.Month(t.Context(), tenant.Scope{}); !errors.Is(err, tenant.ErrScope) {
		t.Error(err)
	}
	if _, err := b.spend.Month(t.Context(), tenant.OperatorScope("ten_NOBODY")); !errors.Is(err, tenant.ErrNotFound) {
		t.Error(err)
	}
	// A plan in another currency makes a cap useless until it is set anew.
	b.exec(`insert into plan (plan_id, name, currency, created_by) values ('dollars', 'Dollars', 'USD', 'test')`)
	b.exec(`insert into plan_version (plan_id, number, valid_from, prices, created_by)
		select 'dollars', 1, valid_from, prices || '{"currency": "USD"}', 'test' from plan_version where plan_id = 'metered'`)
	b.setCap(scope, 500, billing.CapRefuse)
	b.exec(`insert into tenant_plan (tenant_id, from_day, plan_id, created_by) values ($1, '2000-01-03', 'dollars', 'test')`, scope.Tenant())
	b.use(scope, 1000, time.Millisecond)
	b.look()
	m, err := b.spend.Month(t.Context(), scope)
	b.must(err)
	if m.Percent != 0 || len(b.told(scope)) != 0 || !b.admits(scope) || m.Bill.Currency != "USD" {
		t.Errorf("%+v", m)
	}
	b.setCap(scope, 50_000, billing.CapRefuse)
	b.look()
	if b.admits(scope) {
		t.Error("spent 1,100 dollars of 500")
	}
}

// Each threshold is reached to the unit; whoever spends more, or has a lower cap, has
// reached no less; and nobody is refused who has not spent all of a cap that refuses.
func TestReached(t *testing.T) {
	percents := map[string]int64{"50": 50, "80": 80, "100": 100}
	rapid.Check(t, func(t *rapid.T) {
		amount := rapid.Int64Range(1, billing.MaxSpendCap).Draw(t, "cap")
		near := rapid.SampledFrom([]int64{0, 50, 80, 100, 300}).Draw(t, "near")
		spent := max(0, amount/100*near+rapid.Int64Range(-100, 100).Draw(t, "off"))
		m := billing.Month{To: time.Now(), Bill: rating.Bill{Currency: "JPY", Total: spent}}
		if ahead := rapid.Int64Range(-1, 2*amount).Draw(t, "ahead"); ahead >= 0 {
			m.Forecast = &rating.Bill{Currency: "JPY", Total: spent + ahead}
		}
		limit := &billing.SpendCap{Amount: amount, Currency: "JPY", Action: rapid.SampledFrom(billing.CapActions()).Draw(t, "action")}
		got, until := billing.Reached(&m, limit)
		has := func(all []string, one string) bool { return slices.Contains(all, one) }
		for name, percent := range percents {
			if reached := spent*100 >= amount*percent; reached != has(got, name) { // cannot overflow: 10^17
				t.Fatalf("%d of %d: %q", spent, amount, got)
			}
		}
		if want := spent < amount && m.Forecast != nil && m.Forecast.Total >= amount; want != has(got, billing.ForecastThreshold) {
			t.Fatalf("%d of %d, forecast %+v: %q", spent, amount, m.Forecast, got)
		}
		if refused := until != nil; refused != (spent >= amount && limit.Action != billing.CapAlert) {
			t.Fatalf("%d of %d to %s: refused %v", spent, amount, limit.Action, refused)
		}
		lower := *limit
		lower.Amount = rapid.Int64Range(1, amount).Draw(t, "lower cap")
		less, _ := billing.Reached(&m, &lower)
		for name := range percents {
			if has(got, name) && !has(less, name) {
				t.Fatalf("%d of %d has reached %q, of %d %q", spent, amount, got, lower.Amount, less)
			}
		}
		if other, until := billing.Reached(&m, &billing.SpendCap{Amount: 1, Currency: "USD", Action: billing.CapRefuse}); other != nil || until != nil {
			t.Fatal("a cap in another currency does something")
		}
	})
}
