package ui

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/hibari/hibari/internal/tenant"
)

// fresh has the password asked first when it was typed long ago, for what a
// passer-by at a forgotten screen must not do. After it the member comes back to
// the page they asked for, or to back where they sent a form from.
func (c *Console) fresh(back string, next action) action {
	return func(w http.ResponseWriter, r *http.Request, v *visit) error {
		if v.login.Fresh() {
			return next(w, r, v)
		}
		if r.Method == http.MethodGet && !v.partial {
			back = r.URL.RequestURI()
		}
		if v.partial {
			if r.Method != http.MethodGet {
				writeJSON(w, http.StatusForbidden, said{"Reload the page and enter your password first."})
				return nil
			}
			return v.page(w, r, http.StatusOK, proveForm(provePassword(), back))
		}
		http.Redirect(w, r, "/console/prove?next="+url.QueryEscape(back), http.StatusSeeOther)
		return nil
	}
}

func provePassword() input {
	return input{Name: "password", Label: "Your password", Kind: "password", Autocomplete: "current-password", Required: true, Focus: true}
}

func (c *Console) askProve(w http.ResponseWriter, r *http.Request, v *visit) error {
	return v.page(w, r, http.StatusOK, provePage(v, provePassword(), localPath(r.URL.Query().Get("next")), ""))
}

// prove makes the session fresh, under another cookie.
func (c *Console) prove(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	next := localPath(r.PostForm.Get("next"))
	cookie, err := c.Tenants.Prove(r.Context(), v.login, r.PostForm.Get("password"), address(r))
	if err == nil {
		c.setCookie(w, c.cookieName(), cookie, tenant.SessionLifetime)
		http.Redirect(w, r, next, http.StatusSeeOther)
		return nil
	}
	if errors.Is(err, tenant.ErrNoSession) {
		c.sendToLogin(w, r)
		return nil
	}
	field := provePassword()
	status, problem, err := onForm(err, map[string]*input{"old": &field})
	if err != nil {
		return err
	}
	return v.page(w, r, status, provePage(v, field, next, problem))
}
