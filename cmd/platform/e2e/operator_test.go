package e2e

import (
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestOperatorsConsole has an operator suspend a tenant by the keyboard, on one of
// two nodes: the other refuses its clients within two seconds, the call in progress
// goes on until it is ended by a second act, the tenant's API and console go on
// working, and its members read why. Every page fits its window.
func TestOperatorsConsole(t *testing.T) {
	dir := os.Getenv("HIBARI_SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	first, second := twoNodes(t)
	a := first.tenant("Lark")
	first.run(password+"\n", "operator", "create", "--email", "keeper@example.com", "--password-stdin")
	token := first.token(a, "hello", "recvonly")
	call := mustDial2015(t, first, "downstream", "hello", token)
	elsewhere := second.token(a, "hall", "recvonly")
	eventually(t, "the second node knows the new tenant", func() bool {
		there, err := dial2015(t, second, "downstream", "hall", elsewhere)
		if err == nil {
			there.close()
		}
		return err == nil
	})
	eventually(t, "one call is left", func() bool { return len(first.connections(a)) == 1 })

	b := newBrowser(t)
	p := b.open(first.url + "/operator/tenants")
	p.arrives("/operator/login")
	p.picture(t, dir, "operator-login", false, false)
	p.fill("Email", "keeper@example.com")
	p.fill("Password", password)
	p.press("Log in")
	p.arrives("/operator/tenants")
	eval[bool](p, "(document.querySelector('#tenant-rows a').click(), true)")
	p.until("the tenant's page is there", "location.pathname.startsWith('/operator/tenants/ten_')")
	path := eval[string](p, "location.pathname")
	p.fill("Reason", "the invoice of May is open")
	p.reach("Suspend", "\r")
	p.until("it is suspended", "document.body.innerText.includes('The tenant is suspended')")
	eventually(t, "the other node refuses its clients", func() bool {
		there, err := dial2015(t, second, "downstream", "hall", elsewhere)
		if err == nil {
			there.close()
		}
		return err != nil && strings.HasPrefix(err.Error(), "tenant_suspended")
	})
	if n := len(second.connections(a)); n != 1 { // by the Action API, which answers a suspended tenant
		t.Errorf("%d connections are left", n)
	}
	for name, page := range map[string]string{"operator-overview": "/operator", "operator-tenants": "/operator/tenants", "operator-tenant": path,
		"operator-nodes": "/operator/nodes", "operator-operators": "/operator/operators", "operator-audit": "/operator/audit", "operator-entry": "/operator/audit/1"} {
		q := b.open(first.url + page)
		q.until("the page is there", "document.readyState === 'complete' && !!document.querySelector('main h1')")
		for _, dark := range []bool{false, true} {
			for _, narrow := range []bool{false, true} {
				q.picture(t, dir, name, narrow, dark)
			}
		}
		q.Close()
	}
	member := b.logIn(first, a, "/console")
	member.until("the reason stands there", "document.body.innerText.includes('the invoice of May is open')")
	member.picture(t, dir, "suspended", false, false)

	p.press("End live connections")
	p.press("End them all")
	<-call.ended
	p.until("it says so", "document.body.innerText.includes('are being ended')")
	first.run("", "tenant", "resume", "--tenant", a.Email)
	eventually(t, "clients are let in again", func() bool {
		_, err := dial2015(t, second, "downstream", "hall", elsewhere)
		return err == nil
	})
	if status, body := second.action(a, "Sora_20151104.ListConnections", nil); status != http.StatusOK {
		t.Errorf("the API answers %d %s", status, body)
	}
}
