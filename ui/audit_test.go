package ui_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/hibari/hibari/internal/tenant"
)

// wantNoSecret fails the test if one of the secrets stands in any row of either
// audit log, or a recognizable part of it.
func (s *site) wantNoSecret(t *testing.T, secrets ...string) {
	t.Helper()
	var all string
	err := s.pool.QueryRow(t.Context(), `
		select coalesce((select string_agg(e::text, chr(10)) from audit_entry e), '') || chr(10)
			|| coalesce((select string_agg(e::text, chr(10)) from operator_audit_entry e), '')`).Scan(&all)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		for _, part := range strings.Split(secret, ".") {
			if len(part) < 16 && part != secret {
				continue
			}
			if i := strings.Index(all, part); i >= 0 {
				t.Errorf("the secret %q is in an audit log: …%s…", part, all[max(0, i-100):min(len(all), i+len(part)+20)])
			}
		}
	}
}

// Whatever can be done in the console stands in the log, with who did it and from
// where, and without a secret.
func TestEverythingDoneIsInTheLog(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	secrets := []string{password, p.signed.APIKey, p.signed.SigningKey}
	shown := func(path string) {
		t.Helper()
		found := p.get(path).want(http.StatusOK).shown()
		if len(found) == 0 {
			t.Fatalf("%s shows no secret", path)
		}
		for name, secret := range found {
			if !strings.HasSuffix(name, " id") {
				secrets = append(secrets, secret)
			}
		}
	}

	q := s.stranger(t)
	q.post("/login", "email", emailOf("Skylark"), "password", "wrong "+password).want(http.StatusUnprocessableEntity)
	q.post("/login", "email", emailOf("Skylark"), "password", password).wantTo("/console")
	q.post("/logout")

	p.post("/console/keys/api", "name", "server").want(http.StatusSeeOther)
	shown("/console/keys")
	p.post("/console/keys/signing", "name", "app").want(http.StatusSeeOther)
	shown("/console/keys")
	keys, err := s.tenants.APIKeys(t.Context(), p.scope)
	if err != nil {
		t.Fatal(err)
	}
	p.post("/console/keys/api/" + keys[0].ID + "/revoke").want(http.StatusSeeOther)
	id, token := p.open("hello", tenant.SendOnly)
	secrets = append(secrets, token)
	p.post("/console/connections/"+id+"/disconnect", "ban", "token").want(http.StatusSeeOther)
	_, token = p.open("hello", tenant.SendOnly)
	secrets = append(secrets, token)
	p.post("/console/channels/hello/disconnect", "ban", "token").want(http.StatusSeeOther)

	endpoint := p.post("/console/webhooks", "url", "http://127.0.0.1:9/hook?token=hushhushhush").want(http.StatusSeeOther).location
	endpoint, _, _ = strings.Cut(endpoint, "?")
	secrets = append(secrets, "hushhushhush")
	shown(endpoint)
	test := p.post(endpoint + "/test").want(http.StatusSeeOther)
	if !strings.HasPrefix(test.location, endpoint+"?test=dlv_") {
		t.Fatalf("the test leads to %s", test.location)
	}
	var delivery string
	if err := s.pool.QueryRow(t.Context(), `select delivery_id from delivery_all limit 1`).Scan(&delivery); err != nil {
		t.Fatal(err)
	}
	p.post("/console/deliveries/" + delivery + "/replay").want(http.StatusSeeOther)
	p.post(endpoint + "/rotate").want(http.StatusSeeOther)
	shown(endpoint)
	if _, err := s.pool.Exec(t.Context(), `update webhook_endpoint set status = 'disabled'`); err != nil {
		t.Fatal(err)
	}
	p.post(endpoint + "/enable").want(http.StatusSeeOther)
	p.post(endpoint + "/delete").want(http.StatusSeeOther)

	p.post("/console/settings/auth", "url", "http://127.0.0.1:9/may?key=hushhushhush").want(http.StatusSeeOther)
	shown("/console/settings")
	p.post("/console/settings/auth/rotate").want(http.StatusSeeOther)
	shown("/console/settings")
	p.post("/console/settings/signing-secret").want(http.StatusSeeOther)
	p.post("/console/settings/signing-secret/off").want(http.StatusSeeOther)
	p.post("/console/keys/signing/" + p.signed.SigningKeyID + "/revoke").want(http.StatusSeeOther)
	p.get("/console/export/usage.csv").want(http.StatusOK)
	p.get("/console/export/segments.csv").want(http.StatusOK)
	p.get("/console/export/audit.csv").want(http.StatusOK)

	actions, err := s.tenants.AuditActions(t.Context(), p.scope)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"api_key.created", "api_key.revoked", "audit.exported", "ban.created", "channel.disconnected", "connection.disconnected",
		"delivery.replayed", "login", "login.failed", "logout", "settings.changed", "signing_key.created", "signing_key.revoked", "segments.exported", "tenant.created",
		"usage.exported", "webhook_endpoint.created", "webhook_endpoint.deleted", "webhook_endpoint.enabled", "webhook_endpoint.secret_rotated",
		"webhook_endpoint.tested"} {
		if !strings.Contains(" "+strings.Join(actions, " ")+" ", " "+want+" ") {
			t.Errorf("the log has no %s", want)
		}
	}
	s.wantNoSecret(t, secrets...)
}

// auditRows returns the actions that a page of the log shows.
func (a answer) auditRows() (actions []string) {
	a.t.Helper()
	for _, row := range all(a.page(), func(n *html.Node) bool { return value(n, "data-label") == "Action" }) {
		actions = append(actions, words(row))
	}
	return actions
}

func TestAuditSearch(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	for i := range 3 {
		if err := tenant.Audit(t.Context(), s.pool, p.scope, "thing.changed", fmt.Sprint("thing_", i), tenant.Diff{"colour": {"red", "sky <blue>"}}); err != nil {
			t.Fatal(err)
		}
	}
	for query, want := range map[string]int{
		"": 5, "?action=thing.": 3, "?target=thing_1": 1, "?text=SKY+%3C": 3, "?actor=command": 3,
		"?from=2020-01-01&to=2099-01-01": 5, "?from=2099-01-01": 0, "?to=2020-01-01": 0, "?text=%3Cblue%3E&action=thing": 3,
	} {
		if got := p.get("/console/audit" + query).want(http.StatusOK).auditRows(); len(got) != want {
			t.Errorf("%q finds %v, want %d", query, got, want)
		}
	}
	if a := p.get("/console/audit?text=nowhere").want(http.StatusOK); !strings.Contains(a.body, "Nothing found") {
		t.Error("an empty search says nothing")
	}
	if a := p.get("/console/audit?from=yesterday").want(http.StatusUnprocessableEntity); !strings.Contains(a.body, "Give days such as") {
		t.Error("a wrong day is taken")
	}
	page := p.get("/console/audit?action=thing.&text=sky").page()
	var entry string
	for _, link := range all(page, tag("a")) {
		switch href := value(link, "href"); {
		case strings.HasPrefix(href, "/console/audit/"):
			entry = href
		case strings.HasPrefix(href, "/console/export/"):
			if !strings.Contains(href, "action=thing.&text=sky") {
				t.Errorf("the export %s is not what was searched", href)
			}
		}
	}
	if detail := words(p.get(entry).want(http.StatusOK).page()); !strings.Contains(detail, "colour red sky <blue>") || !strings.Contains(detail, "command line") {
		t.Errorf("the entry says %s", detail)
	}
	other := s.owner(t, "Magpie")
	other.get(entry).want(http.StatusNotFound)
	p.get("/console/audit/0").want(http.StatusNotFound)
	p.get("/console/audit/x").want(http.StatusNotFound)
}

// The files have every entry, and a spreadsheet takes none of its cells for a
// formula.
func TestAuditExport(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	p := s.owner(t, "Skylark")
	evil := []string{"=1+2", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "a,\"b\"", "plain"}
	for _, name := range evil {
		if err := tenant.Audit(t.Context(), s.pool, p.scope, "thing.changed", name, map[string]any{"name": name}); err != nil {
			t.Fatal(err)
		}
	}
	a := p.get("/console/export/audit.csv?action=thing.").want(http.StatusOK)
	if kind := a.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/csv") || !strings.Contains(a.header.Get("Content-Disposition"), "attachment") {
		t.Errorf("sent as %q", kind)
	}
	if lines := strings.Count(a.body, "\r\n"); lines != len(evil)+1 {
		t.Errorf("%d lines end as RFC 4180 says", lines)
	}
	rows, err := csv.NewReader(strings.NewReader(a.body)).ReadAll()
	if err != nil || len(rows) != len(evil)+1 {
		t.Fatal(rows, err)
	}
	for i, row := range rows {
		for _, cell := range row {
			if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
				t.Errorf("the cell %q is a formula", cell)
			}
		}
		if want := evil[max(0, len(evil)-i)%len(evil)]; i > 0 && strings.TrimPrefix(row[5], "'") != want {
			t.Errorf("row %d is about %q, want %q", i, row[5], want)
		}
	}
	a = p.get("/console/export/audit.jsonl").want(http.StatusOK)
	lines := strings.Split(strings.TrimSpace(a.body), "\n")
	for _, line := range lines {
		var e tenant.AuditEntry
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.ID == 0 || e.Action == "" {
			t.Errorf("%s: %v", line, err)
		}
	}
	if len(lines) != len(evil)+3 { // with tenant.created, login and the first export
		t.Errorf("%d lines", len(lines))
	}
	if empty := p.get("/console/export/audit.csv?text=nowhere").want(http.StatusOK); strings.TrimSpace(empty.body) != strings.Join(rows[0], ",") {
		t.Errorf("an empty export is %q", empty.body)
	}
}
