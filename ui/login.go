package ui

import (
	"errors"
	"net/http"

	"github.com/hibari/hibari/internal/tenant"
)

// askLogin shows the log-in form.
func (c *Console) askLogin(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if _, err := c.session(r); err == nil {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	done := ""
	if r.URL.Query().Get("done") == "bye" {
		done = doneTexts["bye"]
	}
	c.render(w, r, http.StatusOK, c.loginPage(loginFields("", ""), next, done, ""))
}

// login opens a session. Whether the address or the password was wrong is not
// told.
func (c *Console) login(w http.ResponseWriter, r *http.Request) {
	if err := readForm(w, r); err != nil {
		c.fail(w, r, nil, err)
		return
	}
	email, next := r.PostForm.Get("email"), localPath(r.PostForm.Get("next"))
	cookie, _, err := c.Tenants.LogIn(r.Context(), email, r.PostForm.Get("password"), address(r), r.UserAgent())
	var refusal *tenant.Refusal
	switch {
	case errors.Is(err, tenant.ErrLogin):
		c.render(w, r, http.StatusUnprocessableEntity, c.loginPage(loginFields(email, "Email or password is wrong."), next, "", ""))
	case errors.As(err, &refusal):
		c.render(w, r, problemOf(err).status, c.loginPage(loginFields(email, ""), next, "", refusal.Detail))
	case err != nil:
		c.fail(w, r, nil, err)
	default:
		c.setCookie(w, c.cookieName(), cookie, tenant.SessionLifetime)
		http.Redirect(w, r, next, http.StatusSeeOther)
	}
}

// logout ends the session, here and in the store.
func (c *Console) logout(w http.ResponseWriter, r *http.Request) {
	if cookie, err := r.Cookie(c.cookieName()); err == nil {
		if err := c.Tenants.LogOut(r.Context(), cookie.Value); err != nil && !errors.Is(err, tenant.ErrNoSession) {
			c.fail(w, r, nil, err)
			return
		}
	}
	c.setCookie(w, c.cookieName(), "", -1)
	http.Redirect(w, r, "/login?done=bye", http.StatusSeeOther)
}

func loginFields(email, problem string) []input {
	return []input{
		{Name: "email", Label: "Email", Kind: "email", Value: email, Autocomplete: "username", Required: true, Focus: problem == ""},
		{Name: "password", Label: "Password", Kind: "password", Autocomplete: "current-password", Required: true, Problem: problem},
	}
}
