package ui

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/a-h/templ"

	"github.com/hibari/hibari/internal/billing"
)

// connectionsData is a list of live connections.
type connectionsData struct {
	channel string // only of this channel; "": of all
	rows    []billing.Live
	limit   int
	more    bool
	licence billing.Licence
}

// liveLimits are how many rows a live page shows: at first, and after "Load
// more". The last is the most that the ledger lists.
var liveLimits = []int{100, 300, 1000}

// moreLimit is the limit after the present one.
func moreLimit(limit int) int {
	for _, next := range liveLimits {
		if next > limit {
			return next
		}
	}
	return limit
}

// askedLimit reads ?limit=, one of liveLimits.
func askedLimit(r *http.Request) int {
	asked, err := strconv.Atoi(r.URL.Query().Get("limit"))
	for _, limit := range liveLimits {
		if err == nil && asked <= limit {
			return max(limit, liveLimits[0])
		}
	}
	return liveLimits[0]
}

// query is what keeps a list as it is when it is asked for again.
func (d connectionsData) query(limit int) string {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if d.channel != "" {
		q.Set("channel", d.channel)
	}
	return "?" + q.Encode()
}

func (c *Console) connections(w http.ResponseWriter, r *http.Request, v *visit) error {
	data, err := c.readConnections(r, v, r.URL.Query().Get("channel"))
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, connectionsPage(v, data))
}

func (c *Console) connectionsFragment(r *http.Request, v *visit) (templ.Component, error) {
	data, err := c.readConnections(r, v, r.URL.Query().Get("channel"))
	return connectionsList(v, data), err
}

func (c *Console) readConnections(r *http.Request, v *visit, channel string) (connectionsData, error) {
	d := connectionsData{channel: channel, limit: askedLimit(r)}
	var next string
	var err error
	d.rows, next, err = c.Ledger.Live(r.Context(), v.login.Scope, billing.LiveQuery{Channel: channel, Limit: d.limit})
	if err != nil {
		return d, err
	}
	d.more = next != ""
	ids := make([]string, len(d.rows))
	for i, row := range d.rows {
		ids[i] = row.ConnectionID
	}
	if err := c.qualities(r.Context(), v, ids); err != nil {
		return d, err
	}
	d.licence, err = c.Ledger.Licence(r.Context(), v.login.Scope)
	return d, err
}
