package ui

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// eventsData is some of a tenant's events, newest first.
type eventsData struct {
	filter webhooks.Filter
	before int64 // only older ones; 0: the newest, live
	events []tenant.Event
	older  int64 // what is before this one has not been looked at; 0: nothing is
	top    int64 // the seq of the newest event there is
}

// eventsShown is how many events a page has.
const eventsShown = 50

// askedEvents reads which events an address is about.
func askedEvents(values url.Values) (d eventsData) {
	d.filter = webhooks.Filter{Channel: strings.TrimSpace(values.Get("channel")), Connection: strings.TrimSpace(values.Get("connection"))}
	if name := values.Get("type"); slices.Contains(webhooks.Types, name) {
		d.filter.Types = []string{name}
	}
	if before, err := webhooks.ParseAfter(values.Get("before")); err == nil && before > 0 {
		d.before = before
	}
	return d
}

// kind is the type that the events are of; "": of any.
func (d eventsData) kind() string { return strings.Join(d.filter.Types, "") }

// filtered reports whether some events are left out.
func (d eventsData) filtered() bool {
	return d.kind() != "" || d.filter.Channel != "" || d.filter.Connection != ""
}

// query asks for the same events, from before one on; 0: the newest.
func (d eventsData) query(before int64) string {
	values := url.Values{}
	for name, value := range map[string]string{"type": d.kind(), "channel": d.filter.Channel, "connection": d.filter.Connection} {
		if value != "" {
			values.Set(name, value)
		}
	}
	if before > 0 {
		values.Set("before", strconv.FormatInt(before, 10))
	}
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

// kinds are the event types to choose from.
func (d eventsData) kinds() []option {
	options := []option{{"", "Every type"}}
	for _, name := range webhooks.Types {
		options = append(options, option{name, name})
	}
	return options
}

func (c *Console) readEvents(r *http.Request, v *visit) (d eventsData, err error) {
	d = askedEvents(r.URL.Query())
	if d.top, err = c.Hooks.LastSeq(r.Context(), v.login.Scope); err != nil {
		return d, err
	}
	before := d.before
	if before == 0 {
		before = d.top + 1
	}
	d.events, d.older, err = c.Hooks.RecentEvents(r.Context(), v.login.Scope, d.filter, before, eventsShown)
	return d, err
}

// events shows what happens, live, or what happened before.
func (c *Console) events(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.readEvents(r, v)
	if err != nil {
		return err
	}
	if r.URL.Query().Has("pause") { // what there is now, and stays
		http.Redirect(w, r, "/console/events"+d.query(d.top+1), http.StatusSeeOther)
		return nil
	}
	return v.page(w, r, http.StatusOK, eventsPage(v, d))
}

// pause holds the list still as it is when it is asked for.
func (d eventsData) pause() string {
	if query := d.query(0); query != "" {
		return query + "&pause=on"
	}
	return "?pause=on"
}

func (c *Console) eventsFragment(r *http.Request, v *visit) (templ.Component, error) {
	d, err := c.readEvents(r, v)
	return eventsList(v, d), err
}

// eventData is one event and who was told of it.
type eventData struct {
	event      tenant.Event
	text       string // the envelope, indented
	last       bool   // there is no later one yet
	deliveries []webhooks.Delivery
	endpoints  map[string]string // their URLs by id
}

// event shows one event as it is told, and the deliveries of it.
func (c *Console) event(w http.ResponseWriter, r *http.Request, v *visit) error {
	ctx, scope := r.Context(), v.login.Scope
	seq, err := webhooks.ParseAfter(param(r, "seq"))
	if err != nil || seq < 1 {
		return tenant.ErrNotFound
	}
	found, err := c.Hooks.Events(ctx, scope, seq-1, 2)
	if err != nil {
		return err
	}
	if len(found) == 0 || found[0].Seq != seq {
		return tenant.ErrNotFound
	}
	d := eventData{event: found[0], last: len(found) == 1, endpoints: map[string]string{}}
	text, err := json.MarshalIndent(d.event, "", "  ")
	if err != nil {
		return fmt.Errorf("couldn't write event %s as JSON: %w", d.event.ID, err)
	}
	d.text = string(text)
	if d.deliveries, err = c.Hooks.Deliveries(ctx, scope, webhooks.DeliveryQuery{EventSeq: seq, Limit: webhooks.MaxDeliveries}); err != nil {
		return err
	}
	endpoints, err := c.Hooks.Endpoints(ctx, scope)
	if err != nil {
		return err
	}
	for _, e := range endpoints {
		d.endpoints[e.ID] = e.URL
	}
	return v.page(w, r, http.StatusOK, eventPage(v, d))
}

func eventPath(seq int64) string { return "/console/events/" + strconv.FormatInt(seq, 10) }

// eventColour is the colour of a type's badge.
func eventColour(t tenant.EventType) string {
	switch t {
	case tenant.ConnectionCreated, tenant.ChannelStarted:
		return "good"
	case tenant.ConnectionConnecting, tenant.ConnectionUpdated:
		return "sky"
	case tenant.ConnectionRejected, tenant.RecordingFailed:
		return "bad"
	case tenant.LicenceThreshold, tenant.UsageThreshold, tenant.NodeDraining:
		return "warn"
	}
	return ""
}

// eventGist is what an event says, in one line.
func eventGist(e tenant.Event) string {
	var data struct {
		Role        tenant.Role `json:"role"`
		ClientID    string      `json:"client_id"`
		Reason      string      `json:"reason"`
		Code        string      `json:"code"`
		Minutes     int64       `json:"minutes"`
		Duration    int64       `json:"duration_seconds"`
		Connections int64       `json:"connections"`
		Most        int64       `json:"max_connections"`
		Node        string      `json:"name"`
		Message     string      `json:"message"`
		Currency    string      `json:"currency"`
		Amount      int64       `json:"amount"`
		Cap         int64       `json:"cap"`
	}
	_ = json.Unmarshal(e.Data, &data) // what is of another kind is left out
	var parts []string
	add := func(part string, known bool) {
		if known {
			parts = append(parts, part)
		}
	}
	add(roleWord(data.Role), data.Role != "")
	add(data.ClientID, data.ClientID != "" && data.ClientID != e.ConnectionID)
	add(data.Code, data.Code != "")
	add(endWord(data.Reason), data.Reason != "" && data.Code == "")
	add(plural(data.Minutes, "minute", "minutes"), data.Minutes > 0)
	add(plural(data.Duration, "second", "seconds"), data.Duration > 0)
	add(whole(data.Connections)+" of "+whole(data.Most)+" connections", data.Most > 0)
	add(spentText(data.Currency, data.Amount, data.Cap), data.Cap > 0)
	add(data.Node, data.Node != "")
	add(data.Message, data.Message != "")
	line := strings.Join(parts, " · ")
	if runes := []rune(line); len(runes) > 120 {
		line = string(runes[:120]) + "…"
	}
	return line
}
