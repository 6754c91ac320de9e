package tenant_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/tenant"
)

func TestInvitations(t *testing.T) {
	h, box := newPostalHouse(t)
	owner := h.login("owner@example.com", password)
	for _, bad := range []struct{ email, role, field string }{{"nobody", "viewer", "email"}, {"a@example.com", "emperor", "role"}, {"a@example.com", "", "role"}, {"OWNER@example.com", "viewer", "email"}} {
		if _, _, err := h.store.Invite(t.Context(), owner.Scope, bad.email, tenant.MemberRole(bad.role)); !isField(err, bad.field) {
			t.Errorf("Invite(%q, %q) = %v", bad.email, bad.role, err)
		}
	}
	link, first, err := h.store.Invite(t.Context(), owner.Scope, "Dev@example.com", tenant.Developer)
	if err != nil {
		t.Fatal(err)
	}
	mail := box.next(t, 1)
	token := h.tokenIn(mail, "/invitation")
	if mail.To != "Dev@example.com" || !strings.Contains(mail.Text, "owner@example.com") || !strings.Contains(mail.Text, "Skylark") || !strings.HasSuffix(link, token) {
		t.Errorf("link %s, mail %+v", link, mail)
	}
	// A second one for the same address replaces the first, and so does a renewal.
	_, again, err := h.store.Invite(t.Context(), owner.Scope, "dev@example.com", tenant.Viewer)
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.store.InvitationFor(t.Context(), token)
	wantErr(t, "the replaced link", err, tenant.ErrLink)
	_, _, err = h.store.InviteAgain(t.Context(), owner.Scope, first.ID)
	wantErr(t, "renewing the replaced one", err, tenant.ErrNotFound)
	if _, _, err := h.store.InviteAgain(t.Context(), owner.Scope, again.ID); err != nil {
		t.Fatal(err)
	}
	_, err = h.store.InvitationFor(t.Context(), h.tokenIn(box.next(t, 2), "/invitation"))
	wantErr(t, "the link before the renewal", err, tenant.ErrLink)
	token = h.tokenIn(box.next(t, 3), "/invitation")
	list, err := h.store.Invitations(t.Context(), owner.Scope)
	if err != nil || len(list) != 1 || list[0].ID != again.ID || list[0].Role != tenant.Viewer || list[0].InvitedBy != owner.Scope.Actor() {
		t.Errorf("invitations %+v, %v", list, err)
	}

	var joined, dead int
	var mu sync.Mutex
	var accepting sync.WaitGroup
	for range 6 {
		accepting.Go(func() {
			cookie, m, err := h.store.AcceptInvitation(t.Context(), token, password, "192.0.2.1", "Firefox")
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				joined++
				if l := h.session(cookie); l.Member != m || m.Role != tenant.Viewer || m.Tenant != h.made.Tenant {
					t.Errorf("member %+v", m)
				}
			case errors.Is(err, tenant.ErrLink):
				dead++
			default:
				t.Errorf("AcceptInvitation = %v", err)
			}
		})
	}
	accepting.Wait()
	if joined != 1 || dead != 5 {
		t.Errorf("%d joined, %d were refused", joined, dead)
	}

	// Somebody with an account elsewhere cannot join a second tenant.
	h.newTenant("Other", "other@example.com")
	link, _, err = h.store.Invite(t.Context(), owner.Scope, "other@example.com", tenant.Viewer)
	if err != nil {
		t.Fatal(err)
	}
	_, token, _ = strings.Cut(link, "?t=")
	_, _, err = h.store.AcceptInvitation(t.Context(), token, password, "", "")
	wantErr(t, "a second account", err, tenant.ErrEmailTaken)
	list, err = h.store.Invitations(t.Context(), owner.Scope)
	if err != nil || len(list) != 1 {
		t.Fatalf("invitations %+v, %v", list, err)
	}
	if err := h.store.CancelInvitation(t.Context(), owner.Scope, list[0].ID); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "cancelling twice", h.store.CancelInvitation(t.Context(), owner.Scope, list[0].ID), tenant.ErrNotFound)
	_, err = h.store.InvitationFor(t.Context(), token)
	wantErr(t, "a cancelled link", err, tenant.ErrLink)
}

// Members, invitations and sessions of another tenant are not there.
func TestMembersOfOthersAreNotThere(t *testing.T) {
	h := newHouse(t)
	dev := h.join("dev@example.com", tenant.Developer)
	_, invitation, err := h.store.Invite(t.Context(), h.scope, "invited@example.com", tenant.Viewer)
	if err != nil {
		t.Fatal(err)
	}
	other := tenant.OperatorScope(h.newTenant("Other", "other@example.com").Tenant)
	theirs := h.login("other@example.com", password)
	for name, err := range map[string]error{
		"SetRole": h.store.SetRole(t.Context(), other, dev.Member.ID, tenant.Viewer), "RemoveMember": h.store.RemoveMember(t.Context(), theirs.Scope, dev.Member.ID),
		"ResetSecondStep": h.store.ResetSecondStep(t.Context(), other, dev.Member.ID), "CancelInvitation": h.store.CancelInvitation(t.Context(), other, invitation.ID),
		"EndSession": h.store.EndSession(t.Context(), theirs, dev.Session),
	} {
		wantErr(t, name, err, tenant.ErrNotFound)
	}
	_, _, err = h.store.InviteAgain(t.Context(), other, invitation.ID)
	wantErr(t, "InviteAgain", err, tenant.ErrNotFound)
	if list, err := h.store.Invitations(t.Context(), other); err != nil || len(list) != 0 {
		t.Errorf("invitations %+v, %v", list, err)
	}
	if list, err := h.store.MemberInfos(t.Context(), other); err != nil || len(list) != 1 || list[0].Email != "other@example.com" {
		t.Errorf("members %+v, %v", list, err)
	}
	var none tenant.Scope
	wantErr(t, "no scope", h.store.SetRole(t.Context(), none, dev.Member.ID, tenant.Viewer), tenant.ErrScope)
	_, _, err = h.store.Invite(t.Context(), none, "a@example.com", tenant.Viewer)
	wantErr(t, "no scope", err, tenant.ErrScope)
}

func TestRemovedMembersAreOutAtOnce(t *testing.T) {
	h := newHouse(t)
	h.join("dev@example.com", tenant.Developer)
	cookie, _, err := h.store.LogIn(t.Context(), "dev@example.com", password, "", "")
	if err != nil {
		t.Fatal(err)
	}
	dev := h.session(cookie)
	h.enrol(dev)
	if err := h.store.RemoveMember(t.Context(), h.scope, dev.Member.ID); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "the session", third(h.store.Session(t.Context(), cookie)), tenant.ErrNoSession)
	wantErr(t, "the log-in", second(h.store.LogIn(t.Context(), "dev@example.com", password, "", "")), tenant.ErrLogin)
	wantErr(t, "again", h.store.RemoveMember(t.Context(), h.scope, dev.Member.ID), tenant.ErrNotFound)
	// Their address is free again.
	h.join("dev@example.com", tenant.Viewer)
}

// An API key may no more than its role.
func TestKeysChangeMembersByTheirRole(t *testing.T) {
	h := newHouse(t)
	dev := h.join("dev@example.com", tenant.Developer)
	for role, want := range map[tenant.MemberRole]error{tenant.Viewer: tenant.ErrOwnersOnly, tenant.Developer: tenant.ErrOwnersOnly, tenant.Admin: nil} {
		secret, _, err := h.store.CreateAPIKey(t.Context(), h.scope, "key", role)
		if err != nil {
			t.Fatal(err)
		}
		h.log.secret(secret)
		scope, err := h.store.AuthenticateAPIKey(t.Context(), secret)
		if err != nil {
			t.Fatal(err)
		}
		wantErr(t, string(role)+" changes a developer", h.store.SetRole(t.Context(), scope, dev.Member.ID, tenant.Billing), want)
		wantErr(t, string(role)+" removes an owner", h.store.RemoveMember(t.Context(), scope, h.made.MemberID), tenant.ErrOwnersOnly)
		_, _, err = h.store.Invite(t.Context(), scope, "boss@example.com", tenant.Owner)
		wantErr(t, string(role)+" makes an owner", err, tenant.ErrOwnersOnly)
	}
}

// However owners are removed and demoted at once, and by whom: one remains.
func TestAnOwnerRemains(t *testing.T) {
	h := newHouse(t)
	other := h.newStore(h.secondPool())
	for round := range 3 {
		owners := []string{}
		for i := range 4 {
			owners = append(owners, h.join(fmt.Sprintf("owner%d-%d@example.com", round, i), tenant.Owner).Member.ID)
		}
		members, err := h.store.MemberInfos(t.Context(), h.scope)
		if err != nil {
			t.Fatal(err)
		}
		owners = owners[:0]
		for _, m := range members {
			if m.Role == tenant.Owner {
				owners = append(owners, m.ID)
			}
		}
		var storm sync.WaitGroup
		var mu sync.Mutex
		lasts := 0
		for i, id := range owners {
			storm.Go(func() {
				store := []*tenant.Store{h.store, other}[i%2]
				var err error
				if i%3 == 0 {
					err = store.RemoveMember(context.Background(), h.scope, id)
				} else {
					err = store.SetRole(context.Background(), h.scope, id, tenant.Viewer)
				}
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, tenant.ErrLastOwner) {
					lasts++
				} else if err != nil {
					t.Errorf("%v", err)
				}
			})
		}
		storm.Wait()
		var left int
		if err := h.pool.QueryRow(t.Context(), `select count(*) from member where tenant_id = $1 and role = 'owner'`, h.made.Tenant).Scan(&left); err != nil || left != 1 || lasts != 1 {
			t.Errorf("%d owners are left, %d were told that they are the last, %v", left, lasts, err)
		}
	}
}

// TestRolesOfMembers holds the store against the rules as one may say them: at
// least one owner; only owners touch owners and make them; only owners and
// admins touch anybody.
func TestRolesOfMembers(t *testing.T) {
	h := newHouse(t)
	names := []string{"a", "b", "c", "d"}
	roles := []tenant.MemberRole{tenant.Owner, tenant.Admin, tenant.Developer, tenant.Billing, tenant.Viewer}
	house := 0
	rapid.Check(t, func(rt *rapid.T) {
		house++
		made := h.newTenant("Model", fmt.Sprintf("model%d@example.com", house))
		scope := tenant.OperatorScope(made.Tenant)
		// The model: who is there, as what.
		model := map[string]tenant.MemberRole{made.MemberID: tenant.Owner}
		ids := []string{made.MemberID}
		for i, name := range names {
			id := fmt.Sprintf("mem_%s%d", name, house)
			role := rapid.SampledFrom(roles).Draw(rt, "role")
			h.exec(`insert into member (member_id, tenant_id, email, password_hash, role) values ($1, $2, $3, '', $4)`, id, made.Tenant, fmt.Sprintf("%s%d-%d@example.com", name, house, i), role)
			model[id] = role
			ids = append(ids, id)
		}
		owners := func() (n int) {
			for _, role := range model {
				if role == tenant.Owner {
					n++
				}
			}
			return n
		}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			actor, target := rapid.SampledFrom(ids).Draw(rt, "actor"), rapid.SampledFrom(ids).Draw(rt, "target")
			role := rapid.SampledFrom(append(roles, "")).Draw(rt, "to") // "": removed
			as, is := model[actor], model[target]
			cookie, err := h.store.StartSession(context.Background(), actor, "", "")
			if as == "" {
				if !errors.Is(err, tenant.ErrNotFound) {
					rt.Fatalf("a removed member gets a session: %v", err)
				}
				continue
			}
			login, err := h.store.Session(context.Background(), cookie)
			if err != nil {
				rt.Fatal(err)
			}
			var want error
			switch {
			case as != tenant.Owner && as != tenant.Admin:
				want = tenant.ErrOwnersOnly
			case is == "":
				want = tenant.ErrNotFound
			case is == tenant.Owner && as != tenant.Owner:
				want = tenant.ErrOwnersOnly
			case is == role:
			case role == tenant.Owner && as != tenant.Owner:
				want = tenant.ErrOwnersOnly
			case is == tenant.Owner && owners() == 1:
				want = tenant.ErrLastOwner
			}
			if role == "" {
				err = h.store.RemoveMember(context.Background(), login.Scope, target)
			} else {
				err = h.store.SetRole(context.Background(), login.Scope, target, role)
			}
			if !errors.Is(err, want) {
				rt.Fatalf("%s makes %s %q: %v, want %v", as, is, role, err, want)
			}
			if want == nil {
				model[target] = role
				if role == "" {
					delete(model, target)
				}
			}
			members, err := h.store.MemberInfos(context.Background(), scope)
			if err != nil || len(members) != len(model) || owners() < 1 {
				rt.Fatalf("members %+v, want %v, %v", members, model, err)
			}
			for _, m := range members {
				if model[m.ID] != m.Role {
					rt.Fatalf("%s is %s, want %s", m.ID, m.Role, model[m.ID])
				}
			}
		}
	})
}
