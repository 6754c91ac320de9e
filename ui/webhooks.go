package ui

import (
	"errors"
	"net/http"
	"slices"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// webhooksData is the page of endpoints and its form.
type webhooksData struct {
	endpoints  []webhooks.Endpoint
	url        string
	urlProblem string
	types      []string // chosen
	problem    string   // with the types, or as a whole
}

func (c *Console) webhooks(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showWebhooks(w, r, v, http.StatusOK, webhooksData{})
}

func (c *Console) showWebhooks(w http.ResponseWriter, r *http.Request, v *visit, status int, d webhooksData) (err error) {
	if d.endpoints, err = c.Hooks.Endpoints(r.Context(), v.login.Scope); err != nil {
		return err
	}
	return v.page(w, r, status, webhooksPage(v, d))
}

// createEndpoint sets an endpoint up and shows its secret once.
func (c *Console) createEndpoint(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	d := webhooksData{url: r.PostForm.Get("url"), types: r.PostForm["types"]}
	secret, e, err := c.Hooks.CreateEndpoint(r.Context(), v.login.Scope, d.url, d.types)
	var field *tenant.FieldError
	switch {
	case errors.As(err, &field) && field.Field == "url":
		d.urlProblem = field.Problem
	case errors.As(err, &field):
		d.problem = field.Problem
	case errors.Is(err, webhooks.ErrTooMany):
		d.problem = "You have as many endpoints as there may be. Delete one first."
	case err != nil:
		return err
	default:
		return c.showSecret(w, r, v, e.ID, "endpoint", "The endpoint's secret", secret)
	}
	return c.showWebhooks(w, r, v, http.StatusUnprocessableEntity, d)
}

// showSecret leads to the endpoint's page, which shows its secret once.
func (c *Console) showSecret(w http.ResponseWriter, r *http.Request, v *visit, id, done, title, secret string) error {
	path := "/console/webhooks/" + id
	err := c.handSecrets(w, v.login.Member.ID, path, secrets{
		Title:  title,
		Hint:   "It is shown only now. Your server checks with it that a request is ours: any Standard Webhooks library takes it as it is.",
		Values: []secretValue{{"Webhook secret", secret}},
	})
	if err != nil {
		return err
	}
	return v.finish(w, r, path, done)
}

// chosenType reports whether a box of the form is checked.
func (d webhooksData) chosenType(name string) bool { return slices.Contains(d.types, name) }

// emittedTypes are the types that this version writes; offering the others
// would promise what cannot come yet.
var emittedTypes = []tenant.EventType{
	tenant.ConnectionConnecting, tenant.ConnectionCreated, tenant.ConnectionUpdated, tenant.ConnectionDestroyed,
	tenant.ConnectionRejected, tenant.ChannelStarted, tenant.ChannelEnded, tenant.NodeDraining,
}

// typeWords say when an event comes.
var typeWords = map[tenant.EventType]string{
	tenant.ConnectionConnecting: "a client got a place",
	tenant.ConnectionCreated:    "its media connected",
	tenant.ConnectionUpdated:    "each full minute",
	tenant.ConnectionDestroyed:  "it ended, with minutes",
	tenant.ConnectionRejected:   "a client was refused",
	tenant.ChannelStarted:       "the first one came",
	tenant.ChannelEnded:         "the last one left",
	tenant.NodeDraining:         "a node with connections of yours is being emptied",
}
