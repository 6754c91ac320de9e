package billing

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// PreviewLicence says what it would mean to have a licence for so many
// connections, 0 being that the licence is not renewed: when, and for how much. It
// changes nothing. A *tenant.FieldError says what is possible instead.
func (l *Ledger) PreviewLicence(ctx context.Context, scope tenant.Scope, connections int) (LicenceChange, error) {
	s, err := l.LicenceState(ctx, scope)
	if err != nil {
		return LicenceChange{}, err
	}
	return s.Change(connections)
}

// Change says what PreviewLicence says, of a licence as it was read.
func (s LicenceState) Change(connections int) (LicenceChange, error) {
	return changeOf(s.Plans, s.Current, s.Scheduled, connections, s.At)
}

// ChangeLicence changes the tenant's licence by the rules of the plan: more
// connections at once, fewer at the end of the year that is paid for, 0 being that
// it is not renewed then. What was scheduled before is dropped. seen is the ID of
// the licence that the wish was made for, and ErrLicenceChanged says that it is no
// longer the one in force, so that a form that is sent twice changes things once;
// "" does without. Other errors are PreviewLicence's.
func (l *Ledger) ChangeLicence(ctx context.Context, scope tenant.Scope, connections int, seen string) (LicenceChange, error) {
	var c LicenceChange
	err := l.withTerms(ctx, scope, func(b *terms) (err error) {
		if b.current == nil {
			return ErrNotFound
		}
		if seen != "" && seen != b.current.ID {
			return ErrLicenceChanged
		}
		if c, err = changeOf(b.plans, *b.current, b.next, connections, b.now); err != nil {
			return err
		}
		if c.Now {
			err = b.begin(ctx, &c.To)
		} else {
			err = b.schedule(ctx, &c.To)
		}
		if err != nil {
			return err
		}
		action := "licence.scheduled"
		if c.Now {
			action = "licence.changed"
		}
		return b.audit(ctx, action, c.From, c.To)
	})
	return c, err
}

// CancelLicenceChange calls off what is scheduled, so that the licence is renewed
// as it is. It fails with ErrNotFound if nothing is scheduled that the tenant asked
// for.
func (l *Ledger) CancelLicenceChange(ctx context.Context, scope tenant.Scope) error {
	return l.withTerms(ctx, scope, func(b *terms) error {
		if b.current == nil || !(LicenceState{Current: *b.current, Scheduled: b.next}).Cancellable() {
			return ErrNotFound
		}
		dropped := *b.next
		if err := b.drop(ctx); err != nil {
			return err
		}
		return b.audit(ctx, "licence.change_cancelled", dropped, *b.current)
	})
}

// LicenceGrant is what the operator sets, whatever the plan says. What is nil
// stays as it is.
type LicenceGrant struct {
	Connections *int // in all; a new custom licence from now on, in place of all that was and was scheduled
	PerChannel  *int // in one channel
	Discounts   *[]string
	Until       time.Time // of a new custom licence; zero: it stands until it is changed
}

// GrantLicence changes a tenant's licence at once, up or down, for the operator. A
// limit below what is live ends nobody: no more are let in until enough have left.
// Without Connections the licence stays of its kind, with its year and what is
// scheduled. A *tenant.FieldError says what is wrong with the grant.
func (l *Ledger) GrantLicence(ctx context.Context, scope tenant.Scope, g LicenceGrant) (LicenceTerm, error) {
	if err := g.check(); err != nil {
		return LicenceTerm{}, err
	}
	var t LicenceTerm
	err := l.withTerms(ctx, scope, func(b *terms) (err error) {
		before := LicenceTerm{}
		if b.current != nil {
			before = *b.current
		}
		if t, err = g.term(b.plans, before, b.now); err != nil {
			return err
		}
		if g.Connections != nil {
			err = b.begin(ctx, &t)
			if err == nil && !g.Until.IsZero() {
				end := endOf(t, g.Until)
				if !end.From.After(b.now) {
					return &tenant.FieldError{Field: "until", Problem: "Choose a time that is to come."}
				}
				err = b.schedule(ctx, &end)
			}
		} else {
			err = b.amend(ctx, &t)
		}
		if err != nil {
			return err
		}
		return b.audit(ctx, "licence.set", before, t)
	})
	return t, err
}

func (g LicenceGrant) check() error {
	for _, figure := range []struct {
		field string
		value *int
	}{{"connections", g.Connections}, {"per_channel", g.PerChannel}} {
		if v := figure.value; v != nil && (*v < 0 || *v > tenant.MaxLicence) {
			return &tenant.FieldError{Field: figure.field, Problem: fmt.Sprintf("Choose 0 to %d; want no less than 0 and no more.", tenant.MaxLicence)}
		}
	}
	if !g.Until.IsZero() && g.Connections == nil {
		return &tenant.FieldError{Field: "until", Problem: "Say for how many connections the licence is that ends then."}
	}
	return nil
}

// term is what the grant makes of the licence before it.
func (g LicenceGrant) term(plans *Timeline, before LicenceTerm, now time.Time) (t LicenceTerm, err error) {
	list, ok := listOf(plans.At(now))
	t = before
	t.ID, t.From, t.To = "", now, nil
	if g.PerChannel != nil {
		t.PerChannel = *g.PerChannel
	}
	if g.Discounts != nil {
		if t.Discounts, err = list.checkDiscounts(*g.Discounts); err != nil {
			return t, err
		}
	}
	if g.Connections != nil {
		t.Kind, t.Connections, t.Packs, t.PeriodFrom, t.PeriodTo = CustomLicence, *g.Connections, 0, nil, nil
	}
	t.Price = nil
	if !ok || t.Kind == TrialLicence {
		return t, nil
	}
	if size, err := list.Size(max(1, t.Connections)); err == nil && size == t.Connections {
		year, err := list.quote(size, t.Discounts)
		if err != nil {
			return t, err
		}
		t.Packs = list.Packs(size)
		t.Price = &LicencePrice{Plan: list.plan, Year: year, Charge: Quote{Currency: year.Currency}}
	}
	return t, nil
}

// SetLicence is GrantLicence for both figures and nothing else.
func (l *Ledger) SetLicence(ctx context.Context, scope tenant.Scope, connections, perChannel int) error {
	_, err := l.GrantLicence(ctx, scope, LicenceGrant{Connections: &connections, PerChannel: &perChannel})
	return err
}

// terms are a tenant's licences in a transaction that holds its tenant_live row:
// the one in force and the one after it, with nothing left that is due.
type terms struct {
	ledger  *Ledger
	tx      pgx.Tx
	scope   tenant.Scope
	now     time.Time // after the beginning of current
	plans   *Timeline
	current *LicenceTerm
	next    *LicenceTerm
}

// withTerms runs f on the tenant's licences as they are now.
func (l *Ledger) withTerms(ctx context.Context, scope tenant.Scope, f func(*terms) error) error {
	err := scope.In(l.pool).Tx(ctx, func(tx pgx.Tx) error {
		b, err := l.lockTerms(ctx, tx, scope)
		if err != nil {
			return err
		}
		return f(b)
	})
	if err != nil {
		var field *tenant.FieldError
		if errors.As(err, &field) || errors.Is(err, ErrNotFound) || errors.Is(err, ErrLicenceChanged) || errors.Is(err, tenant.ErrScope) {
			return err
		}
		return fmt.Errorf("couldn't change the licence of %s: %w", scope.Tenant(), err)
	}
	l.changed(scope.Tenant())
	return nil
}

// lockTerms takes the tenant_live row, reads the licences and applies what is due.
func (l *Ledger) lockTerms(ctx context.Context, tx pgx.Tx, scope tenant.Scope) (*terms, error) {
	now, err := lockTenant(ctx, tx, scope.Tenant())
	if err != nil {
		return nil, err
	}
	b := &terms{ledger: l, tx: tx, scope: scope, now: now}
	if b.plans, err = readTimeline(ctx, tx, scope.Tenant()); err != nil {
		return nil, err
	}
	if b.current, b.next, err = readTerms(ctx, tx, scope.Tenant()); err != nil {
		return nil, err
	}
	return b, b.applyDue(ctx)
}

// begin puts t in force from now on, in place of everything else.
func (b *terms) begin(ctx context.Context, t *LicenceTerm) error {
	if err := b.drop(ctx); err != nil {
		return err
	}
	if err := b.endCurrent(ctx, b.now); err != nil {
		return err
	}
	t.From = b.now
	if err := b.insert(ctx, t, nil, true); err != nil {
		return err
	}
	b.current = t
	return b.apply(ctx)
}

// schedule has t follow the current licence, in place of what was to follow it.
func (b *terms) schedule(ctx context.Context, t *LicenceTerm) error {
	if err := b.drop(ctx); err != nil {
		return err
	}
	if err := b.endCurrent(ctx, t.From); err != nil {
		return err
	}
	b.next = t
	return b.insert(ctx, t, nil, false)
}

// amend puts t in force from now on, which differs from the current licence in
// figures alone: what is scheduled stays, with the new channel limit and discounts.
func (b *terms) amend(ctx context.Context, t *LicenceTerm) error {
	var end *time.Time
	if b.next != nil {
		end = &b.next.From
	}
	if err := b.endCurrent(ctx, b.now); err != nil {
		return err
	}
	t.From = b.now
	if err := b.insert(ctx, t, end, true); err != nil {
		return err
	}
	b.current = t
	if b.next != nil {
		b.next.PerChannel, b.next.Discounts = t.PerChannel, t.Discounts
		if list, ok := listOf(b.plans.At(b.next.From)); ok && b.next.Kind == StandardLicence {
			year, err := list.quote(b.next.Connections, t.Discounts)
			if err != nil {
				return err
			}
			b.next.Price = &LicencePrice{Plan: list.plan, Year: year, Charge: year}
		}
		price, err := priceJSON(b.next)
		if err != nil {
			return err
		}
		if _, err := b.tx.Exec(ctx, `update licence set per_channel = $3, discounts = $4, price = $5 where tenant_id = $1 and licence_id = $2`,
			b.scope.Tenant(), b.next.ID, b.next.PerChannel, notNull(b.next.Discounts), price); err != nil {
			return err
		}
	}
	return b.apply(ctx)
}

// drop takes back what is scheduled, so that the current licence has no end.
func (b *terms) drop(ctx context.Context) error {
	if b.next == nil {
		return nil
	}
	if _, err := b.tx.Exec(ctx, `delete from licence where tenant_id = $1 and licence_id = $2 and applied_at is null`, b.scope.Tenant(), b.next.ID); err != nil {
		return err
	}
	b.next = nil
	if _, err := b.tx.Exec(ctx, `update licence set valid = tstzrange(lower(valid), null, '[)') where tenant_id = $1 and licence_id = $2`, b.scope.Tenant(), b.current.ID); err != nil {
		return err
	}
	b.current.To = nil
	return nil
}

// endCurrent has the current licence end at a moment.
func (b *terms) endCurrent(ctx context.Context, at time.Time) error {
	if b.current == nil {
		return nil
	}
	_, err := b.tx.Exec(ctx, `update licence set valid = tstzrange(lower(valid), $3, '[)') where tenant_id = $1 and licence_id = $2`,
		b.scope.Tenant(), b.current.ID, at)
	b.current.To = &at
	return err
}

// insert writes t, which begins at t.From.
func (b *terms) insert(ctx context.Context, t *LicenceTerm, to *time.Time, applied bool) error {
	price, err := priceJSON(t)
	if err != nil {
		return err
	}
	t.ID, t.To, t.CreatedBy, t.CreatedAt = "lic_"+tenant.NewID(), to, b.scope.Actor(), b.now
	_, err = b.tx.Exec(ctx, `
		insert into licence (tenant_id, licence_id, kind, connections, per_channel, packs, discounts, price, valid, period, applied_at, created_at, created_by)
		values ($1, $2, $3, $4, $5, $6, $7, $8, tstzrange($9, $10, '[)'),
			case when $11::timestamptz is not null then tstzrange($11, $12, '[)') end, case when $13 then $14::timestamptz end, $14, $15)`,
		b.scope.Tenant(), t.ID, t.Kind, t.Connections, t.PerChannel, t.Packs, notNull(t.Discounts), price, t.From, to,
		t.PeriodFrom, t.PeriodTo, applied, b.now, t.CreatedBy)
	return err
}

// apply gives admission the figures of the current licence, and tells of a threshold
// that is reached so.
func (b *terms) apply(ctx context.Context) error {
	return b.ledger.Relicense(ctx, b.tx, b.scope.Tenant(), b.current.Connections, b.current.PerChannel)
}

// audit writes down that one licence took, or will take, the place of another.
func (b *terms) audit(ctx context.Context, action string, from, to LicenceTerm) error {
	return tenant.Audit(ctx, b.tx, b.scope, action, to.ID, tenant.Diff{
		"kind":        {from.Kind, to.Kind},
		"connections": {from.Connections, to.Connections},
		"per_channel": {from.PerChannel, to.PerChannel},
		"discounts":   {notNull(from.Discounts), notNull(to.Discounts)},
		"valid_from":  {from.From, to.From},
	})
}

func priceJSON(t *LicenceTerm) ([]byte, error) {
	if t.Price == nil {
		return nil, nil
	}
	return json.Marshal(t.Price)
}

// notNull is for columns that have an empty list and no null.
func notNull(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
