package ui

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/billing/rating"
)

// planData is the page of the tenant's plan.
type planData struct {
	now     billing.PlanStep
	next    []billing.PlanStep // what is to come
	example planExample
}

// plan shows by which prices the tenant is billed, now and from which day on else.
func (c *Console) plan(w http.ResponseWriter, r *http.Request, v *visit) error {
	timeline, err := c.plans.Mine(r.Context(), v.login.Scope)
	if err != nil {
		return err
	}
	d := planData{now: timeline.On(billing.DayOf(v.now.In(timeline.Zone())))}
	for _, step := range timeline.Steps() {
		if step.From > d.now.From {
			d.next = append(d.next, step)
		}
	}
	d.example = askedExample(r.URL.Query())
	status := http.StatusOK
	if err := d.example.rate(d.now.Version); err != nil {
		return err
	}
	if d.example.problem != "" {
		status = http.StatusUnprocessableEntity
	}
	return v.page(w, r, status, planPage(v, d))
}

// planExample is the form that says what some use would cost in a month, and its
// answer.
type planExample struct {
	connections, minutes, gb, recording string // as they were typed
	problem                             string
	bill                                rating.Bill
}

// askedExample reads the form; it starts with an ordinary month.
func askedExample(form url.Values) planExample {
	value := func(name, otherwise string) string {
		if form.Has(name) {
			return strings.TrimSpace(form.Get(name))
		}
		return otherwise
	}
	return planExample{connections: value("connections", "1000"), minutes: value("minutes", "10"), gb: value("gb", "100"), recording: value("recording", "0")}
}

// read returns the numbers of the form.
func (e *planExample) read() (example rating.Example) {
	for _, f := range []struct {
		text string
		to   *int64
	}{{e.connections, &example.Connections}, {e.minutes, &example.Minutes}, {e.gb, &example.GB}, {e.recording, &example.Recording}} {
		n, err := strconv.ParseInt(f.text, 10, 64)
		if err != nil || n < 0 || n > rating.MaxExample {
			e.problem = "Give whole numbers from 0 to " + whole(rating.MaxExample) + "."
		}
		*f.to = n
	}
	return example
}

// rate fills in what the example costs by a version.
func (e *planExample) rate(version *rating.Version) (err error) {
	if example := e.read(); e.problem == "" {
		e.bill, err = example.Bill(version)
	}
	return err
}

// priceless tells that nothing of a bill costs anything.
func priceless(b rating.Bill) bool { return !b.Charged() }

// minor writes an amount of a bill without its currency.
func minor(b rating.Bill, amount int64) string {
	return strings.TrimPrefix(rating.Money(b.Currency, amount), b.Currency+" ")
}

// roundingText says how tax is rounded.
func roundingText(r rating.Rounding) string {
	switch r {
	case rating.HalfUp:
		return "half up"
	case rating.Up:
		return "up"
	}
	return "down"
}

// stepText is a step of a line's arithmetic: "Each minute 10,000 × 0.5".
func stepText(s rating.Step) string {
	text := s.Text
	if !s.Quantity.IsZero() {
		text += " " + rating.Grouped(s.Quantity.String())
		if !s.UnitPrice.IsZero() {
			text += " × " + rating.Grouped(s.UnitPrice.String())
		}
	}
	return text
}
