package ui

import (
	"errors"
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// Pages that links in mails lead to. A GET only asks, since programs that look
// through mail follow links; what the link is for is done by its POST.

// linkedRoutes mounts them, and what leads to them.
func (c *Console) linkedRoutes(pages chi.Router) {
	pages.Get("/login/code", c.askCode)
	pages.Post("/login/code", c.code)
	pages.Get("/signup/sent", c.signupSent)
	pages.Get("/verify", c.link(c.askVerify))
	pages.Post("/verify", c.link(c.verify))
	pages.Get("/forgot", c.askForgot)
	pages.Post("/forgot", c.forgot)
	pages.Get("/reset", c.link(c.askReset))
	pages.Post("/reset", c.link(c.reset))
	pages.Get("/email", c.link(c.askEmail))
	pages.Post("/email", c.link(c.email))
	pages.Get("/invitation", c.link(c.askInvitation))
	pages.Post("/invitation", c.link(c.acceptInvitation))
}

// linked shows or does what a link is for. Like an action, but for somebody who
// may not be logged in, and with the link's token.
type linked func(w http.ResponseWriter, r *http.Request, token string) error

// link answers a link: no other site learns its address, and a dead one is told
// as that.
func (c *Console) link(f linked) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Referrer-Policy", "no-referrer")
		err := readForm(w, r) // the query's, too
		if err == nil {
			err = f(w, r, r.Form.Get("t"))
		}
		switch {
		case errors.Is(err, tenant.ErrLink):
			c.render(w, r, http.StatusGone, c.deadLinkPage())
		case err != nil:
			c.fail(w, r, nil, err)
		}
	}
}

// onForm puts an error that a person can do something about beside the field it
// belongs to, and returns the status and a sentence for above the form. A nil
// field takes none; what is nobody's fault comes back as an error.
func onForm(err error, fields map[string]*input) (status int, problem string, _ error) {
	var wrong *tenant.FieldError
	var refusal *tenant.Refusal
	switch {
	case errors.As(err, &wrong) && fields[wrong.Field] != nil:
		fields[wrong.Field].Problem = wrong.Problem
		return http.StatusUnprocessableEntity, "", nil
	case errors.Is(err, tenant.ErrLogin) && fields["old"] != nil:
		fields["old"].Problem = "This is not your password."
		return http.StatusUnprocessableEntity, "", nil
	case errors.Is(err, tenant.ErrCode) && fields["code"] != nil:
		fields["code"].Problem = "This code is wrong, or was used already. Wait for the next one."
		return http.StatusUnprocessableEntity, "", nil
	case errors.As(err, &refusal) && refusal.Code == tenant.RateLimited:
		return http.StatusTooManyRequests, refusal.Detail, nil
	}
	return 0, "", err
}

// newPassword is the field for a password that somebody chooses.
func newPassword(label string) input {
	return input{Name: "password", Label: label, Kind: "password", Autocomplete: "new-password", Required: true, Hint: passwordHint}
}

// askForgot shows the form that asks for a link to choose a new password.
func (c *Console) askForgot(w http.ResponseWriter, r *http.Request) {
	if !c.Tenants.CanMail() {
		c.render(w, r, http.StatusOK, c.noMailPage())
		return
	}
	c.render(w, r, http.StatusOK, c.forgotPage(forgotEmail(""), ""))
}

func forgotEmail(value string) input {
	return input{Name: "email", Label: "Email", Kind: "email", Value: value, Autocomplete: "username", Required: true}
}

// forgot has the link sent, if there is such an account: which is not told.
func (c *Console) forgot(w http.ResponseWriter, r *http.Request) {
	err := readForm(w, r)
	if err == nil {
		err = c.Tenants.AskReset(r.Context(), r.PostForm.Get("email"), address(r))
	}
	if err == nil {
		http.Redirect(w, r, "/login?done=forgot", http.StatusSeeOther)
		return
	}
	if errors.Is(err, tenant.ErrNoMail) {
		c.render(w, r, http.StatusConflict, c.noMailPage())
		return
	}
	email := forgotEmail(r.PostForm.Get("email"))
	status, problem, err := onForm(err, map[string]*input{"email": &email})
	if err != nil {
		c.fail(w, r, nil, err)
		return
	}
	c.render(w, r, status, c.forgotPage(email, problem))
}

func (c *Console) askReset(w http.ResponseWriter, r *http.Request, token string) error {
	email, err := c.Tenants.ResetFor(r.Context(), token)
	if err != nil {
		return err
	}
	c.render(w, r, http.StatusOK, c.resetPage(email, token, newPassword("New password")))
	return nil
}

// reset sets the new password and leads to the log-in: the link alone lets
// nobody in who has a second step.
func (c *Console) reset(w http.ResponseWriter, r *http.Request, token string) error {
	err := c.Tenants.ResetPassword(r.Context(), token, r.PostForm.Get("password"), address(r))
	if err == nil {
		http.Redirect(w, r, "/login?done=reset", http.StatusSeeOther)
		return nil
	}
	field := newPassword("New password")
	status, _, err := onForm(err, map[string]*input{"password": &field})
	if err != nil {
		return err
	}
	email, err := c.Tenants.ResetFor(r.Context(), token)
	if err != nil {
		return err
	}
	c.render(w, r, status, c.resetPage(email, token, field))
	return nil
}

func (c *Console) askEmail(w http.ResponseWriter, r *http.Request, token string) error {
	email, err := c.Tenants.EmailFor(r.Context(), token)
	if err != nil {
		return err
	}
	c.render(w, r, http.StatusOK, c.emailPage(email, token, ""))
	return nil
}

// email makes the new address the member's log-in.
func (c *Console) email(w http.ResponseWriter, r *http.Request, token string) error {
	err := c.Tenants.ChangeEmail(r.Context(), token, address(r))
	switch {
	case errors.Is(err, tenant.ErrEmailTaken):
		email, err := c.Tenants.EmailFor(r.Context(), token)
		if err != nil {
			return err
		}
		c.render(w, r, http.StatusConflict, c.emailPage(email, token, "This address has an account already. Each address belongs to one."))
		return nil
	case err != nil:
		return err
	}
	if _, err := c.session(r); err == nil {
		http.Redirect(w, r, "/console/profile?done=email", http.StatusSeeOther)
		return nil
	}
	http.Redirect(w, r, "/login?done=email", http.StatusSeeOther)
	return nil
}

func (c *Console) askInvitation(w http.ResponseWriter, r *http.Request, token string) error {
	invited, err := c.Tenants.InvitationFor(r.Context(), token)
	if err != nil {
		return err
	}
	c.render(w, r, http.StatusOK, c.invitationPage(invited, token, newPassword("Password"), ""))
	return nil
}

// acceptInvitation makes the member and logs them in.
func (c *Console) acceptInvitation(w http.ResponseWriter, r *http.Request, token string) error {
	cookie, _, err := c.Tenants.AcceptInvitation(r.Context(), token, r.PostForm.Get("password"), address(r), r.UserAgent())
	if err == nil {
		c.setCookie(w, c.cookieName(), cookie, tenant.SessionLifetime)
		http.Redirect(w, r, "/console?done=joined", http.StatusSeeOther)
		return nil
	}
	field, status, problem := newPassword("Password"), 0, ""
	if errors.Is(err, tenant.ErrEmailTaken) {
		status, problem = http.StatusConflict, "This address has an account already, and each address belongs to one organisation. Ask to be invited with another."
	} else if status, problem, err = onForm(err, map[string]*input{"password": &field}); err != nil {
		return err
	}
	invited, err := c.Tenants.InvitationFor(r.Context(), token)
	if err != nil {
		return err
	}
	c.render(w, r, status, c.invitationPage(invited, token, field, problem))
	return nil
}

// askVerify shows the sign-up that waits for its address to be confirmed.
func (c *Console) askVerify(w http.ResponseWriter, r *http.Request, token string) error {
	pending, err := c.Tenants.SignupFor(r.Context(), token, c.signupCookie(r))
	if err != nil {
		return err
	}
	c.render(w, r, http.StatusOK, c.verifyPage(pending, token, signupPassword(), ""))
	return nil
}

func signupPassword() input {
	return input{Name: "password", Label: "Password", Kind: "password", Autocomplete: "current-password", Required: true,
		Hint: "The one you chose when you signed up: this is another browser."}
}

// verify makes the tenant and logs its owner in.
func (c *Console) verify(w http.ResponseWriter, r *http.Request, token string) error {
	browser := c.signupCookie(r)
	created, err := c.Tenants.FinishSignup(r.Context(), token, browser, r.PostForm.Get("password"), address(r))
	if err == nil {
		c.setCookie(w, c.signupName(), "", -1)
		return c.welcome(w, r, created)
	}
	field, status, problem := signupPassword(), 0, ""
	if errors.Is(err, tenant.ErrEmailTaken) {
		status, problem = http.StatusConflict, "This address has got an account in the meantime. Log in with it."
	} else if status, problem, err = onForm(err, map[string]*input{"old": &field}); err != nil {
		return err
	}
	pending, err := c.Tenants.SignupFor(r.Context(), token, browser)
	if err != nil {
		return err
	}
	c.render(w, r, status, c.verifyPage(pending, token, field, problem))
	return nil
}

// signupName is the cookie by which a browser is known as the one that signed
// up.
func (c *Console) signupName() string { return c.cookieName() + "-signup" }

func (c *Console) signupCookie(r *http.Request) string {
	cookie, err := r.Cookie(c.signupName())
	if err != nil {
		return ""
	}
	return cookie.Value
}
