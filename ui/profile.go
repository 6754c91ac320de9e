package ui

import (
	"errors"
	"net/http"
	"strings"

	"github.com/hibari/hibari/internal/tenant"
)

// profileData is a member's own page; at most one form carries a problem.
type profileData struct {
	second              tenant.SecondStep
	sessions            []tenant.SessionInfo
	email               input
	old, password       input
	off                 input // the password that turns the second step off
	problem, problemFor string
}

func emptyProfile() profileData {
	off := input{Name: "old", ID: "field-off", Label: "Your password", Kind: "password", Autocomplete: "current-password", Required: true}
	return profileData{
		email:    input{Name: "email", Label: "New address", Kind: "email", Autocomplete: "email", Required: true},
		old:      input{Name: "old", Label: "Old password", Kind: "password", Autocomplete: "current-password", Required: true},
		password: newPassword("New password"),
		off:      off,
	}
}

func (c *Console) profile(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showProfile(w, r, v, http.StatusOK, emptyProfile())
}

func (c *Console) showProfile(w http.ResponseWriter, r *http.Request, v *visit, status int, d profileData) (err error) {
	if d.second, err = c.Tenants.SecondStepOf(r.Context(), v.login); err != nil {
		return err
	}
	if d.sessions, err = c.Tenants.Sessions(r.Context(), v.login); err != nil {
		return err
	}
	return v.page(w, r, status, profilePage(v, d))
}

// refuse shows the profile again with what is wrong with one of its forms.
func (c *Console) refuseProfile(w http.ResponseWriter, r *http.Request, v *visit, d profileData, of string, err error, fields map[string]*input) error {
	if errors.Is(err, tenant.ErrNoSession) {
		c.sendToLogin(w, r)
		return nil
	}
	status, problem, err := onForm(err, fields)
	if err != nil {
		return err
	}
	d.problem, d.problemFor = problem, of
	return c.showProfile(w, r, v, status, d)
}

// changeEmail has the new address confirmed by a link.
func (c *Console) changeEmail(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	d := emptyProfile()
	d.email.Value = strings.TrimSpace(r.PostForm.Get("email"))
	err := c.Tenants.AskEmail(r.Context(), v.login, d.email.Value)
	if err == nil {
		return v.finish(w, r, "/console/profile", "email-asked")
	}
	if errors.Is(err, tenant.ErrNoMail) {
		err = &tenant.FieldError{Field: "email", Problem: "This platform sends no mail, so a new address can't be checked."}
	}
	return c.refuseProfile(w, r, v, d, "email", err, map[string]*input{"email": &d.email})
}

func (c *Console) changePassword(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	cookie, err := c.Tenants.ChangePassword(r.Context(), v.login, r.PostForm.Get("old"), r.PostForm.Get("password"), address(r))
	if err == nil {
		c.setCookie(w, c.cookieName(), cookie, tenant.SessionLifetime)
		return v.finish(w, r, "/console/profile", "password")
	}
	d := emptyProfile()
	return c.refuseProfile(w, r, v, d, "password", err, map[string]*input{"old": &d.old, "password": &d.password})
}

// endSession logs the member out on one device.
func (c *Console) endSession(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Tenants.EndSession(r.Context(), v.login, param(r, "session")); err != nil {
		return err
	}
	return v.finish(w, r, "/console/profile", "session")
}

// endSessions logs the member out everywhere, here too.
func (c *Console) endSessions(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Tenants.EndAllSessions(r.Context(), v.login); err != nil {
		return err
	}
	c.setCookie(w, c.cookieName(), "", -1)
	http.Redirect(w, r, "/login?done=everywhere", http.StatusSeeOther)
	return nil
}

// device names the browser and the system of a user agent, as people know them.
func device(agent string) string {
	browser, system := "", ""
	for _, known := range [][2]string{{"Firefox/", "Firefox"}, {"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Chrome/", "Chrome"}, {"Safari/", "Safari"}} {
		if browser == "" && strings.Contains(agent, known[0]) {
			browser = known[1]
		}
	}
	for _, known := range [][2]string{{"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Android", "Android"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"Linux", "Linux"}} {
		if system == "" && strings.Contains(agent, known[0]) {
			system = known[1]
		}
	}
	switch {
	case browser != "" && system != "":
		return browser + " on " + system
	case browser+system != "":
		return browser + system
	case agent == "":
		return "unknown"
	}
	return agent
}
