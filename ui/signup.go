package ui

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// askSignup shows the sign-up form.
func (c *Console) askSignup(w http.ResponseWriter, r *http.Request) {
	if _, err := c.session(r); err == nil {
		http.Redirect(w, r, "/console", http.StatusSeeOther)
		return
	}
	if !c.SignupOpen {
		c.render(w, r, http.StatusForbidden, c.signupClosedPage())
		return
	}
	c.render(w, r, http.StatusOK, c.signupPage(signupFields(tenant.NewTenant{}, &tenant.FieldError{}), ""))
}

// signup makes a tenant with its owner, logs the owner in and shows the first
// keys once; where mail reaches people, that happens when the address is
// confirmed (verify).
func (c *Console) signup(w http.ResponseWriter, r *http.Request) {
	if !c.SignupOpen {
		c.render(w, r, http.StatusForbidden, c.signupClosedPage())
		return
	}
	if err := readForm(w, r); err != nil {
		c.fail(w, r, nil, err)
		return
	}
	wish := tenant.NewTenant{Name: r.PostForm.Get("organization"), Email: r.PostForm.Get("email"),
		Password: r.PostForm.Get("password"), TimeZone: knownZone(r.PostForm.Get("time_zone")), Trial: true}
	if wish.Password == "" { // for the command line that means: no log-in
		c.refuseSignup(w, r, wish, &tenant.FieldError{Field: "password", Problem: "Choose a password."})
		return
	}
	if c.Tenants.Delivers() {
		browser, err := c.Tenants.BeginSignup(r.Context(), wish, address(r))
		if err != nil {
			c.refuseSignup(w, r, wish, err)
			return
		}
		c.setCookie(w, c.signupName(), browser, tenant.SignupLifetime)
		http.Redirect(w, r, "/signup/sent", http.StatusSeeOther)
		return
	}
	created, err := c.Tenants.Signup(r.Context(), wish, address(r))
	if err == nil {
		err = c.welcome(w, r, created)
	}
	if err != nil {
		c.refuseSignup(w, r, wish, err)
	}
}

// signupSent says that the rest happens by mail, whatever the address is.
func (c *Console) signupSent(w http.ResponseWriter, r *http.Request) {
	c.render(w, r, http.StatusOK, c.sentPage())
}

// welcome logs the owner of a new tenant in and hands them its first keys.
func (c *Console) welcome(w http.ResponseWriter, r *http.Request, created tenant.Created) error {
	cookie, err := c.Tenants.StartSession(r.Context(), created.MemberID, address(r), r.UserAgent())
	if err != nil {
		return err
	}
	c.setCookie(w, c.cookieName(), cookie, tenant.SessionLifetime)
	if err := c.handSecrets(w, created.MemberID, "/console", firstSecrets(created)); err != nil {
		return err
	}
	http.Redirect(w, r, "/console", http.StatusSeeOther)
	return nil
}

// refuseSignup shows the form again, with what is wrong beside its field.
func (c *Console) refuseSignup(w http.ResponseWriter, r *http.Request, wish tenant.NewTenant, err error) {
	var field *tenant.FieldError
	var refusal *tenant.Refusal
	switch {
	case errors.Is(err, tenant.ErrEmailTaken):
		field = &tenant.FieldError{Field: "email", Problem: "This email address already has an account. Log in instead."}
	case errors.As(err, &refusal) && refusal.Code == tenant.RateLimited:
		c.render(w, r, http.StatusTooManyRequests, c.signupPage(signupFields(wish, &tenant.FieldError{}), refusal.Detail))
		return
	case !errors.As(err, &field):
		c.fail(w, r, nil, err)
		return
	}
	c.render(w, r, http.StatusUnprocessableEntity, c.signupPage(signupFields(wish, field), ""))
}

var passwordHint = fmt.Sprintf("At least %d characters. A few words are easier to keep than symbols.", tenant.MinPasswordRunes)

func signupFields(wish tenant.NewTenant, wrong *tenant.FieldError) []input {
	fields := []input{
		{Name: "organization", Label: "Organization", Value: wish.Name, Autocomplete: "organization", Required: true},
		{Name: "email", Label: "Email", Kind: "email", Value: wish.Email, Autocomplete: "username", Required: true},
		{Name: "password", Label: "Password", Kind: "password", Autocomplete: "new-password", Required: true,
			Hint: passwordHint},
	}
	of := map[string]int{"name": 0, "email": 1, "password": 2}
	if i, ok := of[wrong.Field]; ok {
		fields[i].Problem = wrong.Problem
	}
	return fields
}

// knownZone returns name if it is a time zone we know, else "": the browser's
// word is a convenience and must not stop a sign-up.
func knownZone(name string) string {
	if name == "Local" {
		return ""
	}
	if _, err := time.LoadLocation(name); err != nil {
		return ""
	}
	return name
}

// firstSecrets are a new tenant's keys.
func firstSecrets(created tenant.Created) secrets {
	return secrets{
		Done:  "welcome",
		Title: "Your first keys",
		Hint:  "They are shown only now. Keep them where your server keeps its secrets; you can make new ones under Keys.",
		Values: []secretValue{
			{"API key", created.APIKey},
			{"Signing key id", created.SigningKeyID},
			{"Signing key", created.SigningKey},
		},
	}
}
