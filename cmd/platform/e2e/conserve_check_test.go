package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// ledgerLine is a connection as the ledger has it.
type ledgerLine struct {
	ID        string
	Count     int
	Connected *time.Time
	Ended     time.Time
	Reason    string
}

// check compares all that can be known of a tenant.
func (h *house) check() {
	t, c, ctx := h.c.t, h.c, h.c.t.Context()
	t.Helper()
	rows, err := c.pool.Query(ctx, `select event_id, type, occurred_at, tenant_id, seq, coalesce(channel_id, ''), coalesce(connection_id, ''),
		coalesce(connection_seq, 0), data from event where tenant_id = $1 order by seq`, h.account.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e tenant.Event, err error) {
		return e, row.Scan(&e.ID, &e.Type, &e.Timestamp, &e.Tenant, &e.Seq, &e.Channel, &e.ConnectionID, &e.ConnectionSeq, &e.Data)
	})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	lives := map[string][]tenant.Event{}
	for i, e := range events {
		if e.Seq != int64(i+1) {
			t.Fatalf("%s: event %d has seq %d", h.account.Tenant, i+1, e.Seq)
		}
		if ids[e.ID] {
			t.Errorf("the id %s is there twice", e.ID)
		}
		ids[e.ID] = true
		if e.ConnectionID != "" {
			lives[e.ConnectionID] = append(lives[e.ConnectionID], e)
		}
	}
	h.checkLives(lives)
	h.checkUse(events)
	// The stream.
	if len(h.stream) != len(events) {
		t.Errorf("the stream had %d events of %d", len(h.stream), len(events))
	}
	for i := range min(len(h.stream), len(events)) {
		if h.stream[i].ID != events[i].ID {
			t.Fatalf("the stream has %s as %d, the table %s", h.stream[i].ID, i+1, events[i].ID)
		}
	}
	// The webhooks.
	twice := 0
	for n, r := range h.receivers {
		r.mu.Lock()
		last := map[string]int{}
		for _, e := range r.first {
			if !ids[e.ID] {
				t.Errorf("receiver %d got %s %s, which is no event", n, e.Type, e.ID)
			}
			if e.ConnectionSeq > 0 && e.ConnectionSeq != last[e.ConnectionID]+1 {
				t.Errorf("receiver %d got %d of %s after %d", n, e.ConnectionSeq, e.ConnectionID, last[e.ConnectionID])
			}
			last[e.ConnectionID] = e.ConnectionSeq
		}
		if len(r.first) != len(events) {
			t.Errorf("receiver %d got %d different events of %d", n, len(r.first), len(events))
			for _, e := range events {
				if r.seen[e.ID] == 0 {
					t.Errorf("missing: %d %s of %s", e.Seq, e.Type, e.ConnectionID)
				}
			}
		}
		for _, times := range r.seen {
			twice += times - 1
		}
		r.mu.Unlock()
	}
	t.Logf("%s: %d connections or refused connects, %d events, %d of their deliveries came more than once", h.account.Tenant, len(lives), len(events), twice)
	var places int
	if err := c.pool.QueryRow(ctx, `select connections + (select count(*) from channel_live c where c.tenant_id = l.tenant_id) from tenant_live l where tenant_id = $1`, h.account.Tenant).Scan(&places); err != nil || places != 0 {
		t.Errorf("%d places are taken by nobody, %v", places, err)
	}
}

// checkUse compares what the API says was used with the ledger's segments and with what
// the events said of each: whatever was killed, nothing is charged twice or not at all.
func (h *house) checkUse(events []tenant.Event) {
	t, c := h.c.t, h.c
	t.Helper()
	type use struct{ Connections, Minutes, Seconds int64 }
	var segments, told, shown use
	err := c.pool.QueryRow(t.Context(), `
		select count(*), coalesce(sum(greatest(1, ceil(s / 60))), 0)::bigint, coalesce(sum(floor(s)), 0)::bigint
		from (select extract(epoch from ended_at - connected_at) as s from connection where tenant_id = $1 and connected_at is not null) c`,
		h.account.Tenant).Scan(&segments.Connections, &segments.Minutes, &segments.Seconds)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if e.Type != tenant.ConnectionDestroyed {
			continue
		}
		var data struct {
			Minutes int64
			Seconds int64 `json:"duration_seconds"`
		}
		if err := json.Unmarshal(e.Data, &data); err != nil {
			t.Fatal(err)
		}
		told = use{told.Connections + 1, told.Minutes + data.Minutes, told.Seconds + data.Seconds}
	}
	var page struct{ Items []use }
	if err := json.Unmarshal([]byte(h.request("GET", "/v1/usage?group_by=channel&limit=10000", nil, http.StatusOK)), &page); err != nil {
		t.Fatal(err)
	}
	for _, u := range page.Items {
		shown = use{shown.Connections + u.Connections, shown.Minutes + u.Minutes, shown.Seconds + u.Seconds}
	}
	if segments != told || segments != shown {
		t.Errorf("the ledger has %+v, the events say %+v, the API %+v", segments, told, shown)
	}
}

// checkLives compares each connection's events with the ledger, and both with what
// the clients were told.
func (h *house) checkLives(lives map[string][]tenant.Event) {
	t, c := h.c.t, h.c
	t.Helper()
	rows, err := c.pool.Query(t.Context(), `select connection_id, event_count, connected_at, ended_at, end_reason from connection where tenant_id = $1`, h.account.Tenant)
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := pgx.CollectRows(rows, pgx.RowToStructByPos[ledgerLine])
	if err != nil {
		t.Fatal(err)
	}
	entered := map[string]bool{}
	reasons := map[string]int{}
	for _, line := range ledger {
		entered[line.ID] = true
		reasons[line.Reason]++
		if problem := wrongLife(line, lives[line.ID]); problem != "" {
			t.Errorf("%s: %s: %s", line.ID, problem, story(lives[line.ID]))
		}
	}
	for id, life := range lives {
		if !entered[id] && (len(life) != 1 || life[0].ConnectionSeq != 0 || life[0].Type != tenant.ConnectionRejected) {
			t.Errorf("%s is not in the ledger: %s", id, story(life))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	told, lost := 0, 0
	for id, whose := range c.admitted {
		if whose != h.account.Tenant {
			continue
		}
		if told++; !entered[id] {
			lost++
			t.Errorf("%s was let in, and the ledger does not know it", id)
		}
	}
	t.Logf("%s: %d in the ledger (%v), %d were told", h.account.Tenant, len(ledger), reasons, told)
	if told == 0 || reasons[tenant.EndClient] == 0 {
		t.Errorf("hardly anybody came in: %v", reasons)
	}
}

// wrongLife says what is wrong with a connection's events; "": nothing.
func wrongLife(line ledgerLine, life []tenant.Event) string {
	want := []tenant.EventType{tenant.ConnectionConnecting}
	if line.Connected != nil {
		want = append(want, tenant.ConnectionCreated)
	}
	var got []tenant.EventType
	for i, e := range life {
		if e.ConnectionSeq != i+1 {
			return fmt.Sprintf("event %d has connection_seq %d", i+1, e.ConnectionSeq)
		}
		if e.Type != tenant.ConnectionUpdated {
			got = append(got, e.Type)
		} else if i < 2 || i == len(life)-1 {
			return "updated at the wrong time"
		}
	}
	last := tenant.ConnectionRejected
	if line.Connected != nil {
		last = tenant.ConnectionDestroyed
	}
	if want = append(want, last); !slices.Equal(got, want) {
		return fmt.Sprintf("want %v", want)
	}
	if line.Count != len(life) {
		return fmt.Sprintf("the ledger has counted %d events", line.Count)
	}
	end := life[len(life)-1]
	var data struct{ Reason string }
	if err := json.Unmarshal(end.Data, &data); err != nil || data.Reason != line.Reason {
		return fmt.Sprintf("ended for %q, in the ledger for %q", data.Reason, line.Reason)
	}
	if !end.Timestamp.Equal(line.Ended) || line.Connected != nil && !life[1].Timestamp.Equal(*line.Connected) {
		return fmt.Sprintf("connected %v, ended %s in the ledger", line.Connected, line.Ended)
	}
	return ""
}

func story(life []tenant.Event) (text string) {
	for _, e := range life {
		text += fmt.Sprintf("\n\t%d %d %s %s %s", e.Seq, e.ConnectionSeq, e.Timestamp.Format(time.RFC3339Nano), e.Type, e.Data)
	}
	return text
}
