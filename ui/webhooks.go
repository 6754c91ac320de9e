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
	endpoints []webhooks.Endpoint
	form      endpointForm
}

// endpointForm is what an endpoint is made of, as somebody filled it in.
type endpointForm struct {
	url, urlProblem       string
	prefix, prefixProblem string
	types                 []string // chosen
	problem               string   // with the types, or as a whole
}

// readEndpointForm reads the form of a new endpoint or of a change.
func readEndpointForm(w http.ResponseWriter, r *http.Request) (endpointForm, error) {
	err := readForm(w, r)
	return endpointForm{url: r.PostForm.Get("url"), prefix: r.PostForm.Get("channel_prefix"), types: r.PostForm["types"]}, err
}

// refused puts what is wrong with the form beside the field; false: err is about
// something else.
func (f *endpointForm) refused(err error) bool {
	var field *tenant.FieldError
	switch {
	case errors.As(err, &field) && field.Field == "url":
		f.urlProblem = field.Problem
	case errors.As(err, &field) && field.Field == "channel_prefix":
		f.prefixProblem = field.Problem
	case errors.As(err, &field):
		f.problem = field.Problem
	case errors.Is(err, webhooks.ErrTooMany):
		f.problem = "You have as many endpoints as there may be. Delete one first."
	default:
		return false
	}
	return true
}

// chosen reports whether a type's box is checked.
func (f endpointForm) chosen(t tenant.EventType) bool { return slices.Contains(f.types, string(t)) }

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
	form, err := readEndpointForm(w, r)
	if err != nil {
		return err
	}
	secret, e, err := c.Hooks.CreateEndpoint(r.Context(), v.login.Scope, form.url, webhooks.Choice{Types: form.types, ChannelPrefix: form.prefix})
	switch {
	case form.refused(err):
		return c.showWebhooks(w, r, v, http.StatusUnprocessableEntity, webhooksData{form: form})
	case err != nil:
		return err
	}
	return c.showSecret(w, r, v, e.ID, "endpoint", "The endpoint's secret", secret)
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
