package ui

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/a-h/templ"

	"github.com/hibari/hibari/internal/webhooks"
)

// endpointData is one endpoint and the newest of its deliveries.
type endpointData struct {
	endpoint   webhooks.Endpoint
	state      string // only deliveries in it; "": all
	limit      int
	deliveries []webhooks.Delivery
	more       bool
	replays    []webhooks.Replay // the newest
}

// The log shows this many deliveries at first, and at most after "Load more".
const (
	firstDeliveries = 50
	mostDeliveries  = 450
)

// deliveryStates are the log's filters.
var deliveryStates = [][2]string{{"", "All"}, {webhooks.Pending, "Pending"}, {webhooks.Waiting, "Waiting"}, {webhooks.Delivered, "Delivered"}, {webhooks.Dead, "Dead"}}

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
	q := r.URL.Query()
	for _, state := range deliveryStates {
		if state[0] == q.Get("state") {
			d.state = state[0]
		}
	}
	d.limit = firstDeliveries
	if asked, err := strconv.Atoi(q.Get("limit")); err == nil {
		d.limit = max(firstDeliveries, min(asked, mostDeliveries))
	}
	if d.endpoint, err = c.Hooks.Endpoint(r.Context(), v.login.Scope, param(r, "endpoint")); err != nil {
		return d, err
	}
	if d.replays, err = c.Hooks.Replays(r.Context(), v.login.Scope, d.endpoint.ID, shownReplays); err != nil {
		return d, err
	}
	d.deliveries, err = c.Hooks.Deliveries(r.Context(), v.login.Scope, webhooks.DeliveryQuery{Endpoint: d.endpoint.ID, State: d.state, Limit: d.limit + 1})
	if len(d.deliveries) > d.limit {
		d.deliveries, d.more = d.deliveries[:d.limit], true
	}
	return d, err
}

// path is the endpoint's page, or something below it.
func (d endpointData) path(below string) string { return "/console/webhooks/" + d.endpoint.ID + below }

// query asks for the log in a state, with limit rows.
func (d endpointData) query(state string, limit int) string {
	return "?" + url.Values{"state": {state}, "limit": {strconv.Itoa(limit)}}.Encode()
}

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
