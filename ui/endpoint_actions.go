package ui

import (
	"cmp"
	"errors"
	"net/http"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// sendTest sends a test event to one endpoint, whose page then shows how it goes.
func (c *Console) sendTest(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	id := param(r, "endpoint")
	as := tenant.EventType(cmp.Or(r.PostForm.Get("type"), string(tenant.Ping)))
	delivery, err := c.Hooks.SendExample(r.Context(), v.login.Scope, id, as)
	if err != nil {
		return refuseDisabled(err)
	}
	if v.partial {
		return v.finish(w, r, "/console/webhooks/"+id, "test")
	}
	http.Redirect(w, r, "/console/webhooks/"+id+logFilter{test: delivery}.query(), http.StatusSeeOther)
	return nil
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

// editEndpoint shows what an endpoint is made of.
func (c *Console) editEndpoint(w http.ResponseWriter, r *http.Request, v *visit) error {
	e, err := c.Hooks.Endpoint(r.Context(), v.login.Scope, param(r, "endpoint"))
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, editEndpointPage(v, e, endpointForm{url: e.URL, types: e.Types, prefix: e.ChannelPrefix}))
}

// changeEndpoint changes what an endpoint is made of.
func (c *Console) changeEndpoint(w http.ResponseWriter, r *http.Request, v *visit) error {
	form, err := readEndpointForm(w, r)
	if err != nil {
		return err
	}
	id := param(r, "endpoint")
	_, err = c.Hooks.ChangeEndpoint(r.Context(), v.login.Scope, id, webhooks.EndpointChange{URL: &form.url, Types: &form.types, Prefix: &form.prefix})
	if !form.refused(err) {
		if err != nil {
			return err
		}
		return v.finish(w, r, "/console/webhooks/"+id, "endpoint-changed")
	}
	e, err := c.Hooks.Endpoint(r.Context(), v.login.Scope, id)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusUnprocessableEntity, editEndpointPage(v, e, form))
}

// askRotateSecret asks once whether to replace an endpoint's secret, and how long
// the old one goes on.
func (c *Console) askRotateSecret(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.askAboutEndpoint(w, r, v, question{
		Title: "Replace the secret?", Confirm: "Replace", Action: "/rotate",
		Text:  "Requests from now on are signed with a new one, which you see once. For 24 hours they carry a signature by the old one too, so that your server can change over without losing an event.",
		Check: "Keep the old secret for 24 hours. Clear this if it leaked: it then ends at once.", Name: "overlap", Value: "on",
	})
}

// rotateSecret replaces an endpoint's secret and shows the new one once.
func (c *Console) rotateSecret(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	id, done := param(r, "endpoint"), "rotate"
	overlap := time.Duration(0)
	if r.PostForm.Get("overlap") != "" {
		overlap, done = webhooks.SecretOverlap, "rotate-overlap"
	}
	secret, _, err := c.Hooks.RotateSecret(r.Context(), v.login.Scope, id, overlap)
	if err != nil {
		return err
	}
	return c.showSecret(w, r, v, id, done, "The endpoint's new secret", secret)
}

// askEndOverlap asks once whether to forget an endpoint's old secret.
func (c *Console) askEndOverlap(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.askAboutEndpoint(w, r, v, question{
		Title: "End the old secret now?", Confirm: "End it", Action: "/previous-secret/end", Quiet: true,
		Text: "Requests from now on are signed with the new secret alone. A server that still checks with the old one refuses them, and they are tried again.",
	})
}

// endOverlap forgets an endpoint's old secret.
func (c *Console) endOverlap(w http.ResponseWriter, r *http.Request, v *visit) error {
	id := param(r, "endpoint")
	if err := c.Hooks.EndOverlap(r.Context(), v.login.Scope, id); err != nil {
		return err
	}
	return v.finish(w, r, "/console/webhooks/"+id, "overlap-ended")
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

func refuseDisabled(err error) error {
	if errors.Is(err, webhooks.ErrDisabled) {
		return errEndpointDisabled
	}
	return err
}
