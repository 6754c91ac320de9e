package ui

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
)

// licenceData is the page of the licence.
type licenceData struct {
	state   billing.LicenceState
	sizes   []licenceSize
	wish    calculation
	history []billing.LicenceTerm // newest first
	more    bool                  // there are older ones
	peaks   peaksData
}

// licencesShown is how many licences the page lists.
const licencesShown = 50

// licenceSize is a licence of the plan, as this tenant could have it.
type licenceSize struct {
	connections, packs int
	year               billing.Quote
	change             billing.LicenceChange
	impossible         string // why it cannot be had; "": it can
	current, next      bool   // it is in force, or follows
}

func (c *Console) licence(w http.ResponseWriter, r *http.Request, v *visit) error {
	d := licenceData{}
	var err error
	if d.state, err = c.Ledger.LicenceState(r.Context(), v.login.Scope); err != nil {
		return err
	}
	if d.history, err = c.Ledger.LicenceHistory(r.Context(), v.login.Scope, time.Time{}, licencesShown+1); err != nil {
		return err
	}
	if len(d.history) > licencesShown {
		d.history, d.more = d.history[:licencesShown], true
	}
	if d.peaks, err = c.readPeaks(r, v); err != nil {
		return err
	}
	if list := d.state.PriceList(); list != nil {
		d.wish = askedQuote(r, *list, d.state.Current)
	}
	if d.sizes, err = sizesOf(d.state); err != nil {
		return err
	}
	status := http.StatusOK
	if d.wish.problem != "" {
		status = http.StatusUnprocessableEntity
	}
	return v.page(w, r, status, licencePage(v, d))
}

// licenceFragment is what changes by itself: use, and what has become of the licence.
func (c *Console) licenceFragment(r *http.Request, v *visit) (templ.Component, error) {
	state, err := c.Ledger.LicenceState(r.Context(), v.login.Scope)
	return licenceTiles(v, state), err
}

// sizesOf are the licences of the plan, with the discounts the tenant has; none if the
// plan has none.
func sizesOf(state billing.LicenceState) (sizes []licenceSize, err error) {
	list := state.PriceList()
	if list == nil {
		return nil, nil
	}
	for _, connections := range list.Sizes() {
		size := licenceSize{connections: connections, packs: list.Packs(connections)}
		if size.year, err = list.Quote(connections, list.Granted(state.Current.Discounts)); err != nil {
			return nil, err
		}
		size.current = state.Current.Kind == billing.StandardLicence && state.Current.Connections == connections
		size.next = state.Scheduled != nil && state.Scheduled.Kind == billing.StandardLicence && state.Scheduled.Connections == connections
		if size.change, err = state.Change(connections); err != nil {
			size.impossible = problemText(err)
		}
		sizes = append(sizes, size)
	}
	return sizes, nil
}

// calculation is the form that says what a licence would cost, and its answer.
type calculation struct {
	connections string
	discounts   []string
	size        int // of the licence that it takes
	quote       billing.Quote
	problem     string
}

// askedQuote reads the form; it starts with the licence there is.
func askedQuote(r *http.Request, plan rating.Licence, current billing.LicenceTerm) calculation {
	query := r.URL.Query()
	c := calculation{connections: strings.TrimSpace(query.Get("connections"))}
	if !query.Has("connections") {
		c.connections, c.discounts = strconv.Itoa(max(plan.BaseConnections, min(current.Connections, plan.MaxConnections))), plan.Granted(current.Discounts)
	} else {
		for _, discount := range plan.Discounts {
			if query.Has(discount.Name) {
				c.discounts = append(c.discounts, discount.Name)
			}
		}
	}
	connections, err := strconv.Atoi(c.connections)
	if err == nil {
		c.size, err = plan.Size(connections)
	}
	if err == nil {
		c.quote, err = plan.Quote(connections, c.discounts)
	}
	if err != nil {
		c.problem = fmt.Sprintf("Say how many connections: 1 to %s. Ask the operator for more.", whole(plan.MaxConnections))
	}
	return c
}

func (c calculation) has(discount string) bool { return slices.Contains(c.discounts, discount) }

// rounded reports whether the licence has more connections than were asked for.
func (c calculation) rounded() bool { return strconv.Itoa(c.size) != c.connections }

// amount writes money without its currency, as a column of one currency does.
func amount(q billing.Quote, minor int64) string {
	return strings.TrimPrefix(rating.Money(q.Currency, minor), q.Currency+" ")
}

// total writes what a quote comes to, with the tax.
func total(q billing.Quote) string { return rating.Money(q.Currency, q.Total) }

// kindName is a kind of licence, for people.
func kindName(kind billing.LicenceKind) string {
	switch kind {
	case billing.TrialLicence:
		return "Trial"
	case billing.StandardLicence:
		return "Standard"
	case billing.CustomLicence:
		return "Set by the operator"
	}
	return "None"
}

// discountText names the discounts of a licence; "" for none.
func discountText(list *rating.Licence, names []string) string {
	if list == nil {
		return ""
	}
	var parts []string
	for _, d := range list.Discounts {
		if slices.Contains(names, d.Name) {
			parts = append(parts, fmt.Sprintf("%d %% for %s", d.Percent, d.For))
		}
	}
	return strings.Join(parts, ", ")
}

// packsText says what a licence is made of: "300 and 2 packs of 100".
func packsText(list *rating.Licence, connections, packs int) string {
	if packs == 0 {
		return whole(connections)
	}
	if list == nil {
		return plural(packs, "pack", "packs")
	}
	return whole(connections-packs*list.PackConnections) + " and " + plural(packs, "pack", "packs") + " of " + whole(list.PackConnections)
}

// pricesText says what the prices of the list are.
func pricesText(plan *rating.Licence, discounts []string) string {
	text := "Prices are a year's, in " + plan.Currency
	if len(plan.Granted(discounts)) > 0 {
		text += ", with your discounts on the base of " + whole(plan.BaseConnections)
	}
	return text + "."
}

// date is a day on the tenant's clock.
func (v *visit) date(t time.Time) string { return t.In(v.zone).Format("2 January 2006") }

// daysUntil says how far off a moment is: "in 12 days", "in 5 h".
func (v *visit) daysUntil(t time.Time) string {
	d := t.Sub(v.now)
	if d < 0 {
		return "now"
	}
	if days := int(d.Round(24*time.Hour) / (24 * time.Hour)); days >= 3 {
		return fmt.Sprintf("in %d days", days)
	}
	return ago(t, v.now)
}

// madeBy says who made a licence what it is.
func madeBy(v *visit, t billing.LicenceTerm) string {
	kind, _, _ := strings.Cut(t.CreatedBy, ":")
	switch kind {
	case "member":
		if t.CreatedBy == v.login.Scope.Actor() {
			return "you"
		}
		return "a member"
	case "api_key":
		return "an API key"
	case "operator":
		return "the operator"
	}
	return "Hibari"
}
