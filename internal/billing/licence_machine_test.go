package billing_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// licenceModel is what a tenant's licence should be, told in days from the model's
// beginning.
type licenceModel struct {
	b     *bench
	scope tenant.Scope

	today       int
	kind        billing.LicenceKind
	connections int
	perChannel  int
	yearEnds    int // of a standard licence
	next        *modelTerm
}

// modelTerm is what is scheduled.
type modelTerm struct {
	day         int
	kind        billing.LicenceKind
	connections int
}

// settle brings the model up to its day. Its years have 365 days; where the product's
// has 366 check puts that right.
func (m *licenceModel) settle() {
	for {
		switch {
		case m.next != nil && m.next.day <= m.today:
			m.kind, m.connections, m.yearEnds = m.next.kind, m.next.connections, m.next.day+365
			m.next = nil
		case m.next == nil && m.kind == billing.StandardLicence && m.yearEnds <= m.today:
			m.yearEnds += 365
		default:
			return
		}
	}
}

func (m *licenceModel) want(t *rapid.T) {
	connections := rapid.SampledFrom([]int{0, 300, 350, 400, 700, 1000, 1100}).Draw(t, "connections")
	possible := connections >= 300 && connections <= 1000 && connections%100 == 0
	now := true
	switch {
	case connections == 0:
		possible, now = m.kind == billing.StandardLicence, false
	case m.kind == billing.StandardLicence:
		possible, now = possible && connections != m.connections, connections > m.connections
	case m.kind == billing.CustomLicence:
		possible = possible && connections >= m.connections
	}
	change, err := m.b.ChangeLicence(m.b.t.Context(), m.scope, connections, "")
	var field *tenant.FieldError
	if (err == nil) != possible || err != nil && !errors.As(err, &field) {
		t.Fatalf("a licence for %d after %s %d: %v", connections, m.kind, m.connections, err)
	}
	if err != nil {
		return
	}
	if change.Now != now || change.To.Connections != connections {
		t.Fatalf("%+v", change)
	}
	kind := billing.StandardLicence
	if connections == 0 {
		kind = billing.NoLicence
	}
	if !now {
		m.next = &modelTerm{m.yearEnds, kind, connections}
		return
	}
	if m.kind != billing.StandardLicence {
		m.yearEnds = m.today + 365
	}
	m.kind, m.connections, m.next = kind, connections, nil
}

func (m *licenceModel) cancel(t *rapid.T) {
	possible := m.kind == billing.StandardLicence && m.next != nil
	if err := m.b.CancelLicenceChange(m.b.t.Context(), m.scope); (err == nil) != possible || err != nil && !errors.Is(err, billing.ErrNotFound) {
		t.Fatalf("after %s %d: %v", m.kind, m.connections, err)
	}
	if possible {
		m.next = nil
	}
}

func (m *licenceModel) grant(t *rapid.T) {
	var g billing.LicenceGrant
	m.perChannel = rapid.IntRange(0, 500).Draw(t, "per channel")
	g.PerChannel = &m.perChannel
	if rapid.Bool().Draw(t, "size") {
		m.kind, m.connections, m.next = billing.CustomLicence, rapid.IntRange(0, 2000).Draw(t, "connections"), nil
		g.Connections = &m.connections
		if rapid.Bool().Draw(t, "until") {
			days := rapid.IntRange(1, 100).Draw(t, "days")
			m.next = &modelTerm{m.today + days, billing.NoLicence, 0}
			g.Until = one[time.Time](m.b, `select clock_timestamp() + $1 * interval '1 day' - interval '1 hour'`, days)
		}
	}
	if _, err := m.b.GrantLicence(m.b.t.Context(), m.scope, g); err != nil {
		t.Fatal(err)
	}
}

func (m *licenceModel) wait(t *rapid.T) {
	days := rapid.SampledFrom([]int{1, 31, 100, 400, 800}).Draw(t, "days")
	m.today += days
	m.b.pass(m.scope, fmt.Sprintf("%d days", days))
	m.settle()
	if rapid.Bool().Draw(t, "nobody looks") {
		m.want(t) // has to bring it up to now itself
	}
}

func (m *licenceModel) check(t *rapid.T) {
	m.b.due()
	s, err := m.b.LicenceState(m.b.t.Context(), m.scope)
	if err != nil {
		t.Fatal(err)
	}
	if s.Current.Kind != m.kind || s.MaxConnections != m.connections || s.MaxPerChannel != m.perChannel || (s.Scheduled == nil) != (m.next == nil) {
		t.Fatalf("day %d: %s, scheduled %+v; the model has %s %d/%d, scheduled %+v", m.today, m.b.licences(m.scope), s.Scheduled, m.kind, m.connections, m.perChannel, m.next)
	}
	if m.kind == billing.StandardLicence {
		if s.At.After(*s.Current.PeriodTo) || s.At.Before(*s.Current.PeriodFrom) {
			t.Fatalf("the year is from %v to %v, and it is %v", s.Current.PeriodFrom, s.Current.PeriodTo, s.At)
		}
		m.yearEnds = m.today + int(s.Current.PeriodTo.Sub(s.At)/(24*time.Hour)) + 1
	}
	m.b.checkLicences(m.scope)
	if m.b.t.Failed() {
		t.FailNow()
	}
}

// TestLicenceIsItsModel takes random steps with a tenant's licence and with the model.
func TestLicenceIsItsModel(t *testing.T) {
	b := newBench(t)
	rapid.Check(t, func(t *rapid.T) {
		m := &licenceModel{b: b, scope: b.signUp(true), kind: billing.TrialLicence, connections: 300, perChannel: 150,
			next: &modelTerm{30, billing.NoLicence, 0}}
		t.Repeat(map[string]func(*rapid.T){
			"": m.check, "want": m.want, "want more": m.want, "cancel": m.cancel, "grant": m.grant, "wait": m.wait,
		})
	})
}
