package webhooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// fanOutBatch is how many events of one tenant are turned into deliveries in
// one transaction, before the next tenant has its turn.
const fanOutBatch = 500

// runFanOut turns events into deliveries: at once when woken, else within
// pollEvery.
func (w *Webhooks) runFanOut(ctx context.Context) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		var tenants []tenant.ID
		var err error
		select {
		case <-ctx.Done():
			return
		case <-w.toFanOut.rung:
			tenants = w.toFanOut.take()
		case <-tick.C:
			tenants, err = w.behind(ctx)
		}
		for _, t := range tenants {
			var more bool
			if more, err = w.fanOut(ctx, t); more {
				w.toFanOut.ringFor(t)
			}
			if err != nil {
				break // the database is away; the poll comes back to it
			}
		}
		if err != nil && ctx.Err() == nil {
			w.log.Warn("webhook fan-out waits", "error", err)
		}
	}
}

// behind lists the tenants with events that have not been fanned out.
func (w *Webhooks) behind(ctx context.Context) ([]tenant.ID, error) {
	rows, err := w.pool.Query(ctx, `select c.tenant_id from webhook_cursor c
		join tenant_live l using (tenant_id) where l.event_seq > c.seq`)
	if err != nil {
		return nil, fmt.Errorf("couldn't look for new events: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowTo[tenant.ID])
}

// fanOut makes deliveries of the tenant's next events and moves its cursor, in
// one transaction. Since seq is gapless and given out under a row lock, the
// cursor can never pass an event that commits late. It reports whether there
// may be more to do.
func (w *Webhooks) fanOut(ctx context.Context, t tenant.ID) (more bool, err error) {
	// Most tenants have no endpoint, and each of their events rings here.
	var hooked bool
	err = w.pool.QueryRow(ctx, `select exists (select from webhook_cursor where tenant_id = $1)`, t).Scan(&hooked)
	if err != nil {
		return false, fmt.Errorf("couldn't fan out events of %s: %w", t, err)
	}
	if !hooked {
		return false, nil
	}
	made := 0
	err = pgx.BeginFunc(ctx, w.pool, func(tx pgx.Tx) error {
		var cursor int64
		err := tx.QueryRow(ctx, `select seq from webhook_cursor where tenant_id = $1 for update skip locked`, t).Scan(&cursor)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil // no endpoint yet, or another node is at it
		}
		if err != nil {
			return err
		}
		targets, err := targetsOf(ctx, tx, t)
		if err != nil {
			return err
		}
		if len(targets) == 0 {
			_, err = tx.Exec(ctx, `update webhook_cursor c set seq = l.event_seq from tenant_live l
				where c.tenant_id = $1 and l.tenant_id = $1`, t)
			return err
		}
		events, err := undelivered(ctx, tx, t, cursor)
		if err != nil || len(events) == 0 {
			return err
		}
		more = len(events) == fanOutBatch
		if made, err = insertDeliveries(ctx, tx, t, wanted(events, targets)); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `update webhook_cursor set seq = $2 where tenant_id = $1`, t, events[len(events)-1].Seq)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("couldn't fan out events of %s: %w", t, err)
	}
	if made > 0 {
		w.toClaim.ringFor(t)
	}
	return more, nil
}

// target is an enabled endpoint, as fan-out sees it.
type target struct {
	id      string
	types   []string
	prefix  string // of the channels it hears about; "": of all
	fromSeq int64
}

// wants reports whether an event goes to this endpoint. A ping goes only to
// the endpoint it was made for, which SendTest sees to.
func (e target) wants(event tenant.Event) bool {
	switch {
	case event.Seq <= e.fromSeq || event.Type == tenant.Ping:
		return false
	case event.Channel != "" && !strings.HasPrefix(event.Channel, e.prefix):
		return false
	case len(e.types) == 0:
		return event.Type != tenant.ConnectionUpdated
	}
	return slices.Contains(e.types, string(event.Type))
}

// targetsOf returns the tenant's enabled endpoints, and keeps them from being
// deleted before the transaction ends.
func targetsOf(ctx context.Context, tx pgx.Tx, t tenant.ID) ([]target, error) {
	rows, err := tx.Query(ctx, `select endpoint_id, types, channel_prefix, from_seq from webhook_endpoint
		where tenant_id = $1 and status = 'enabled' order by endpoint_id for key share`, t)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e target, err error) {
		return e, row.Scan(&e.id, &e.types, &e.prefix, &e.fromSeq)
	})
}

func undelivered(ctx context.Context, tx pgx.Tx, t tenant.ID, cursor int64) ([]tenant.Event, error) {
	rows, err := tx.Query(ctx, `select seq, event_id, type, coalesce(channel_id, ''), coalesce(connection_id, '')
		from event where tenant_id = $1 and seq > $2 order by seq limit $3`, t, cursor, fanOutBatch)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (e tenant.Event, err error) {
		return e, row.Scan(&e.Seq, &e.ID, &e.Type, &e.Channel, &e.ConnectionID)
	})
}

// line is what is delivered in order: one key at one endpoint.
type line struct{ endpoint, key string }

// orderingKey names the line of an event at each endpoint: its connection's,
// else its channel's, else one of its own.
func orderingKey(e tenant.Event) string {
	switch {
	case e.ConnectionID != "":
		return "connection/" + e.ConnectionID
	case e.Channel != "":
		return "channel/" + e.Channel
	}
	return "event/" + e.ID
}

// fresh are deliveries to be inserted, turned on their side.
type fresh struct {
	ids, endpoints, events, keys []string
	seqs                         []int64
}

// wanted pairs events with the endpoints that want them, in seq order.
func wanted(events []tenant.Event, targets []target) fresh {
	var f fresh
	for _, event := range events {
		for _, to := range targets {
			if to.wants(event) {
				f.ids = append(f.ids, "dlv_"+tenant.NewID())
				f.endpoints = append(f.endpoints, to.id)
				f.events = append(f.events, event.ID)
				f.keys = append(f.keys, orderingKey(event))
				f.seqs = append(f.seqs, event.Seq)
			}
		}
	}
	return f
}

// insertDeliveries inserts f; only the first unfinished delivery of a line is
// pending, the others wait until finish releases them. The unfinished ones are
// locked first: whoever finishes the last of a line either has done so before
// we look, or finds ours when it looks for the next.
func insertDeliveries(ctx context.Context, tx pgx.Tx, t tenant.ID, f fresh) (int, error) {
	if len(f.ids) == 0 {
		return 0, nil
	}
	rows, err := tx.Query(ctx, `select endpoint_id, ordering_key from delivery
		where tenant_id = $3 and endpoint_id = any($1) and ordering_key = any($2) and state in ('waiting', 'pending')
		order by event_seq, endpoint_id for update`, slices.Compact(slices.Sorted(slices.Values(f.endpoints))), f.keys, t)
	if err != nil {
		return 0, err
	}
	busy := map[line]bool{}
	var l line
	if _, err := pgx.ForEachRow(rows, []any{&l.endpoint, &l.key}, func() error {
		busy[l] = true
		return nil
	}); err != nil {
		return 0, err
	}
	states := make([]string, len(f.ids))
	for i := range f.ids {
		l := line{f.endpoints[i], f.keys[i]}
		states[i] = Pending
		if busy[l] {
			states[i] = Waiting
		}
		busy[l] = true
	}
	_, err = tx.Exec(ctx, `insert into delivery (delivery_id, tenant_id, endpoint_id, event_id, event_seq, ordering_key, state)
		select d.id, $1, d.endpoint, d.event, d.seq, d.key, d.state
		from unnest($2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[]) as d(id, endpoint, event, seq, key, state)`,
		t, f.ids, f.endpoints, f.events, f.seqs, f.keys, states)
	return len(f.ids), err
}
