package api_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
)

// silent takes every mail.
type silent struct{}

func (silent) Send(context.Context, tenant.Message) error { return nil }

// invite has an address join, and returns the member's id.
func (c *caller) invite(email string, role tenant.MemberRole) string {
	c.t.Helper()
	link, _, err := c.tenants.Invite(c.t.Context(), c.scope, email, role)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.accept(link).ID
}

// accept follows an invitation's link.
func (c *caller) accept(link string) tenant.Member {
	c.t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		c.t.Fatal(err)
	}
	_, m, err := c.tenants.AcceptInvitation(c.t.Context(), u.Query().Get("t"), "larks sing at dawn", "192.0.2.7", "test")
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

func TestInvitations(t *testing.T) {
	c := newService(t).caller(t, "lark")
	c.tenants.UsePost(tenant.Post{PublicURL: "http://hibari.test"})
	other := c.service.caller(t, "finch")
	const path = "/v1/invitations"
	made := c.do("POST", path, `{"email":"ann@example.com","role":"developer"}`, "Idempotency-Key", "ann").want(201).object()
	link, _ := made["link"].(string)
	if !strings.HasPrefix(link, "http://hibari.test/invitation?t=") || made["email"] != "ann@example.com" || made["role"] != "developer" ||
		!strings.HasPrefix(made["invited_by"].(string), "api_key:") {
		t.Errorf("made: %v", made)
	}
	if again := c.do("POST", path, `{"email":"ann@example.com","role":"developer"}`, "Idempotency-Key", "ann").want(201).object(); again["link"] != link {
		t.Errorf("sent again: %v", again)
	}
	all := c.get(path).want(200).items()
	if len(all) != 1 || all[0]["id"] != made["id"] || all[0]["link"] != nil {
		t.Errorf("invitations: %v", all)
	}
	one := path + "/" + made["id"].(string)
	other.do("POST", one+"/resend", nil).problem(404, api.CodeNotFound)
	other.do("DELETE", one, nil).problem(404, api.CodeNotFound)
	renewed := c.do("POST", one+"/resend", nil).want(200).object()
	if renewed["link"] == link || renewed["id"] != made["id"] || renewed["invited_by"] != made["invited_by"] {
		t.Errorf("renewed: %v", renewed)
	}
	if m := c.accept(renewed["link"].(string)); m.Email != "ann@example.com" || m.Role != tenant.Developer || m.Tenant != c.made.Tenant {
		t.Errorf("who joined: %+v", m)
	}
	c.do("POST", one+"/resend", nil).problem(404, api.CodeNotFound)
	if p := c.do("POST", path, `{"email":"ann@example.com","role":"viewer"}`).problem(422, api.CodeInvalid); p.Errors[0].Field != "email" {
		t.Errorf("a member is invited: %+v", p)
	}

	bob := c.do("POST", path, `{"email":"bob@example.com","role":"admin"}`).want(201).object()
	c.do("POST", path, `{"email":"cid@example.com","role":"viewer"}`).want(201)
	first := c.get(path + "?limit=1").want(200)
	rest := c.get(path + "?limit=1&cursor=" + first.next()).want(200)
	if first.items()[0]["id"] != bob["id"] || rest.items()[0]["email"] != "cid@example.com" || rest.next() != "" {
		t.Errorf("pages: %s %s", first.body, rest.body)
	}
	c.do("DELETE", path+"/"+bob["id"].(string), nil).want(204)
	c.do("DELETE", path+"/"+bob["id"].(string), nil).problem(404, api.CodeNotFound)
	for body, field := range map[string]string{
		`{"email":"nobody","role":"viewer"}`:           "email",
		`{"email":"","role":"viewer"}`:                 "email",
		`{"email":"dan@example.com","role":"captain"}`: "role",
		`{"email":"dan@example.com"}`:                  "",
	} {
		if p := c.do("POST", path, body).problem(422, api.CodeInvalid); len(p.Errors) != 1 || p.Errors[0].Field != field || p.Errors[0].In != "body" {
			t.Errorf("%s: %+v", body, p.Errors)
		}
	}

	// An owner is made by owners, who are people.
	c.do("POST", path, `{"email":"dan@example.com","role":"owner"}`).problem(403, api.CodeForbidden)
	_, owner, err := c.tenants.Invite(t.Context(), c.scope, "eve@example.com", tenant.Owner)
	if err != nil {
		t.Fatal(err)
	}
	c.do("POST", path+"/"+owner.ID+"/resend", nil).problem(403, api.CodeForbidden)
	c.do("DELETE", path+"/"+owner.ID, nil).problem(403, api.CodeForbidden)
	if all := c.get(path).want(200).items(); len(all) != 2 || all[1]["id"] != owner.ID {
		t.Errorf("an owner's invitation is gone: %v", all)
	}

	// What is mailed is told to nobody else.
	c.tenants.UsePost(tenant.Post{Mailer: silent{}, Delivers: true, PublicURL: "http://hibari.test"})
	for key, ask := range map[string][2]string{"fay": {path, `{"email":"fay@example.com","role":"viewer"}`}, "cid": {path + "/" + rest.items()[0]["id"].(string) + "/resend", `{}`}} {
		var body any
		if ask[1] != `{}` {
			body = ask[1]
		}
		for range 2 { // the second one is the answer of the first
			r := c.do("POST", ask[0], body, "Idempotency-Key", key)
			if r.status/100 != 2 || r.object()["link"] != nil || strings.Contains(string(r.body), "invitation?t=") {
				t.Errorf("%s with mail: %d %s", ask[0], r.status, r.body)
			}
		}
	}
	var mails int
	if err := c.pool.QueryRow(t.Context(), `select count(*) from mail_outbox where kind = 'invitation'`).Scan(&mails); err != nil || mails != 2 {
		t.Errorf("%d mails, %v", mails, err)
	}
}

// More tenants than the pool has connections for invite with idempotency keys at
// once: each request is a transaction and counts in another one, and nobody waits
// for a connection that those who wait hold.
func TestInvitationsOfManyTenants(t *testing.T) {
	s := newService(t)
	var inviting sync.WaitGroup
	for _, name := range []string{"lark", "finch", "wren"} {
		c := s.caller(t, name)
		for range 8 {
			inviting.Go(func() {
				id := tenant.NewID()
				if r := c.do("POST", "/v1/invitations", map[string]any{"email": id + "@example.com", "role": "viewer"}, "Idempotency-Key", id); r.status != 201 {
					t.Errorf("status %d: %s", r.status, r.body)
				}
			})
		}
	}
	inviting.Wait()
}

func TestMembers(t *testing.T) {
	c := newService(t).caller(t, "lark")
	other := c.service.caller(t, "finch")
	ann := c.invite("ann@example.com", tenant.Developer)
	path := "/v1/members/" + ann
	all := c.get("/v1/members").want(200).items()
	if len(all) != 2 || all[1]["id"] != ann || all[1]["second_step"] != false || all[1]["last_seen_at"] == nil {
		t.Errorf("members: %v", all)
	}
	if m := c.do("PATCH", path, `{"role":"admin"}`).want(200).object(); m["role"] != "admin" || m["id"] != ann || m["last_seen_at"] != nil {
		t.Errorf("changed: %v", m)
	}
	other.do("PATCH", path, `{"role":"viewer"}`).problem(404, api.CodeNotFound)
	other.do("DELETE", path, nil).problem(404, api.CodeNotFound)
	other.do("POST", path+"/reset-second-step", nil).problem(404, api.CodeNotFound)
	c.do("PATCH", path, `{"role":"captain"}`).problem(422, api.CodeInvalid)
	c.do("PATCH", path, `{}`).problem(422, api.CodeInvalid)
	for _, nobody := range []string{"mem_" + tenant.NewID(), "%00", "%ff", "'"} {
		for _, ask := range [][2]string{{"PATCH", ""}, {"DELETE", ""}, {"POST", "/reset-second-step"}} {
			var body any
			if ask[0] == "PATCH" {
				body = map[string]any{"role": "viewer"}
			}
			if r := c.do(ask[0], "/v1/members/"+nobody+ask[1], body); r.status != 404 && r.status != 422 {
				t.Errorf("%s %s: %d %s", ask[0], nobody, r.status, r.body)
			}
		}
	}

	// Nobody gives a role above their own, and an owner's log-in is for owners.
	owner := "/v1/members/" + c.made.MemberID
	c.do("PATCH", path, `{"role":"owner"}`).problem(403, api.CodeForbidden)
	c.do("PATCH", owner, `{"role":"viewer"}`).problem(403, api.CodeForbidden)
	c.do("DELETE", owner, nil).problem(403, api.CodeForbidden)
	c.do("POST", owner+"/reset-second-step", nil).problem(403, api.CodeForbidden)
	for _, role := range []tenant.MemberRole{tenant.Developer, tenant.Billing, tenant.Viewer} {
		less := c.as(role)
		less.do("PATCH", path, `{"role":"viewer"}`).problem(403, api.CodeForbidden)
		less.do("DELETE", path, nil).problem(403, api.CodeForbidden)
		less.do("POST", path+"/reset-second-step", nil).problem(403, api.CodeForbidden)
	}
	if all := c.get("/v1/members").want(200).items(); len(all) != 2 || all[0]["role"] != "owner" || all[1]["role"] != "admin" {
		t.Errorf("members: %v", all)
	}

	c.do("POST", path+"/reset-second-step", nil).problem(404, api.CodeNotFound) // there is none
	_, err := c.pool.Exec(t.Context(), `insert into second_step (tenant_id, member_id, secret_sealed, confirmed_at) values ($1, $2, 'sealed', clock_timestamp())`, c.made.Tenant, ann)
	if err != nil {
		t.Fatal(err)
	}
	if all := c.get("/v1/members").want(200).items(); all[1]["second_step"] != true {
		t.Errorf("members: %v", all)
	}
	for range 2 { // the second one is the answer of the first
		if m := c.do("POST", path+"/reset-second-step", nil, "Idempotency-Key", "reset").want(200).object(); m["second_step"] != false {
			t.Errorf("reset: %v", m)
		}
	}
	c.do("DELETE", path, nil).want(204)
	c.do("DELETE", path, nil).problem(404, api.CodeNotFound)
	var done []string
	for _, entry := range c.get("/v1/audit-log").want(200).items() {
		if action := entry["action"].(string); entry["target"] == ann && strings.HasPrefix(entry["actor"].(string), "api_key:") {
			done = append(done, action)
		}
	}
	if got := strings.Join(done, " "); got != "member.removed second_step.reset member.role_changed" {
		t.Errorf("the audit log has %q", got)
	}
}

// A suspended tenant lets no client in. Its keys do what they did, so that it sees
// why, and takes its data.
func TestSuspendedTenant(t *testing.T) {
	c := newService(t).caller(t, "lark")
	if me := c.get("/v1/tenant").want(200).object(); me["status"] != "active" || me["suspended_reason"] != nil {
		t.Errorf("before: %v", me)
	}
	live, token := c.open("hello", tenant.RecvOnly)
	if err := c.tenants.Suspend(t.Context(), tenant.CommandLine(), c.made.Tenant, "the invoice of May is open"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.tenants.Verify(t.Context(), tenant.TokenWish{Token: token, Channel: "hello", Role: tenant.RecvOnly}); err == nil {
		t.Error("its clients come in")
	}
	if me := c.get("/v1/tenant").want(200).object(); me["status"] != "suspended" || me["suspended_reason"] != "the invoice of May is open" {
		t.Errorf("suspended: %v", me)
	}
	if all := c.get("/v1/connections").want(200).items(); len(all) != 1 {
		t.Errorf("connections: %v", all)
	}
	c.get("/v1/events").want(200)
	c.do("POST", "/v1/signing-keys", `{"name":"a"}`).want(201)
	c.do("PATCH", "/v1/settings", `{"duplicate_client_id":"refuse"}`).want(200)
	c.do("DELETE", "/v1/connections/"+live, nil).want(http.StatusNoContent)
}
