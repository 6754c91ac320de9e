package ui

import (
	"errors"
	"net/http"

	"github.com/hibari/hibari/internal/webhooks"
)

// sendTest sends a ping event to one endpoint.
func (c *Console) sendTest(w http.ResponseWriter, r *http.Request, v *visit) error {
	id := param(r, "endpoint")
	if _, err := c.Hooks.SendTest(r.Context(), v.login.Scope, id); err != nil {
		return refuseDisabled(err)
	}
	return v.finish(w, r, "/console/webhooks/"+id, "test")
}

// replay sends the event of a delivery once more.
func (c *Console) replay(w http.ResponseWriter, r *http.Request, v *visit) error {
	id, err := c.Hooks.Replay(r.Context(), v.login.Scope, param(r, "delivery"))
	if err != nil {
		return refuseDisabled(err)
	}
	return v.finish(w, r, "/console/deliveries/"+id, "replay")
}

// enableEndpoint lets a disabled endpoint get events again.
func (c *Console) enableEndpoint(w http.ResponseWriter, r *http.Request, v *visit) error {
	id := param(r, "endpoint")
	if err := c.Hooks.EnableEndpoint(r.Context(), v.login.Scope, id); err != nil {
		return err
	}
	return v.finish(w, r, "/console/webhooks/"+id, "enable")
}

// askRotateSecret asks once whether to replace an endpoint's secret.
func (c *Console) askRotateSecret(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.askAboutEndpoint(w, r, v, question{
		Title: "Replace the secret?", Confirm: "Replace", Action: "/rotate",
		Text: "Requests from now on are signed with the new one; your server must have it to check them.",
	})
}

// rotateSecret replaces an endpoint's secret and shows the new one once.
func (c *Console) rotateSecret(w http.ResponseWriter, r *http.Request, v *visit) error {
	id := param(r, "endpoint")
	secret, err := c.Hooks.RotateSecret(r.Context(), v.login.Scope, id)
	if err != nil {
		return err
	}
	return c.showSecret(w, r, v, id, "rotate", "The endpoint's new secret", secret)
}

// askDeleteEndpoint asks once whether to delete an endpoint.
func (c *Console) askDeleteEndpoint(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.askAboutEndpoint(w, r, v, question{
		Title: "Delete this endpoint?", Confirm: "Delete", Action: "/delete",
		Text: "It gets no more events, and the log of its deliveries goes with it. This cannot be undone.",
	})
}

// deleteEndpoint deletes an endpoint.
func (c *Console) deleteEndpoint(w http.ResponseWriter, r *http.Request, v *visit) error {
	id := param(r, "endpoint")
	if err := c.Hooks.DeleteEndpoint(r.Context(), v.login.Scope, id); err != nil {
		return err
	}
	return v.finish(w, r, "/console/webhooks", "delete")
}

// askAboutEndpoint completes q for the endpoint asked for.
func (c *Console) askAboutEndpoint(w http.ResponseWriter, r *http.Request, v *visit, q question) error {
	e, err := c.Hooks.Endpoint(r.Context(), v.login.Scope, param(r, "endpoint"))
	if err != nil {
		return err
	}
	q.Back = "/console/webhooks/" + e.ID
	q.Action = q.Back + q.Action
	q.Facts = [][2]string{{"URL", e.URL}}
	return v.ask(w, r, q)
}

// errEndpointDisabled is a test or replay to an endpoint that gets nothing.
var errEndpointDisabled = errors.New("the endpoint is disabled")

func refuseDisabled(err error) error {
	if errors.Is(err, webhooks.ErrDisabled) {
		return errEndpointDisabled
	}
	return err
}
