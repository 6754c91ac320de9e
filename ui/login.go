package ui

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

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
	if which := r.URL.Query().Get("done"); slices.Contains(loginDone, which) {
		done = doneTexts[which]
	}
	c.render(w, r, http.StatusOK, c.loginPage(loginFields("", ""), next, done, ""))
}

// loginDone are the doneTexts that the log-in page may say: what a page says
// must have happened to somebody who is not logged in.
var loginDone = []string{"bye", "everywhere", "forgot", "reset", "email", "late"}

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
	var second *tenant.CodeNeeded
	switch {
	case errors.As(err, &second):
		c.setCookie(w, c.stepName(), second.Proof, tenant.CodeWait)
		http.Redirect(w, r, "/login/code?next="+url.QueryEscape(next), http.StatusSeeOther)
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

// stepName is the cookie that says, for a few minutes, that the password was
// right.
func (c *Console) stepName() string { return c.cookieName() + "-step" }

func codeField() input {
	return input{Name: "code", Label: "Code", Autocomplete: "one-time-code", Required: true, Focus: true}
}

// askCode shows the second step of a log-in.
func (c *Console) askCode(w http.ResponseWriter, r *http.Request) {
	if _, err := r.Cookie(c.stepName()); err != nil {
		http.Redirect(w, r, "/login", http.StatusSeeOther)
		return
	}
	c.render(w, r, http.StatusOK, c.codePage(codeField(), localPath(r.URL.Query().Get("next")), ""))
}

// code opens the session that the password alone did not.
func (c *Console) code(w http.ResponseWriter, r *http.Request) {
	if err := readForm(w, r); err != nil {
		c.fail(w, r, nil, err)
		return
	}
	next := localPath(r.PostForm.Get("next"))
	proof := ""
	if cookie, err := r.Cookie(c.stepName()); err == nil {
		proof = cookie.Value
	}
	cookie, _, err := c.Tenants.FinishLogIn(r.Context(), proof, r.PostForm.Get("code"), address(r), r.UserAgent())
	if err == nil || errors.Is(err, tenant.ErrLoginOver) {
		c.setCookie(w, c.stepName(), "", -1)
	}
	switch {
	case errors.Is(err, tenant.ErrLoginOver):
		http.Redirect(w, r, "/login?done=late&next="+url.QueryEscape(next), http.StatusSeeOther)
		return
	case err == nil:
		c.setCookie(w, c.cookieName(), cookie, tenant.SessionLifetime)
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	field := codeField()
	status, problem, err := onForm(err, map[string]*input{"code": &field})
	if err != nil {
		c.fail(w, r, nil, err)
		return
	}
	c.render(w, r, status, c.codePage(field, next, problem))
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
