package ui

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// shownReplays is how many replays an endpoint's page shows.
const shownReplays = 5

// rangeForm is a range of events as a form has it.
type rangeForm struct {
	endpoint webhooks.Endpoint
	from, to string // local times of the tenant; "": open
	states   []string
	types    []string
	preview  *webhooks.Preview
	problem  string
}

// formTime is how a browser writes a time without a zone.
const formTime = "2006-01-02T15:04"

// replayWords say what the states of events mean.
var replayWords = map[string]string{
	webhooks.Dead:      "given up, and never delivered",
	webhooks.Missed:    "from while it was disabled, or not there",
	webhooks.Delivered: "delivered already",
}

// askReplay shows the form of a range, with what it would send.
func (c *Console) askReplay(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showReplayForm(w, r, v, r.URL.Query(), http.StatusOK, "")
}

// replayRange sends a range of events again.
func (c *Console) replayRange(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	chosen, problem := readRange(v, r.PostForm)
	if problem == "" {
		id := param(r, "endpoint")
		_, err := c.Hooks.ReplayRange(r.Context(), v.login.Scope, id, chosen)
		var field *tenant.FieldError
		switch {
		case errors.As(err, &field):
			problem = field.Problem
		case errors.Is(err, webhooks.ErrTooManyReplays):
			problem = "As many replays run as may. Wait for one to end, or cancel it."
		case err != nil:
			return refuseDisabled(err)
		default:
			return v.finish(w, r, "/console/webhooks/"+id, "replay-range")
		}
	}
	return c.showReplayForm(w, r, v, r.PostForm, http.StatusUnprocessableEntity, problem)
}

// cancelReplay ends a replay.
func (c *Console) cancelReplay(w http.ResponseWriter, r *http.Request, v *visit) error {
	done, err := c.Hooks.CancelReplay(r.Context(), v.login.Scope, param(r, "replay"))
	if err != nil {
		return err
	}
	return v.finish(w, r, "/console/webhooks/"+done.EndpointID, "replay-cancel")
}

// readRange reads the form; problem says what is wrong with it.
func readRange(v *visit, form url.Values) (chosen webhooks.Range, problem string) {
	for _, bound := range []struct {
		name string
		at   *time.Time
	}{{"from", &chosen.From}, {"to", &chosen.To}} {
		text := strings.TrimSpace(form.Get(bound.name))
		if text == "" {
			continue
		}
		at, err := time.ParseInLocation(formTime, text, v.zone)
		if err != nil {
			at, err = time.ParseInLocation(formTime+":05", text, v.zone)
		}
		if err != nil {
			return chosen, "A time looks like 2026-11-22T09:30."
		}
		*bound.at = at
	}
	chosen.States = form["states"]
	chosen.Types = given(form["types"])
	return chosen, ""
}

// given leaves out the values that a form sends empty.
func given(values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(value string) bool { return value == "" })
}

func (c *Console) showReplayForm(w http.ResponseWriter, r *http.Request, v *visit, form url.Values, status int, problem string) (err error) {
	d := rangeForm{from: form.Get("from"), to: form.Get("to"), states: form["states"], types: given(form["types"]), problem: problem}
	if d.endpoint, err = c.Hooks.Endpoint(r.Context(), v.login.Scope, param(r, "endpoint")); err != nil {
		return err
	}
	if len(d.states) == 0 {
		d.states = []string{webhooks.Dead, webhooks.Missed}
	}
	if !form.Has("from") && d.endpoint.DisabledAt != nil {
		d.from = d.endpoint.DisabledAt.In(v.zone).Format(formTime)
	}
	if form.Has("from") && d.problem == "" {
		chosen, wrong := readRange(v, form)
		var preview webhooks.Preview
		if wrong == "" {
			preview, err = c.Hooks.PreviewReplay(r.Context(), v.login.Scope, d.endpoint.ID, chosen)
		}
		var field *tenant.FieldError
		switch {
		case errors.As(err, &field):
			wrong = field.Problem
		case err != nil:
			return err
		}
		if wrong != "" {
			d.problem, status = wrong, http.StatusUnprocessableEntity
		} else {
			d.preview = &preview
		}
	}
	return v.page(w, r, status, replayPage(v, d))
}

// oneType is the type that the form's list shows.
func (d rangeForm) oneType() string {
	if len(d.types) == 0 {
		return ""
	}
	return d.types[0]
}

// typeOptions are the types that a replay may be of.
func typeOptions() []option {
	options := []option{{"", "any"}}
	for _, name := range webhooks.Types {
		options = append(options, option{name, name})
	}
	return options
}

func (d rangeForm) chosen(state string) bool { return slices.Contains(d.states, state) }

// path is the form's own.
func (d rangeForm) path() string { return "/console/webhooks/" + d.endpoint.ID + "/replay" }

// previewText says what a replay would send.
func previewText(p webhooks.Preview) string {
	text := plural(p.Total(), "event", "events") + " would be sent"
	var parts []string
	for _, state := range webhooks.ReplayStates {
		if n, ok := p.Counts[state]; ok && len(p.Counts) > 1 {
			parts = append(parts, whole(n)+" "+state)
		}
	}
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	if p.Partial {
		text += ", of the first " + whole(webhooks.MaxPreview) + " of the range alone; the replay takes the others too"
	}
	return text + "."
}

// replayProgress says how far a replay is.
func replayProgress(r webhooks.Replay) string {
	text := whole(r.Delivered) + " delivered"
	if r.Dead > 0 {
		text += ", " + whole(r.Dead) + " dead"
	}
	if open := r.Queued - r.Delivered - r.Dead; open > 0 && r.State == webhooks.ReplayRunning {
		text += ", " + whole(open) + " under way"
	}
	if r.State == webhooks.ReplayRunning {
		text += "; " + strconv.Itoa(int(100*r.Progress())) + " %" + " of the range looked at"
	}
	return text
}

// replayOf says which events a replay chose.
func replayOf(r webhooks.Replay) string {
	text := strings.Join(r.States, ", ")
	if len(r.Types) > 0 {
		text += " of " + strings.Join(r.Types, ", ")
	}
	if r.ToSeq < r.FromSeq {
		return text + ": none in the range"
	}
	return text + ", " + strconv.FormatInt(r.FromSeq, 10) + " to " + strconv.FormatInt(r.ToSeq, 10)
}

func replayBadge(state string) string {
	switch state {
	case webhooks.ReplayDone:
		return "good"
	case webhooks.ReplayRunning:
		return "warn"
	}
	return ""
}
