package invoice

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// Explanation says what a line comes from: the arithmetic stands in the line's Steps, and
// these are the connections whose use it is about. The shares of all pages are its usage,
// in every column.
type Explanation struct {
	Line     Line
	From, To time.Time      // of the use: From ≤ t < To
	Segments []SegmentShare // one page, in the order in which they connected
	Sum      rating.Usage   // of all pages, as the roll-ups have it
	Next     string         // what after is for the next page; "": this is the last
}

// SegmentShare is what one connection adds to a line.
type SegmentShare struct {
	ConnectionID string
	ChannelID    string
	Role         tenant.Role
	ConnectedAt  time.Time
	EndedAt      *time.Time // nil: it is still live
	From, To     time.Time  // the part of it that is in the line
	Usage        rating.Usage
}

// bounds are what of the use a line is about: what happened in from ≤ t < to and was
// recorded in recordedFrom ≤ t < recordedBefore.
type bounds struct {
	from, to                     time.Time
	recordedFrom, recordedBefore time.Time // a zero recordedFrom: from the beginning
}

// Explain returns which connections a line of one of the tenant's final invoices is
// about, a page at a time, after a connection. Lines that no usage went into have none.
// ErrNotFound.
func (v *Invoices) Explain(ctx context.Context, scope tenant.Scope, invoiceID string, number int, after string, limit int) (Explanation, error) {
	return v.explain(ctx, scope, invoiceID, Final, number, after, limit)
}

// ExplainAny is Explain for the operator, of any tenant's draft or final invoice.
func (v *Invoices) ExplainAny(ctx context.Context, by tenant.Authority, invoiceID string, number int, after string, limit int) (Explanation, error) {
	i, err := v.Any(ctx, by, invoiceID)
	if err != nil {
		return Explanation{}, err
	}
	return v.explain(ctx, by.Over(i.Tenant), invoiceID, "", number, after, limit)
}

func (v *Invoices) explain(ctx context.Context, scope tenant.Scope, invoiceID string, state State, number int, after string, limit int) (e Explanation, err error) {
	err = scope.In(v.Pool).Tx(ctx, func(tx pgx.Tx) error {
		i, err := v.readOne(ctx, tx, scope.Tenant(), invoiceID, state)
		if err != nil {
			return err
		}
		if number < 1 || number > len(i.Lines) {
			return ErrNotFound
		}
		e.Line = i.Lines[number-1]
		if e.Line.Kind != rating.MeteredLine && e.Line.Kind != rating.AdjustmentLine {
			return nil
		}
		b, err := readBounds(ctx, tx, &i, &e.Line)
		if err != nil {
			return err
		}
		e.From, e.To = b.from, b.to
		if e.Sum, err = v.Ledger.Slots(ctx, tx, scope.Tenant(), b.from, b.to, b.recordedFrom, b.recordedBefore); err != nil {
			return err
		}
		for e.Next = after; len(e.Segments) < limit; {
			if e.Next, err = v.explainSome(ctx, tx, scope.Tenant(), b, &e, limit); err != nil || e.Next == "" {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Explanation{}, fmt.Errorf("couldn't explain line %d of invoice %s: %w", number, invoiceID, err)
	}
	return e, nil
}

// readBounds says which use a line is about. An adjustment is about what was recorded
// since the last invoice that had anything of that month on it.
func readBounds(ctx context.Context, tx pgx.Tx, i *Invoice, l *Line) (bounds, error) {
	b := bounds{from: l.From, to: l.To, recordedBefore: i.Cutoff}
	if l.Kind != rating.AdjustmentLine {
		return b, nil
	}
	var since *time.Time
	err := tx.QueryRow(ctx, `
		select p.starts_at, p.ends_at, (
			select max(o.cutoff) from invoice_line x join invoice o using (tenant_id, invoice_id)
			where x.tenant_id = $1 and o.currency = $3 and o.cutoff < $4 and x.kind not in ('licence', 'manual')
				and coalesce(x.adjusts, o.month) = p.month)
		from billing_period p where p.tenant_id = $1 and p.month = (
			select adjusts from invoice_line where tenant_id = $1 and invoice_id = $2 and line = $5)`,
		i.Tenant, i.ID, i.Currency, i.Cutoff, l.Number).Scan(&b.from, &b.to, &since)
	if err != nil {
		return b, fmt.Errorf("couldn't read what the line adjusts: %w", err)
	}
	if since != nil {
		b.recordedFrom = *since
	}
	return b, nil
}

// explainAtOnce is how many connections are read at once.
const explainAtOnce = 500

// explainSome adds the shares of some connections after the one in e.Next. It returns
// the last one that it has looked at; "": there are no more.
func (v *Invoices) explainSome(ctx context.Context, tx pgx.Tx, id tenant.ID, b bounds, e *Explanation, limit int) (last string, err error) {
	rows, err := tx.Query(ctx, `
		select c.connection_id, c.channel_id, c.role, c.connected_at, c.ended_at, c.rolled_at,
			array(select k.at from connection_mark k where k.tenant_id = c.tenant_id and k.connection_id = c.connection_id order by k.at),
			array(select k.recorded_at from connection_mark k where k.tenant_id = c.tenant_id and k.connection_id = c.connection_id order by k.at)
		from connection c
		where c.tenant_id = $1 and c.connected_at < $3 and (c.connected_at >= $2 or c.ended_at is null or c.ended_at >= $2)
			and ($4 = '' or (c.connected_at, c.connection_id) > (select a.connected_at, a.connection_id from connection a where a.tenant_id = $1 and a.connection_id = $4))
			and ($5::timestamptz is null or c.rolled_at >= $5 or exists (
				select from connection_mark k where k.tenant_id = c.tenant_id and k.connection_id = c.connection_id and k.recorded_at >= $5))
		order by c.connected_at, c.connection_id limit $6`,
		id, b.from, b.to, e.Next, timeOrNull(b.recordedFrom), explainAtOnce)
	if err != nil {
		return "", err
	}
	parts, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p rolledParts, err error) {
		err = row.Scan(&p.ConnectionID, &p.ChannelID, &p.Role, &p.ConnectedAt, &p.EndedAt, &p.rolled, &p.at, &p.recorded)
		return p, err
	})
	if err != nil {
		return "", err
	}
	ids := make([]string, len(parts))
	for i := range parts {
		ids[i] = parts[i].ConnectionID
	}
	metered, err := v.Ledger.Metered(ctx, tx, id, ids)
	if err != nil {
		return "", err
	}
	for i := range parts {
		p := &parts[i]
		if p.in(b, metered[p.ConnectionID]); !p.Usage.IsZero() {
			e.Segments = append(e.Segments, p.SegmentShare)
		}
		if len(e.Segments) == limit {
			if i == len(parts)-1 && len(parts) < explainAtOnce {
				return "", nil
			}
			return p.ConnectionID, nil
		}
	}
	if len(parts) < explainAtOnce {
		return "", nil
	}
	return ids[len(ids)-1], nil
}

// rolledParts is a connection with when its parts were recorded: that until each mark,
// and the rest at its end.
type rolledParts struct {
	SegmentShare
	at, recorded []time.Time
	rolled       *time.Time // nil: the rest is not rolled up yet
}

// in sets the share to what of the connection lies within the bounds.
func (p *rolledParts) in(b bounds, m *billing.Metered) {
	if m == nil {
		return
	}
	from := b.from
	add := func(to, recorded time.Time) {
		to = earlier(to, b.to)
		if from.Before(to) && !recorded.Before(b.recordedFrom) && recorded.Before(b.recordedBefore) {
			u := m.Share(from, to)
			if p.Usage.IsZero() {
				p.From = later(from, p.ConnectedAt)
			}
			if !u.IsZero() {
				p.To = earlier(to, m.End)
			}
			p.Usage = p.Usage.Add(u)
		}
		from = later(from, to)
	}
	for i, at := range p.at {
		add(at, p.recorded[i])
	}
	if p.rolled != nil {
		add(b.to, *p.rolled)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// timeOrNull is null for the zero time.
func timeOrNull(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
