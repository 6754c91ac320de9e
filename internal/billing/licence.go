package billing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// Licence is how many connections a tenant has and may have at one time.
type Licence struct {
	Connections    int `json:"connections"` // now
	MaxConnections int `json:"max_connections"`
	MaxPerChannel  int `json:"max_connections_per_channel"`
}

// Licence returns the tenant's licence and how much of it is in use.
func (l *Ledger) Licence(ctx context.Context, scope tenant.Scope) (Licence, error) {
	var licence Licence
	err := scope.In(l.pool).QueryRow(ctx, `
		select connections, max_connections, max_per_channel from tenant_live where tenant_id = $1`,
		scope.Tenant()).Scan(&licence.Connections, &licence.MaxConnections, &licence.MaxPerChannel)
	if errors.Is(err, pgx.ErrNoRows) {
		return Licence{}, ErrNotFound
	}
	if err != nil {
		return Licence{}, fmt.Errorf("couldn't read the licence of %s: %w", scope.Tenant(), err)
	}
	return licence, nil
}

// Relicense changes how many connections a tenant may have at one time, in all and in
// one channel, in the caller's transaction, whose first lock it has to be: it takes the
// tenant_live row. A threshold that the tenant has reached so is told with it. OnChange's
// subscribers are the caller's to tell, when tx is committed.
func (l *Ledger) Relicense(ctx context.Context, tx pgx.Tx, id tenant.ID, connections, perChannel int) error {
	a, err := lockAccount(ctx, tx, id)
	if err != nil {
		return err
	}
	if err := a.limit(connections, perChannel); err != nil {
		return err
	}
	if err := a.save(ctx, tx); err != nil {
		return err
	}
	if events := a.tell(); len(events) > 0 {
		return l.outbox(ctx, tx, events...)
	}
	return nil
}

// explainEnd has those who were refused by a licence for no connections told why it
// is one.
func explainEnd(ctx context.Context, tx session, id tenant.ID, all []*admission) error {
	var kinds []LicenceKind // the newest first
	err := tx.QueryRow(ctx, `
		select array(select kind from licence where tenant_id = $1 and applied_at is not null order by lower(valid) desc limit 2)`, id).Scan(&kinds)
	if err != nil {
		return fmt.Errorf("couldn't read the licence of %s: %w", id, err)
	}
	why := ""
	switch {
	case len(kinds) == 2 && kinds[0] == NoLicence && kinds[1] == TrialLicence:
		why = "the trial licence has ended: choose a licence in the console, under Licence"
	case len(kinds) > 0 && kinds[0] == NoLicence:
		why = "the licence has ended: choose one in the console, under Licence"
	}
	for _, a := range all {
		var r *tenant.Refusal
		if why != "" && errors.As(a.refused, &r) && r.Code == tenant.TenantFull {
			r.Detail = why
		}
	}
	return nil
}

// LicenceKind says how a tenant came to a licence, and what becomes of it.
type LicenceKind string

// The kinds of licences.
const (
	TrialLicence    LicenceKind = "trial"    // at sign-up, for tenant.TrialLength
	StandardLicence LicenceKind = "standard" // by the plan: a year that is renewed at its end
	CustomLicence   LicenceKind = "custom"   // set by the operator, of any size
	NoLicence       LicenceKind = "none"     // for no connections: a trial or a year has ended
)

// LicenceTerm is one of a tenant's licences and when it is valid.
type LicenceTerm struct {
	ID          string        `json:"licence_id"`
	Kind        LicenceKind   `json:"kind"`
	Connections int           `json:"max_connections"`             // in all
	PerChannel  int           `json:"max_connections_per_channel"` //
	Packs       int           `json:"packs"`                       // of the plan, beside its base
	Discounts   []string      `json:"discounts"`                   // of the plan
	From        time.Time     `json:"valid_from"`
	To          *time.Time    `json:"valid_to"`    // nil: until something is changed
	PeriodFrom  *time.Time    `json:"period_from"` // standard: the year that is paid for; else nil
	PeriodTo    *time.Time    `json:"period_to"`   // and when the next one begins
	Price       *LicencePrice `json:"price"`       // nil: not by the plan
	CreatedAt   time.Time     `json:"created_at"`
	CreatedBy   string        `json:"created_by"` // Scope.Actor
}

// LicencePrice is what a licence costs by the plan, as it was quoted then.
type LicencePrice struct {
	Plan   string `json:"plan"`
	Year   Quote  `json:"year"`   // a whole year of it
	Charge Quote  `json:"charge"` // what its beginning costs: a year, more packs for the rest of one, or nothing
	Days   int    `json:"days"`   // the rest, in days; 0: a whole year, or nothing
	Of     int    `json:"of"`     // the days of the year
}

// LicenceState is a tenant's licence as it stands.
type LicenceState struct {
	Licence                // as admission reads it
	Current   LicenceTerm  `json:"current"`
	Scheduled *LicenceTerm `json:"scheduled"` // what follows it; nil: nothing else
	At        time.Time    `json:"at"`        // the database's clock when this was read
	Plans     *Timeline    `json:"-"`         // whose prices licences have
}

// PriceList returns the licences that the tenant's plan has now; nil: none to choose
// from.
func (s LicenceState) PriceList() *rating.Licence { return s.Plans.At(s.At).Licence }

// Renews reports whether the licence is renewed by itself.
func (s LicenceState) Renews() bool {
	return s.Current.Kind == StandardLicence && s.Scheduled == nil
}

// Cancellable reports whether the tenant may call off what is scheduled: what it
// asked for itself. The end of a trial, or of what the operator set, is not.
func (s LicenceState) Cancellable() bool {
	return s.Current.Kind == StandardLicence && s.Scheduled != nil
}

// LicenceState returns the tenant's licence, how much of it is in use, and what
// follows it. A change that is due is applied within licenceCheck; until then it
// is shown as scheduled.
func (l *Ledger) LicenceState(ctx context.Context, scope tenant.Scope) (LicenceState, error) {
	var s LicenceState
	rows, err := scope.In(l.pool).Query(ctx, `
		select `+termColumns+`, t.connections, t.max_connections, t.max_per_channel, clock_timestamp()
		from licence l join tenant_live t on t.tenant_id = l.tenant_id
		where l.tenant_id = $1 order by lower(l.valid) desc limit 2`, scope.Tenant()) // one statement sees one moment
	if err != nil {
		return s, fmt.Errorf("couldn't read the licence of %s: %w", scope.Tenant(), err)
	}
	current, next, err := collectTerms(rows, &s.Connections, &s.MaxConnections, &s.MaxPerChannel, &s.At)
	switch {
	case err != nil:
		return s, fmt.Errorf("couldn't read the licence of %s: %w", scope.Tenant(), err)
	case current == nil:
		return s, ErrNotFound
	}
	s.Current, s.Scheduled = *current, next
	s.Plans, err = readTimeline(ctx, scope.In(l.pool), scope.Tenant())
	return s, err
}

// LicenceHistory returns at most limit of the tenant's licences that began before
// a moment, the newest first; before the zero time starts with the newest, and
// with what is scheduled. They have neither gap nor overlap.
func (l *Ledger) LicenceHistory(ctx context.Context, scope tenant.Scope, before time.Time, limit int) ([]LicenceTerm, error) {
	rows, err := scope.In(l.pool).Query(ctx, `
		select `+termColumns+` from licence l
		where tenant_id = $1 and ($2::timestamptz is null or lower(valid) < $2)
		order by lower(valid) desc limit $3`,
		scope.Tenant(), timeOrNull(before), limit)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the licences of %s: %w", scope.Tenant(), err)
	}
	terms, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (LicenceTerm, error) {
		t, _, err := scanTerm(row)
		return t, err
	})
	if err != nil {
		return nil, fmt.Errorf("couldn't read the licences of %s: %w", scope.Tenant(), err)
	}
	return terms, nil
}

// termColumns are those of licence l.
const termColumns = `l.licence_id, l.kind, l.connections, l.per_channel, l.packs, l.discounts, lower(l.valid), upper(l.valid),
	lower(l.period), upper(l.period), l.price, l.created_at, l.created_by, l.applied_at is not null`

// scanTerm reads termColumns, and into beside what the query has after them.
func scanTerm(row pgx.CollectableRow, beside ...any) (t LicenceTerm, applied bool, err error) {
	var price []byte
	err = row.Scan(append([]any{&t.ID, &t.Kind, &t.Connections, &t.PerChannel, &t.Packs, &t.Discounts, &t.From, &t.To,
		&t.PeriodFrom, &t.PeriodTo, &price, &t.CreatedAt, &t.CreatedBy, &applied}, beside...)...)
	if err == nil && price != nil {
		err = json.Unmarshal(price, &t.Price)
	}
	return t, applied, err
}

// readTerms reads the licence that is in force and the one that is scheduled
// after it. A tenant that came here by no sign-up may have neither.
func readTerms(ctx context.Context, tx pgx.Tx, id tenant.ID) (current, next *LicenceTerm, err error) {
	rows, err := tx.Query(ctx, `select `+termColumns+` from licence l where tenant_id = $1 order by lower(valid) desc limit 2`, id)
	if err != nil {
		return nil, nil, err
	}
	return collectTerms(rows)
}

// collectTerms reads the two newest licences: one that has not been applied is what
// is scheduled.
func collectTerms(rows pgx.Rows, beside ...any) (current, next *LicenceTerm, err error) {
	_, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		t, applied, err := scanTerm(row, beside...)
		switch {
		case err != nil:
		case !applied:
			next = &t
		case current == nil:
			current = &t
		}
		return struct{}{}, err
	})
	return current, next, err
}
