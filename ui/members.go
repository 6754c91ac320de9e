package ui

import (
	"errors"
	"net/http"
	"strings"

	"github.com/hibari/hibari/internal/tenant"
)

// membersData is the page of members.
type membersData struct {
	members     []tenant.MemberInfo
	invitations []tenant.Invitation
	names       map[string]string // of actors
	email       input
	role        tenant.MemberRole // chosen in the form
	problem     string
}

func (c *Console) members(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showMembers(w, r, v, http.StatusOK, membersData{email: inviteEmail("")})
}

func inviteEmail(value string) input {
	return input{Name: "email", Label: "Email of a new member", Kind: "email", Value: value, Placeholder: "name@example.com", Required: true}
}

func (c *Console) showMembers(w http.ResponseWriter, r *http.Request, v *visit, status int, d membersData) (err error) {
	if d.members, err = c.Tenants.MemberInfos(r.Context(), v.login.Scope); err != nil {
		return err
	}
	if d.invitations, err = c.Tenants.Invitations(r.Context(), v.login.Scope); err != nil {
		return err
	}
	d.names = map[string]string{"operator": "operator"}
	for _, m := range d.members {
		d.names["member:"+m.ID] = m.Email
	}
	if d.role == "" {
		d.role = tenant.Developer
	}
	return v.page(w, r, status, membersPage(v, d))
}

// grantable are the roles that the visitor may give.
func (v *visit) grantable() []tenant.MemberRole {
	if v.login.Member.Role == tenant.Owner {
		return everyone
	}
	return everyone[1:]
}

// rules are the errors of the rules of members, as a person is told of them.
var rules = []error{tenant.ErrLastOwner, tenant.ErrOwnersOnly, tenant.ErrYourself, tenant.ErrTooManyMembers}

// sentence makes an error of the rules a sentence.
func sentence(err error) string {
	for _, rule := range rules {
		if errors.Is(err, rule) {
			text := rule.Error()
			return strings.ToUpper(text[:1]) + text[1:] + "."
		}
	}
	return ""
}

// refuseMembers shows the page with the rule that stood against it.
func (c *Console) refuseMembers(w http.ResponseWriter, r *http.Request, v *visit, err error) error {
	if text := sentence(err); text != "" {
		return c.showMembers(w, r, v, http.StatusConflict, membersData{email: inviteEmail(""), problem: text})
	}
	return err
}

// invite invites an address. Where mail does not reach people, the link is
// shown once, for the inviter to hand on.
func (c *Console) invite(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	d := membersData{email: inviteEmail(strings.TrimSpace(r.PostForm.Get("email"))), role: tenant.MemberRole(r.PostForm.Get("role"))}
	link, invitation, err := c.Tenants.Invite(r.Context(), v.login.Scope, d.email.Value, d.role)
	if err == nil {
		return c.invited(w, r, v, link, invitation)
	}
	if text := sentence(err); text != "" {
		d.problem = text
		return c.showMembers(w, r, v, http.StatusConflict, d)
	}
	var wrong *tenant.FieldError
	if errors.As(err, &wrong) && wrong.Field == "role" {
		d.role, d.problem = "", wrong.Problem
		return c.showMembers(w, r, v, http.StatusUnprocessableEntity, d)
	}
	status, problem, err := onForm(err, map[string]*input{"email": &d.email})
	if err != nil {
		return err
	}
	d.problem = problem
	return c.showMembers(w, r, v, status, d)
}

func (c *Console) inviteAgain(w http.ResponseWriter, r *http.Request, v *visit) error {
	link, invitation, err := c.Tenants.InviteAgain(r.Context(), v.login.Scope, param(r, "invitation"))
	if err != nil {
		return c.refuseMembers(w, r, v, err)
	}
	return c.invited(w, r, v, link, invitation)
}

func (c *Console) invited(w http.ResponseWriter, r *http.Request, v *visit, link string, i tenant.Invitation) error {
	if c.Tenants.Delivers() {
		return v.finish(w, r, "/console/members", "invited")
	}
	err := c.handSecrets(w, v.login.Member.ID, "/console/members", secrets{
		Title:  "Invitation of " + i.Email,
		Hint:   "No mail is sent here. Give this link to them yourself: it is shown only now, works once and for a week, and whoever has it can join.",
		Values: []secretValue{{"Invitation link", link}},
	})
	if err != nil {
		return err
	}
	return v.finish(w, r, "/console/members", "invited-link")
}

func (c *Console) cancelInvitation(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Tenants.CancelInvitation(r.Context(), v.login.Scope, param(r, "invitation")); err != nil {
		return c.refuseMembers(w, r, v, err)
	}
	return v.finish(w, r, "/console/members", "uninvited")
}

// memberOf returns the member that the path names.
func (c *Console) memberOf(r *http.Request, v *visit) (tenant.MemberInfo, error) {
	members, err := c.Tenants.MemberInfos(r.Context(), v.login.Scope)
	if err != nil {
		return tenant.MemberInfo{}, err
	}
	for _, m := range members {
		if m.ID == param(r, "member") {
			return m, nil
		}
	}
	return tenant.MemberInfo{}, tenant.ErrNotFound
}

func (c *Console) setRole(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	m, err := c.memberOf(r, v)
	if err != nil {
		return err
	}
	err = c.Tenants.SetRole(r.Context(), v.login.Scope, m.ID, tenant.MemberRole(r.PostForm.Get("role")))
	var wrong *tenant.FieldError
	switch {
	case errors.As(err, &wrong):
		return c.showMembers(w, r, v, http.StatusUnprocessableEntity, membersData{email: inviteEmail(""), problem: wrong.Problem})
	case err != nil:
		return c.refuseMembers(w, r, v, err)
	}
	return v.finish(w, r, "/console/members", "role")
}

// askRemove asks once whether to remove a member.
func (c *Console) askRemove(w http.ResponseWriter, r *http.Request, v *visit) error {
	m, err := c.memberOf(r, v)
	if err != nil {
		return err
	}
	return v.ask(w, r, question{
		Title: "Remove this member?", Text: "They are logged out everywhere at once and can't log in any more. Keys they made go on working: revoke those they know.",
		Facts:   [][2]string{{"Email", m.Email}, {"Role", string(m.Role)}},
		Confirm: "Remove", Action: "/console/members/" + m.ID + "/remove", Back: "/console/members",
	})
}

func (c *Console) removeMember(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Tenants.RemoveMember(r.Context(), v.login.Scope, param(r, "member")); err != nil {
		return c.refuseMembers(w, r, v, err)
	}
	if param(r, "member") == v.login.Member.ID {
		c.setCookie(w, c.cookieName(), "", -1)
		http.Redirect(w, r, "/login?done=bye", http.StatusSeeOther)
		return nil
	}
	return v.finish(w, r, "/console/members", "removed")
}

// askResetSecond asks once whether a member shall log in without a code.
func (c *Console) askResetSecond(w http.ResponseWriter, r *http.Request, v *visit) error {
	m, err := c.memberOf(r, v)
	if err != nil {
		return err
	}
	return v.ask(w, r, question{
		Title: "Turn this member's second step off?", Text: "For somebody who has lost their phone and their recovery codes. Make sure that it is them who asks.",
		Facts:   [][2]string{{"Email", m.Email}},
		Confirm: "Turn it off", Action: "/console/members/" + m.ID + "/second-step", Back: "/console/members",
	})
}

func (c *Console) resetSecond(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Tenants.ResetSecondStep(r.Context(), v.login.Scope, param(r, "member")); err != nil {
		return c.refuseMembers(w, r, v, err)
	}
	return v.finish(w, r, "/console/members", "second-reset")
}

// mayTouch reports whether the visitor may change this member: what a page
// offers must be what the store allows.
func (v *visit) mayTouch(m tenant.Member) bool {
	return m.Role != tenant.Owner || v.login.Member.Role == tenant.Owner
}

// inviter names who invited; one that is gone keeps their id.
func (d membersData) inviter(actor string) string {
	if name, ok := d.names[actor]; ok {
		return name
	}
	return strings.Replace(actor, "api_key:", "API key ", 1)
}
