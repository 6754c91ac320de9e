package ui

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// endpointData is one endpoint and a page of its deliveries.
type endpointData struct {
	endpoint   webhooks.Endpoint
	filter     logFilter
	deliveries []webhooks.Delivery
	more       bool
	replays    []webhooks.Replay  // the newest
	test       *webhooks.Delivery // the test that was just sent; nil: none
}

// logFilter is which deliveries the log shows, as the page's query has it.
type logFilter struct {
	state, kind, answer, about, since string
	before                            string // a delivery's id: the page shows older ones
	test                              string // a delivery's id: the test that was just sent
}

// pageOfLog is how many deliveries the log shows at a time.
const pageOfLog = 50

// deliveryStates are the log's first filter.
var deliveryStates = [][2]string{{"", "All"}, {webhooks.Pending, "Pending"}, {webhooks.Waiting, "Waiting"}, {webhooks.Delivered, "Delivered"}, {webhooks.Dead, "Dead"}}

// logAnswers and logSpans are others.
var (
	logAnswers = []option{{"", "Any answer"}, {"2xx", "2xx"}, {"3xx", "3xx, a redirect"}, {"4xx", "4xx"}, {"5xx", "5xx"}, {webhooks.NoAnswer, "No answer"}}
	logSpans   = []option{{"", "30 days"}, {"15m", "15 minutes"}, {"1h", "Hour"}, {"24h", "Day"}, {"168h", "7 days"}}
)

// logTypes are the types that the log can be narrowed to.
func logTypes() []option {
	types := []option{{"", "Every type"}}
	for _, name := range webhooks.Types {
		types = append(types, option{name, name})
	}
	return types
}

// readLogFilter reads a page's query; what is not offered is left out.
func readLogFilter(q url.Values) logFilter {
	of := func(name string, offered []option) string {
		if value := q.Get(name); slices.ContainsFunc(offered, func(o option) bool { return o.Value == value }) {
			return value
		}
		return ""
	}
	f := logFilter{kind: of("type", logTypes()), answer: of("answer", logAnswers), since: of("since", logSpans),
		about: strings.TrimSpace(q.Get("about")), before: q.Get("before"), test: q.Get("test")}
	for _, state := range deliveryStates {
		if state[0] == q.Get("state") {
			f.state = state[0]
		}
	}
	return f
}

// query is the filter as a page's query.
func (f logFilter) query() string {
	q := url.Values{}
	for name, value := range map[string]string{"state": f.state, "type": f.kind, "answer": f.answer, "about": f.about, "since": f.since,
		"before": f.before, "test": f.test} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(q) == 0 {
		return ""
	}
	return "?" + q.Encode()
}

// in is the filter with another state, from the newest on.
func (f logFilter) in(state string) logFilter {
	f.state, f.before = state, ""
	return f
}

// after is the filter's next page: what is older than the delivery.
func (f logFilter) after(id string) logFilter {
	f.before = id
	return f
}

// narrowed reports whether some deliveries are left out.
func (f logFilter) narrowed() bool {
	f.before, f.test = "", ""
	return f != logFilter{}
}

// of is what the filter asks the log for.
func (f logFilter) of(endpoint string, now time.Time) webhooks.DeliveryQuery {
	q := webhooks.DeliveryQuery{Endpoint: endpoint, State: f.state, Type: f.kind, Class: f.answer, Before: f.before, Limit: pageOfLog + 1}
	if span, err := time.ParseDuration(f.since); err == nil {
		q.From = now.Add(-span)
	}
	if connectionID.MatchString(f.about) {
		q.Connection = f.about
	} else {
		q.Channel = f.about
	}
	return q
}

// connectionID is how a connection's id looks.
var connectionID = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{26}$`)

func (c *Console) endpoint(w http.ResponseWriter, r *http.Request, v *visit) error {
	d, err := c.readEndpoint(r, v)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, endpointPage(v, d))
}

func (c *Console) endpointFragment(r *http.Request, v *visit) (templ.Component, error) {
	d, err := c.readEndpoint(r, v)
	return endpointBody(v, d), err
}

func (c *Console) readEndpoint(r *http.Request, v *visit) (d endpointData, err error) {
	d.filter = readLogFilter(r.URL.Query())
	if d.endpoint, err = c.Hooks.Endpoint(r.Context(), v.login.Scope, param(r, "endpoint")); err != nil {
		return d, err
	}
	if d.replays, err = c.Hooks.Replays(r.Context(), v.login.Scope, d.endpoint.ID, shownReplays); err != nil {
		return d, err
	}
	if d.filter.test != "" {
		test, err := c.oneDelivery(r, v, d.filter.test)
		switch {
		case err == nil && test.EndpointID == d.endpoint.ID:
			d.test = &test
		case err != nil && !errors.Is(err, tenant.ErrNotFound):
			return d, err
		}
	}
	d.deliveries, err = c.Hooks.Deliveries(r.Context(), v.login.Scope, d.filter.of(d.endpoint.ID, v.now))
	if len(d.deliveries) > pageOfLog {
		d.deliveries, d.more = d.deliveries[:pageOfLog], true
	}
	return d, err
}

// path is the endpoint's page, or something below it.
func (d endpointData) path(below string) string { return "/console/webhooks/" + d.endpoint.ID + below }

// typeList is what an endpoint gets, in words.
func typeList(e webhooks.Endpoint) string {
	if len(e.Types) == 0 {
		return "every event but connection.updated"
	}
	return strings.Join(e.Types, ", ")
}

// stateBadge is the colour of a delivery's state.
func stateBadge(state string) string {
	switch state {
	case webhooks.Delivered:
		return "good"
	case webhooks.Dead:
		return "bad"
	case webhooks.Pending:
		return "warn"
	}
	return ""
}

// answerWord is how the latest attempt went.
func answerWord(d webhooks.Delivery) string {
	switch {
	case d.Attempts == 0:
		return "–"
	case d.LastError != "":
		return d.LastError
	}
	return strconv.Itoa(d.LastStatus)
}

// exampleOptions are the types that a test event may be of.
func exampleOptions() (types []option) {
	for _, t := range webhooks.ExampleTypes() {
		name := string(t)
		if t == tenant.Ping {
			types = append([]option{{name, name}}, types...)
		} else {
			types = append(types, option{name, name})
		}
	}
	return types
}

// testWords say how a test goes.
func testWords(d webhooks.Delivery) string {
	switch d.State {
	case webhooks.Delivered:
		return "Your server answered " + strconv.Itoa(d.LastStatus) + "."
	case webhooks.Dead:
		return "It failed: " + d.LastError + "."
	}
	if d.Attempts == 0 {
		return "It is on its way."
	}
	return "It failed: " + d.LastError + ". It will be tried again."
}

// testKind is the colour of a test's notice.
func testKind(d webhooks.Delivery) string {
	switch {
	case d.State == webhooks.Delivered:
		return "good"
	case d.Attempts > 0:
		return "bad"
	}
	return "info"
}

// took is how long a finished delivery took, from its making to its end.
func took(d webhooks.Delivery) string {
	if d.FinishedAt == nil {
		return ""
	}
	return micros(max(0, d.FinishedAt.Sub(d.CreatedAt).Microseconds()))
}
