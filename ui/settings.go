package ui

import (
	"errors"
	"net/http"
	"strings"

	"github.com/hibari/hibari/internal/tenant"
)

// settingsData is the page of settings.
type settingsData struct {
	set     tenant.Settings
	url     string // in the form
	problem string // with it
}

func (c *Console) settings(w http.ResponseWriter, r *http.Request, v *visit) error {
	set, err := c.Tenants.Settings(r.Context(), v.login.Scope)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, settingsPage(v, settingsData{set: set, url: set.AuthURL}))
}

// setAuthURL has a URL asked before each connection, or none, and shows the
// secret once that a first one gets.
func (c *Console) setAuthURL(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	url := strings.TrimSpace(r.PostForm.Get("url"))
	if url != "" {
		var field *tenant.FieldError
		if err := c.Hooks.CheckURL(url); errors.As(err, &field) {
			set, err := c.Tenants.Settings(r.Context(), v.login.Scope)
			if err != nil {
				return err
			}
			return v.page(w, r, http.StatusUnprocessableEntity, settingsPage(v, settingsData{set, url, field.Problem}))
		} else if err != nil {
			return err
		}
	}
	secret, err := c.Tenants.SetAuthURL(r.Context(), v.login.Scope, url)
	switch {
	case err != nil:
		return err
	case secret != "":
		return c.showAuthSecret(w, r, v, "auth-url", "The auth webhook's secret", secret)
	case url == "":
		return v.finish(w, r, "/console/settings", "auth-none")
	}
	return v.finish(w, r, "/console/settings", "auth-url")
}

// showAuthSecret leads to the page of settings, which shows the secret once.
func (c *Console) showAuthSecret(w http.ResponseWriter, r *http.Request, v *visit, done, title, secret string) error {
	err := c.handSecrets(w, v.login.Member.ID, "/console/settings", secrets{
		Title:  title,
		Hint:   "It is shown only now. Your server checks with it that a question is ours: any Standard Webhooks library takes it as it is.",
		Values: []secretValue{{"Auth webhook secret", secret}},
	})
	if err != nil {
		return err
	}
	return v.finish(w, r, "/console/settings", done)
}

// askRotateAuthSecret asks once whether to replace the auth webhook's secret.
func (c *Console) askRotateAuthSecret(w http.ResponseWriter, r *http.Request, v *visit) error {
	set, err := c.Tenants.Settings(r.Context(), v.login.Scope)
	if err != nil {
		return err
	}
	if set.AuthURL == "" {
		return tenant.ErrNotFound
	}
	return v.ask(w, r, question{
		Title: "Replace the secret?", Text: "Questions to your server are signed with the new one from now on. A server that checks the old one refuses every client until it has the new one.",
		Facts:   [][2]string{{"URL", set.AuthURL}},
		Confirm: "Replace", Action: "/console/settings/auth/rotate", Back: "/console/settings",
	})
}

func (c *Console) rotateAuthSecret(w http.ResponseWriter, r *http.Request, v *visit) error {
	secret, err := c.Tenants.RotateAuthSecret(r.Context(), v.login.Scope)
	if err != nil {
		return err
	}
	return c.showAuthSecret(w, r, v, "auth-rotate", "The auth webhook's new secret", secret)
}

// duplicatePolicies are what a tenant may choose.
var duplicatePolicies = []option{
	{"allow", "Both stay"},
	{"refuse", "The newcomer is refused"},
	{"replace", "The newcomer takes the place"},
}

// setDuplicates sets what becomes of duplicate client ids.
func (c *Console) setDuplicates(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	err := c.Tenants.SetDuplicates(r.Context(), v.login.Scope, tenant.Duplicates(r.PostForm.Get("policy")))
	if field := (*tenant.FieldError)(nil); errors.As(err, &field) {
		return errBadForm // no list offers it
	}
	if err != nil {
		return err
	}
	return v.finish(w, r, "/console/settings", "duplicates")
}

// askAcceptSecret asks once whether to take signing secrets for tokens.
func (c *Console) askAcceptSecret(w http.ResponseWriter, r *http.Request, v *visit) error {
	return v.ask(w, r, question{
		Title: "Accept signing secrets as access tokens?",
		Text: "Whoever has one of your signing secrets can then enter any channel in any role, and a secret that is in a page is everybody's. " +
			"Do it while you develop, with a key of its own; revoke that key when you are done.",
		Confirm: "Accept them", Action: "/console/settings/signing-secret", Back: "/console/settings",
	})
}

func (c *Console) acceptSecret(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Tenants.AcceptSigningSecret(r.Context(), v.login.Scope, true); err != nil {
		return err
	}
	return v.finish(w, r, "/console/settings", "secret-on")
}

func (c *Console) refuseSecret(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Tenants.AcceptSigningSecret(r.Context(), v.login.Scope, false); err != nil {
		return err
	}
	return v.finish(w, r, "/console/settings", "secret-off")
}
