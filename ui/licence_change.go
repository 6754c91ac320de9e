package ui

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// problemText is what a person is told is wrong with a wish; "" if it is not the
// wish.
func problemText(err error) string {
	var field *tenant.FieldError
	if errors.As(err, &field) {
		return field.Problem
	}
	return ""
}

// askedSize reads how many connections are wished for; 0 is that the licence not be
// renewed.
func askedSize(r *http.Request) (int, error) {
	connections, err := strconv.Atoi(param(r, "connections"))
	if err != nil || connections < 0 {
		return 0, tenant.ErrNotFound
	}
	return connections, nil
}

// askLicence asks once whether to change the licence: when, and for how much.
func (c *Console) askLicence(w http.ResponseWriter, r *http.Request, v *visit) error {
	connections, err := askedSize(r)
	if err != nil {
		return err
	}
	change, err := c.Ledger.PreviewLicence(r.Context(), v.login.Scope, connections)
	if err != nil {
		return err
	}
	return v.ask(w, r, v.licenceQuestion(change, connections))
}

func (c *Console) changeLicence(w http.ResponseWriter, r *http.Request, v *visit) error {
	connections, err := askedSize(r)
	if err != nil {
		return err
	}
	if err := readForm(w, r); err != nil {
		return err
	}
	change, err := c.Ledger.ChangeLicence(r.Context(), v.login.Scope, connections, r.PostForm.Get("seen"))
	if err != nil {
		return err
	}
	if change.Now {
		return v.finish(w, r, "/console/licence", "licence-now")
	}
	return v.finish(w, r, "/console/licence", "licence-later")
}

// licenceQuestion puts a change in words.
func (v *visit) licenceQuestion(c billing.LicenceChange, connections int) question {
	q := question{
		Action: fmt.Sprintf("/console/licence/change/%d", connections), Back: "/console/licence",
		Hidden: [][2]string{{"seen", c.From.ID}}, Gentle: true,
	}
	limits := [2]string{"Connections", whole(c.From.Connections) + " → " + whole(c.To.Connections)}
	switch price := c.To.Price; {
	case c.To.Kind == billing.NoLicence:
		q.Title, q.Confirm, q.Gentle = "End the licence?", "Do not renew", false
		q.Text = "It stays as it is until its year is over, and is not renewed then. From then on nobody new is let in. Who is connected stays connected."
		q.Facts = [][2]string{limits, {"From", v.date(c.To.From)}, {"Costs", "nothing more"}}
	case !c.Now:
		q.Title, q.Confirm = "Take a smaller licence?", "Take it then"
		q.Text = "What you have is paid until its year is over: the change waits for that, and you can call it off until then. If more are connected at that moment, they stay, and nobody new is let in until enough have left."
		q.Facts = [][2]string{limits, {"From", v.date(c.To.From)}, {"A year costs", total(price.Year) + " with tax"}}
	case price.Of > 0:
		q.Title, q.Confirm = "Take a larger licence?", "Take it now"
		q.Text = "It holds at once. The packs you add are charged for the days that are left of the year you have; the year ends, and is renewed, as before."
		q.Facts = [][2]string{limits, {"From", "now"},
			{"Costs now", fmt.Sprintf("%s with tax, for %d of %d days", total(price.Charge), price.Days, price.Of)},
			{"A year costs", total(price.Year) + " with tax"}, {"Renewed on", v.date(*c.To.PeriodTo)}}
	default:
		q.Title, q.Confirm = "Take this licence?", "Take it now"
		q.Text = "Its year begins at once, and is renewed by itself. You can end or change it here at any time, as of the end of the year."
		q.Facts = [][2]string{limits, {"From", "now"}, {"Costs now", total(price.Charge) + " with tax, for a year"}, {"Renewed on", v.date(*c.To.PeriodTo)}}
	}
	if d := c.Drops; d != nil {
		q.Facts = append(q.Facts, [2]string{"Instead of", fmt.Sprintf("%s connections from %s on", whole(d.Connections), v.date(d.From))})
	}
	return q
}

// askCancelChange asks once whether to call off what is scheduled.
func (c *Console) askCancelChange(w http.ResponseWriter, r *http.Request, v *visit) error {
	state, err := c.Ledger.LicenceState(r.Context(), v.login.Scope)
	if err != nil {
		return err
	}
	if !state.Cancellable() {
		return tenant.ErrNotFound
	}
	return v.ask(w, r, question{
		Title: "Keep the licence as it is?", Text: "The change is called off, and the licence is renewed as it is.",
		Facts: [][2]string{
			{"Called off", fmt.Sprintf("%s connections from %s on", whole(state.Scheduled.Connections), v.date(state.Scheduled.From))},
			{"Renewed for", whole(state.Current.Connections) + " connections"},
		},
		Confirm: "Keep it", Action: "/console/licence/cancel", Back: "/console/licence", Gentle: true,
	})
}

func (c *Console) cancelChange(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Ledger.CancelLicenceChange(r.Context(), v.login.Scope); err != nil {
		return err
	}
	return v.finish(w, r, "/console/licence", "licence-kept")
}
