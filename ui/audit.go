package ui

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// auditData is a page of an audit log, newest first, as it was searched for.
type auditData struct {
	base    string // the log's own path
	form    auditForm
	actions []string // that the log has, to choose from
	entries []tenant.AuditEntry
	next    int64 // older entries are before this one; 0: there are none
	exports bool  // the whole can be had as a file
}

// auditForm is what a person searches for, as it was typed.
type auditForm struct {
	Actor, Action, Target, Text string
	From, To                    string // days, the last one included
	Problem                     string // with the days; "": nothing
}

const auditPageSize = 50

// askedAudit reads a search from the address, with days of the zone.
func askedAudit(values url.Values, zone *time.Location) (auditForm, tenant.AuditQuery) {
	f := auditForm{Actor: values.Get("actor"), Action: values.Get("action"), Target: values.Get("target"), Text: values.Get("text"),
		From: values.Get("from"), To: values.Get("to")}
	q := tenant.AuditQuery{Actor: f.Actor, Action: f.Action, Target: f.Target, Text: f.Text}
	day := func(text string, days int) (t time.Time) {
		if text == "" {
			return time.Time{}
		}
		t, err := time.ParseInLocation(time.DateOnly, text, zone)
		if err != nil {
			f.Problem = "Give days such as 2026-11-26."
			return time.Time{}
		}
		return t.AddDate(0, 0, days)
	}
	q.From, q.To = day(f.From, 0), day(f.To, 1)
	if before, err := strconv.ParseInt(values.Get("before"), 10, 64); err == nil && before > 0 {
		q.Before = before
	}
	return f, q
}

// query is the search as part of an address, after what is given.
func (f auditForm) query(more ...string) string {
	values := url.Values{}
	for name, value := range map[string]string{"actor": f.Actor, "action": f.Action, "target": f.Target, "text": f.Text, "from": f.From, "to": f.To} {
		if value != "" {
			values.Set(name, value)
		}
	}
	for i := 0; i+1 < len(more); i += 2 {
		values.Set(more[i], more[i+1])
	}
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

// searched reports whether the form narrows the log.
func (f auditForm) searched() bool { f.Problem = ""; return f != auditForm{} }

// fields are the form's inputs.
func (f auditForm) fields() []input {
	return []input{
		{Name: "text", Label: "Text", Kind: "search", Value: f.Text, Placeholder: "anything in an entry"},
		{Name: "actor", Label: "Who", Value: f.Actor, Placeholder: "name, address or id"},
		{Name: "action", Label: "Action", Value: f.Action, Placeholder: "such as api_key.", List: "audit-actions"},
		{Name: "target", Label: "Target", Value: f.Target, Placeholder: "an id"},
		{Name: "from", Label: "From", Kind: "date", Value: f.From},
		{Name: "to", Label: "To", Kind: "date", Value: f.To, Problem: f.Problem},
	}
}

func (c *Console) audit(w http.ResponseWriter, r *http.Request, v *visit) error {
	d := auditData{base: "/console/audit", exports: true}
	var q tenant.AuditQuery
	var err error
	d.form, q = askedAudit(r.URL.Query(), v.zone)
	if d.actions, err = c.Tenants.AuditActions(r.Context(), v.login.Scope); err != nil {
		return err
	}
	if d.entries, d.next, err = c.Tenants.SearchAudit(r.Context(), v.login.Scope, q, auditPageSize); err != nil {
		return err
	}
	status := http.StatusOK
	if d.form.Problem != "" {
		status = http.StatusUnprocessableEntity
	}
	return v.page(w, r, status, auditPageOf(v, d))
}

// auditEntry shows one entry with what changed.
func (c *Console) auditEntry(w http.ResponseWriter, r *http.Request, v *visit) error {
	id, err := auditID(r)
	if err != nil {
		return err
	}
	e, err := c.Tenants.AuditEntry(r.Context(), v.login.Scope, id)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, auditEntryPage(v, "/console/audit", e))
}

// auditID is the entry that the path names.
func auditID(r *http.Request) (int64, error) {
	id, err := strconv.ParseInt(param(r, "entry"), 10, 64)
	if err != nil {
		return 0, tenant.ErrNotFound
	}
	return id, nil
}

// auditCSV and auditLines are the searched log as a file.
func (c *Console) auditCSV(w http.ResponseWriter, r *http.Request, v *visit) error {
	_, q := askedAudit(r.URL.Query(), v.zone)
	return sendAudit(w, "csv", auditFile(v), c.Tenants.ExportAudit(r.Context(), v.login.Scope, q, "csv"))
}

func (c *Console) auditLines(w http.ResponseWriter, r *http.Request, v *visit) error {
	_, q := askedAudit(r.URL.Query(), v.zone)
	return sendAudit(w, "jsonl", auditFile(v), c.Tenants.ExportAudit(r.Context(), v.login.Scope, q, "jsonl"))
}

// auditFile is a file's name without its kind.
func auditFile(v *visit) string { return "hibari-audit-" + v.now.In(v.zone).Format(time.DateOnly) }

// doer names an entry's actor for people.
func doer(e tenant.AuditEntry) string {
	kind, id, _ := strings.Cut(e.Actor, ":")
	switch {
	case kind == "api_key" && e.ActorName != "":
		return "API key " + e.ActorName
	case kind == "api_key":
		return "API key " + shortID(id)
	case kind == "operator" && id != "" && e.ActorName != "":
		return "operator " + e.ActorName
	case e.ActorName != "":
		return e.ActorName
	}
	return e.Actor
}

// change is one line of an entry's diff, as people read it.
type change struct{ Field, Before, After string }

// changes returns what an entry's diff says, by field.
func changes(e tenant.AuditEntry) (lines []change) {
	var fields map[string][2]json.RawMessage
	if json.Unmarshal(e.Diff, &fields) != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		lines = append(lines, change{name, plainJSON(fields[name][0]), plainJSON(fields[name][1])})
	}
	return lines
}

// details returns what else an entry says, by name; After is the value.
func details(e tenant.AuditEntry) (lines []change) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(e.Detail, &fields) != nil {
		return nil
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		lines = append(lines, change{Field: name, After: plainJSON(fields[name])})
	}
	return lines
}

// plainJSON is a value without the quotes of a text; nothing is a dash.
func plainJSON(value json.RawMessage) string {
	var text string
	switch {
	case len(value) == 0 || string(value) == "null":
		return "–"
	case json.Unmarshal(value, &text) == nil && text == "":
		return "–"
	case json.Unmarshal(value, &text) == nil:
		return text
	}
	return string(value)
}

// gist is an entry in one line: what changed, then what else is known.
func gist(e tenant.AuditEntry) string {
	var parts []string
	for _, c := range changes(e) {
		if c.Before == "–" {
			parts = append(parts, c.Field+": "+c.After)
		} else {
			parts = append(parts, fmt.Sprintf("%s: %s → %s", c.Field, c.Before, c.After))
		}
	}
	for _, d := range details(e) {
		parts = append(parts, d.Field+": "+d.After)
	}
	if len(parts) == 0 {
		return "–"
	}
	line := strings.Join(parts, " · ")
	if runes := []rune(line); len(runes) > 160 {
		return string(runes[:160]) + "…"
	}
	return line
}
