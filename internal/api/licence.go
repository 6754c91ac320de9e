package api

import (
	"context"
	"strconv"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
	"github.com/hibari/hibari/internal/tenant"
)

// quote is what something costs: minor units of the currency, and the same as
// decimal numbers.
type quote struct {
	Currency string        `json:"currency" example:"JPY"`
	Base     int64         `json:"base" doc:"Minor units of the currency, as all amounts beside it."`
	Discount int64         `json:"discount" doc:"What is taken off the base."`
	Packs    int64         `json:"packs"`
	Subtotal int64         `json:"subtotal"`
	Tax      int64         `json:"tax"`
	Total    int64         `json:"total"`
	Decimal  quoteDecimals `json:"decimal" doc:"The same amounts as decimal numbers."`
}

// quoteDecimals are the amounts of a quote in the currency's own unit.
type quoteDecimals struct {
	Base     string `json:"base" example:"2400000"`
	Discount string `json:"discount" example:"480000"`
	Packs    string `json:"packs" example:"1200000"`
	Subtotal string `json:"subtotal" example:"3120000"`
	Tax      string `json:"tax" example:"312000"`
	Total    string `json:"total" example:"3432000"`
}

func showQuote(q billing.Quote) quote {
	text := func(minor int64) string { return rating.Decimal(q.Currency, minor) }
	return quote{q.Currency, q.Base, q.Discount, q.Packs, q.Subtotal, q.Tax, q.Total,
		quoteDecimals{text(q.Base), text(q.Discount), text(q.Packs), text(q.Subtotal), text(q.Tax), text(q.Total)}}
}

// term is one of the tenant's licences and when it is valid.
type term struct {
	ID             string              `json:"id" example:"lic_9N5VY0Z8WJ4KQ2RGTX7D3C6B1M"`
	Kind           billing.LicenceKind `json:"kind" enum:"trial,standard,custom,none"`
	MaxConnections int                 `json:"max_connections"`
	MaxPerChannel  int                 `json:"max_connections_per_channel"`
	Packs          int                 `json:"packs" doc:"Of the plan, beside its base."`
	Discounts      []string            `json:"discounts"`
	From           time.Time           `json:"valid_from"`
	To             *time.Time          `json:"valid_to" doc:"null: until something is changed."`
	PeriodFrom     *time.Time          `json:"period_from" doc:"Of kind standard: the year that is paid for."`
	PeriodTo       *time.Time          `json:"period_to" doc:"When the next one begins."`
	Price          *termPrice          `json:"price,omitempty" doc:"Absent: not by the plan."`
	CreatedAt      time.Time           `json:"created_at"`
	CreatedBy      string              `json:"created_by"`
}

// termPrice is what a licence costs by the plan.
type termPrice struct {
	Plan   string `json:"plan"`
	Year   quote  `json:"year" doc:"A whole year of it."`
	Charge quote  `json:"charge" doc:"What its beginning costs: a year, more packs for the rest of one, or nothing."`
	Days   int    `json:"days" doc:"The rest, in days; 0: a whole year, or nothing."`
	Of     int    `json:"of" doc:"The days of the year."`
}

func showTerm(t billing.LicenceTerm) term {
	shown := term{t.ID, t.Kind, t.Connections, t.PerChannel, t.Packs, t.Discounts, t.From.UTC(), utcOrNull(t.To),
		utcOrNull(t.PeriodFrom), utcOrNull(t.PeriodTo), nil, t.CreatedAt.UTC(), t.CreatedBy}
	if shown.Discounts == nil {
		shown.Discounts = []string{}
	}
	if t.Price != nil {
		shown.Price = &termPrice{t.Price.Plan, showQuote(t.Price.Year), showQuote(t.Price.Charge), t.Price.Days, t.Price.Of}
	}
	return shown
}

func showTermOrNone(t *billing.LicenceTerm) *term {
	if t == nil {
		return nil
	}
	return new(showTerm(*t))
}

// licence is how many connections the tenant has and may have at once.
type licence struct {
	Connections    int   `json:"connections" doc:"Now."`
	MaxConnections int   `json:"max_connections"`
	MaxPerChannel  int   `json:"max_connections_per_channel"`
	Current        *term `json:"current,omitempty" doc:"What is in force."`
	Scheduled      *term `json:"scheduled,omitempty" doc:"What follows it; absent: nothing else."`
}

func (a *API) getLicence(ctx context.Context, scope tenant.Scope, _ *none) (licence, error) {
	s, err := a.Ledger.LicenceState(ctx, scope)
	if err != nil {
		return licence{}, err
	}
	return licence{s.Connections, s.MaxConnections, s.MaxPerChannel, new(showTerm(s.Current)), showTermOrNone(s.Scheduled)}, nil
}

func (a *API) listLicences(ctx context.Context, scope tenant.Scope, in *Paging) (p page[term], err error) {
	var before time.Time
	position, err := in.after("licences")
	if err == nil && position != "" {
		micros, bad := strconv.ParseInt(position, 10, 64)
		if bad != nil {
			err = errCursor
		}
		before = time.UnixMicro(micros)
	}
	if err != nil {
		return p, err
	}
	rows, err := a.Ledger.LicenceHistory(ctx, scope, before, in.Limit+1)
	return pageOf(rows, in.Limit, showTerm, func(t billing.LicenceTerm) string {
		return newCursor("licences", strconv.FormatInt(t.From.UnixMicro(), 10))
	}), err
}

// peak is the most connections of one hour.
type peak struct {
	Hour           time.Time `json:"hour" doc:"Its start."`
	Connections    int       `json:"connections" doc:"The most at once."`
	MaxConnections int       `json:"max_connections" doc:"The licence when there were so many."`
}

func (a *API) listPeaks(ctx context.Context, scope tenant.Scope, in *struct {
	From   string `query:"from" maxLength:"40" example:"2026-11-01" doc:"The first day (UTC), or a time (RFC 3339). Absent: 7 days before to."`
	To     string `query:"to" maxLength:"40" example:"2026-12-01" doc:"Not included any more. Absent: now."`
	Limit  int    `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"How many items a page has at most."`
	Cursor string `query:"cursor" maxLength:"2048" doc:"The next of the page before. Absent: from the start."`
}) (p page[peak], err error) {
	to := time.Now()
	if in.To != "" {
		if to, err = readTime("to", in.To, time.UTC); err != nil {
			return p, err
		}
	}
	begin := to.AddDate(0, 0, -7)
	if in.From != "" {
		if begin, err = readTime("from", in.From, time.UTC); err != nil {
			return p, err
		}
	}
	switch {
	case !begin.Before(to):
		return p, invalid("query", "from", "It must be before to.")
	case to.Sub(begin) > billing.LongestUsage:
		return p, invalid("query", "from", "Ask for at most 400 days.")
	}
	rows, err := a.Ledger.Peaks(ctx, scope, begin, to)
	if err != nil {
		return p, err
	}
	at := func(r billing.Peak) place { return place{r.Hour, "hour"} }
	rows, err = from(rows, "peaks", &Paging{Cursor: in.Cursor}, oldestFirst, at)
	return pageOf(rows, in.Limit, func(r billing.Peak) peak { return peak{r.Hour.UTC(), r.Connections, r.MaxConnections} },
		func(r billing.Peak) string { return at(r).cursor("peaks") }), err
}

// change is what a change of licence means.
type change struct {
	From  term  `json:"from" doc:"What is in force."`
	To    term  `json:"to" doc:"What is in force from its valid_from on."`
	Now   bool  `json:"now" doc:"Whether that is at once; else it is scheduled."`
	Drops *term `json:"drops,omitempty" doc:"A scheduled change that it takes the place of."`
}

func showChange(c billing.LicenceChange) change {
	return change{showTerm(c.From), showTerm(c.To), c.Now, showTermOrNone(c.Drops)}
}

func (a *API) quoteLicence(ctx context.Context, scope tenant.Scope, in *struct {
	Connections int `query:"connections" required:"true" minimum:"0" maximum:"100000" example:"500" doc:"How many the licence shall be for; 0: it shall not be renewed."`
}) (change, error) {
	c, err := a.Ledger.PreviewLicence(ctx, scope, in.Connections)
	if err != nil {
		return change{}, inQuery(err)
	}
	return showChange(c), nil
}

func (a *API) changeLicence(ctx context.Context, scope tenant.Scope, in *struct {
	Body struct {
		Connections int    `json:"connections" minimum:"0" maximum:"100000" example:"500" doc:"How many the licence shall be for; 0: it shall not be renewed."`
		Seen        string `json:"licence_id,omitempty" maxLength:"64" doc:"The licence that the wish was made for: with another one in force nothing is changed (409)."`
	}
}) (change, error) {
	c, err := a.Ledger.ChangeLicence(ctx, scope, in.Body.Connections, in.Body.Seen)
	if err != nil {
		return change{}, err
	}
	return showChange(c), nil
}

func (a *API) cancelLicenceChange(ctx context.Context, scope tenant.Scope, _ *none) error {
	return a.Ledger.CancelLicenceChange(ctx, scope)
}
