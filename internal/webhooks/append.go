package webhooks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hibari/hibari/internal/tenant"
)

// Append writes events in the caller's transaction, in the order given, and
// numbers them: seq is the tenant's next, without gaps, because the tenant_live
// row stays locked until the caller commits; connection_seq is the connection's
// next when the connection has a row. ID and Timestamp are filled in if empty. The
// events given are not changed.
//
// A ConnectionSeq that is given counts: whoever gives one has written it as the
// connection's event_count, and gives one to all of the call's events about that
// connection. So does a Seq, if all of a tenant's events have one, and a ConnectionSeq
// or no connection: whoever gives it writes event_seq in the same transaction.
//
// It locks tenant_live rows (in the order of tenant ids), then connection rows,
// and touches nothing of the endpoints. After the commit call Wake.
func (w *Webhooks) Append(ctx context.Context, tx pgx.Tx, events ...tenant.Event) error {
	batch := &pgx.Batch{}
	if err := w.Queue(batch, events...); err != nil {
		return err
	}
	if err := tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("couldn't write events: %w", err)
	}
	return nil
}

// Queue is Append for a caller with a batch of its own: the events are written when
// that is sent, which must be in a transaction.
func (w *Webhooks) Queue(batch *pgx.Batch, events ...tenant.Event) error {
	byTenant := map[tenant.ID][]tenant.Event{}
	var tenants []tenant.ID
	for _, e := range events {
		if byTenant[e.Tenant] == nil {
			tenants = append(tenants, e.Tenant)
		}
		byTenant[e.Tenant] = append(byTenant[e.Tenant], e)
	}
	slices.Sort(tenants)
	for _, t := range tenants {
		if err := queueFor(batch, t, byTenant[t]); err != nil {
			return fmt.Errorf("couldn't write events of %s: %w", t, err)
		}
	}
	return nil
}

// columns are events turned on their side, as unnest takes them.
type columns struct {
	ids, types, channels, connections, data []string
	at                                      []*time.Time
	nth                                     []int32 // of its connection, in this call
	given                                   []int32 // its connection_seq; 0: none was given
	seqs                                    []int64 // the same of seq
	count                                   map[string]int32
}

func columnsOf(events []tenant.Event) (columns, error) {
	c := columns{count: map[string]int32{}}
	for _, e := range events {
		data, err := storable(e.Data)
		if err != nil {
			return c, fmt.Errorf("couldn't read the data of a %s event: %w", e.Type, err)
		}
		id := e.ID
		if id == "" {
			id = "evt_" + tenant.NewID()
		}
		var at *time.Time
		if !e.Timestamp.IsZero() {
			at = &e.Timestamp
		}
		connection := cleanText(e.ConnectionID)
		if e.ConnectionSeq == 0 {
			c.count[connection]++
		}
		c.ids = append(c.ids, id)
		c.types = append(c.types, string(e.Type))
		c.channels = append(c.channels, cleanText(e.Channel))
		c.connections = append(c.connections, connection)
		c.data = append(c.data, string(data))
		c.at = append(c.at, at)
		c.nth = append(c.nth, c.count[connection])
		c.given = append(c.given, int32(e.ConnectionSeq))
		c.seqs = append(c.seqs, e.Seq)
	}
	delete(c.count, "")
	return c, nil
}

func queueFor(batch *pgx.Batch, t tenant.ID, events []tenant.Event) error {
	c, err := columnsOf(events)
	if err != nil {
		return err
	}
	if numbered(events) {
		batch.Queue(`
			insert into event (tenant_id, seq, event_id, type, occurred_at, channel_id, connection_id, connection_seq, data)
			select $1, e.seq, e.event_id, e.type, coalesce(e.at, clock_timestamp()),
				nullif(e.channel_id, ''), nullif(e.connection_id, ''), nullif(e.given, 0), e.data::jsonb
			from unnest($2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::text[], $7::text[], $8::int[], $9::text[])
				as e(seq, event_id, type, at, channel_id, connection_id, given, data)`,
			t, c.seqs, c.ids, c.types, c.at, c.channels, c.connections, c.given, c.data)
		return nil
	}
	var counted []string
	var counts []int32
	for connection, n := range c.count {
		counted = append(counted, connection)
		counts = append(counts, n)
	}
	// Two statements, so that tenant_live is surely locked before any connection
	// row; one round trip, since every connect waits for it.
	batch.Queue(`update tenant_live set event_seq = event_seq + $2 where tenant_id = $1`, t, len(events)).Exec(func(tag pgconn.CommandTag) error {
		if tag.RowsAffected() == 0 {
			return fmt.Errorf("tenant %s: %w", t, ErrNotFound)
		}
		return nil
	})
	batch.Queue(`
		with told as (
			update connection c set event_count = c.event_count + k.n
			from unnest($2::text[], $3::int[]) as k(connection_id, n)
			where c.tenant_id = $1 and c.connection_id = k.connection_id
			returning c.connection_id, c.event_count - k.n as base)
		insert into event (tenant_id, seq, event_id, type, occurred_at, channel_id, connection_id, connection_seq, data)
		select $1, live.event_seq - cardinality($4::text[]) + e.nr, e.event_id, e.type, coalesce(e.at, clock_timestamp()),
			nullif(e.channel_id, ''), nullif(e.connection_id, ''), coalesce(nullif(e.given, 0), told.base + e.nth), e.data::jsonb
		from tenant_live live
		cross join unnest($4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[], $9::int[], $10::int[], $11::text[])
			with ordinality as e(event_id, type, at, channel_id, connection_id, nth, given, data, nr)
		left join told on told.connection_id = e.connection_id
		where live.tenant_id = $1
		order by e.nr`,
		t, counted, counts, c.ids, c.types, c.at, c.channels, c.connections, c.nth, c.given, c.data)
	return nil
}

// numbered reports whether the caller has numbered all events.
func numbered(events []tenant.Event) bool {
	return !slices.ContainsFunc(events, func(e tenant.Event) bool {
		return e.Seq == 0 || e.ConnectionSeq == 0 && e.ConnectionID != ""
	})
}

// storable returns data in a form that jsonb takes. Metadata comes from
// strangers, and Postgres refuses some legal JSON (NUL characters, lone
// surrogates, numbers without bounds); such a thing must not stop a connect.
func storable(data json.RawMessage) (json.RawMessage, error) {
	if len(data) == 0 {
		return json.RawMessage("{}"), nil
	}
	if harmless(data) && json.Valid(data) { // nearly all: taking them apart costs a crowd dear
		return data, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	return json.Marshal(storableValue(value))
}

// harmless reports whether JSON, if that is what it is, has nothing that jsonb could
// refuse: escapes of characters by their number, broken UTF-8, numbers with an exponent
// or of many digits.
func harmless(data []byte) bool {
	digits := 0
	for i, c := range data {
		switch {
		case '0' <= c && c <= '9':
			if digits++; digits > 20 {
				return false
			}
			continue
		case (c == 'e' || c == 'E') && digits > 0, c == 'u' && i > 0 && data[i-1] == '\\':
			return false
		}
		digits = 0
	}
	return utf8.Valid(data)
}

func storableValue(value any) any {
	switch v := value.(type) {
	case string:
		return cleanText(v)
	case json.Number:
		return storableNumber(v)
	case []any:
		for i := range v {
			v[i] = storableValue(v[i])
		}
		return v
	case map[string]any:
		cleaned := make(map[string]any, len(v))
		for key, of := range v {
			cleaned[cleanText(key)] = storableValue(of)
		}
		return cleaned
	}
	return value
}

// storableNumber keeps a number that Postgres might refuse as text.
func storableNumber(n json.Number) any {
	f, err := strconv.ParseFloat(n.String(), 64)
	mantissa, _, _ := strings.Cut(strings.ToLower(n.String()), "e")
	vanished := f == 0 && strings.ContainsAny(mantissa, "123456789")
	if err != nil || vanished || len(n) > 64 {
		return n.String()
	}
	return n
}

// cleanText replaces what a Postgres text cannot hold.
func cleanText(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
