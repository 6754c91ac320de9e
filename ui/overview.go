package ui

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/a-h/templ"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/webhooks"
)

// overviewData is what the overview shows.
type overviewData struct {
	licence  billing.Licence
	channels []billing.Channel // the fullest first, at most topChannels
	live     int               // how many channels
	days     []billing.UsageRow
	failing  []webhooks.Endpoint
	secrets  bool // signing secrets are accepted as tokens
	fresh    bool // nobody has connected in all these days
	// ends is the licence when it ends soon, or has; nil otherwise, and in streams.
	ends *billing.LicenceState
}

const (
	topChannels  = 5
	overviewDays = 30
)

// today is the use of the day that is not over yet.
func (d overviewData) today() billing.UsageRow { return d.days[len(d.days)-1] }

func (c *Console) overview(w http.ResponseWriter, r *http.Request, v *visit) error {
	data, err := c.readOverview(r, v)
	if err != nil {
		return err
	}
	if data.ends, err = c.licenceEnding(r, v); err != nil {
		return err
	}
	start := startData{}
	if data.fresh && v.may(watchers) {
		if start, err = c.readStart(r, v); err != nil {
			return err
		}
	}
	return v.page(w, r, http.StatusOK, overviewPage(v, data, start))
}

// licenceEndsSoon is how long before its end the overview tells of it.
const licenceEndsSoon = 14 * 24 * time.Hour

// licenceEnding returns the licence if nobody will be let in soon; else nil.
func (c *Console) licenceEnding(r *http.Request, v *visit) (*billing.LicenceState, error) {
	s, err := c.Ledger.LicenceState(r.Context(), v.login.Scope)
	if err != nil {
		return nil, err
	}
	soon := s.Scheduled != nil && s.Scheduled.Kind == billing.NoLicence && s.Scheduled.From.Sub(s.At) < licenceEndsSoon
	if soon || s.Current.Kind == billing.NoLicence {
		return &s, nil
	}
	return nil, nil
}

func (c *Console) overviewFragment(r *http.Request, v *visit) (templ.Component, error) {
	data, err := c.readOverview(r, v)
	return overviewTiles(v, data), err
}

func (c *Console) readOverview(r *http.Request, v *visit) (d overviewData, err error) {
	ctx, scope := r.Context(), v.login.Scope
	d.days = make([]billing.UsageRow, 1)
	if d.licence, err = c.Ledger.Licence(ctx, scope); err != nil {
		return d, err
	}
	if d.channels, err = c.Ledger.Channels(ctx, scope); err != nil {
		return d, err
	}
	d.live = len(d.channels)
	slices.SortStableFunc(d.channels, func(a, b billing.Channel) int {
		return cmp.Compare(b.Counts.Connections, a.Counts.Connections)
	})
	d.channels = d.channels[:min(topChannels, d.live)]
	if d.days, err = c.recentDays(r, v, overviewDays); err != nil {
		return d, err
	}
	d.fresh = d.licence.Connections == 0
	for _, day := range d.days {
		d.fresh = d.fresh && day.Connections == 0 && day.Minutes == 0
	}
	set, err := c.Tenants.Settings(ctx, scope)
	if err != nil {
		return d, err
	}
	d.secrets = set.AcceptSigningSecret
	endpoints, err := c.Hooks.Endpoints(ctx, scope)
	for _, e := range endpoints {
		if e.FailingSince != nil || e.Status == "disabled" {
			d.failing = append(d.failing, e)
		}
	}
	return d, err
}

// usageEvery is how often a stream reads usage anew. The nodes meter each 10 s,
// so more often would show nothing new.
const usageEvery = 5 * time.Second

// recentDays returns the use of the last n days, today being the last. A stream
// keeps the answer for a while: usage is the dearest thing on the page.
func (c *Console) recentDays(r *http.Request, v *visit, n int) ([]billing.UsageRow, error) {
	if v.live && v.usage != nil && v.now.Sub(v.usageAt) < usageEvery {
		return v.usage, nil
	}
	from := midnight(v.now.In(v.zone)).AddDate(0, 0, 1-n)
	report, err := c.Ledger.Report(r.Context(), v.login.Scope, billing.UsageQuery{From: from, To: v.now.Add(time.Second), By: billing.ByDay, Idle: true})
	if err != nil {
		return make([]billing.UsageRow, 1), err
	}
	v.usage, v.usageAt = report.Rows, v.now
	return report.Rows, nil
}

// midnight is the first moment of t's day on its clock.
func midnight(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, t.Location())
}
