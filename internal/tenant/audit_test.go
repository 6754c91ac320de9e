package tenant_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hibari/hibari/internal/tenant"
)

// The log only grows: neither role of the platform may change or delete an entry,
// and the tables' owner, who may do anything, is refused all the same.
func TestAuditIsAppendOnly(t *testing.T) {
	h := newHouse(t)
	if err := tenant.AuditOperator(t.Context(), h.pool, tenant.CommandLine(), h.made.Tenant, "test.done", "x", nil); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"hibari_worker", "hibari_request", "none"} { // none: who made the tables
		for _, table := range []string{"audit_entry", "operator_audit_entry"} {
			for _, statement := range []string{
				`update %s set action = 'nothing'`, `delete from %s`, `truncate %s`, `delete from %s where false`,
				`insert into %s select * from %[1]s on conflict do update set action = 'nothing'`,
			} {
				statement = fmt.Sprintf(statement, table)
				err := pgx.BeginFunc(t.Context(), h.pool, func(tx pgx.Tx) error {
					if _, err := tx.Exec(t.Context(), `set local role `+role); err != nil {
						t.Fatal(err)
					}
					if _, err := tx.Exec(t.Context(), `select set_config('hibari.tenant_id', $1, true)`, h.made.Tenant); err != nil {
						t.Fatal(err)
					}
					_, err := tx.Exec(t.Context(), statement)
					return err
				})
				var pg *pgconn.PgError
				if !errors.As(err, &pg) {
					t.Errorf("as %s: %s: %v", role, statement, err)
				}
			}
		}
	}
	for _, table := range []string{"audit_entry", "operator_audit_entry"} {
		var n int
		if err := h.pool.QueryRow(t.Context(), `select count(*) from `+table+` where action = 'test.done'`).Scan(&n); err != nil || n != 1 {
			t.Errorf("%s has the entry %d times, %v", table, n, err)
		}
	}
}

// What looks like a secret is not written, whoever forgot about it.
func TestAuditKeepsNoSecrets(t *testing.T) {
	h := newHouse(t)
	cookie, _, err := h.store.LogIn(t.Context(), "owner@example.com", password, "", "")
	if err != nil {
		t.Fatal(err)
	}
	token := h.token(good())
	webhook := tenant.NewWebhookSecret()
	h.log.secret(cookie, webhook)
	secrets := []string{password, h.made.APIKey, h.made.SigningKey, token, webhook, cookie}
	for i, secret := range secrets {
		write := func(what any) {
			t.Helper()
			if err := tenant.Audit(t.Context(), h.pool, h.scope, "test.done", "x", what); err != nil {
				t.Fatal(err)
			}
		}
		for _, field := range []string{"password", "new-password", "secret", "auth_secret", "api_key", "signing_key", "token", "AccessToken", "cookie", "key", "totp_seed", "recovery_codes"} {
			write(tenant.Diff{field: {secret, "before " + secret}})
			write(map[string]any{field: secret, "list": []any{map[string]any{field: []string{secret}}}, "other": "x"})
			write(map[string]any{field: map[string]any{"x": secret, "y": []string{secret}}})
		}
		if i == 0 {
			continue // a password can be told by its field alone
		}
		for _, text := range []string{secret, "see " + secret + " there", "https://user:" + secret + "@example.com/x?a=" + secret + "#" + secret} {
			write(tenant.Diff{"note": {text, nil}, "list": {nil, []string{text}}})
			write(map[string]any{"note": text})
			if i != 2 && i != 5 { // random text alone may be a client's name for a channel
				if err := tenant.Audit(t.Context(), h.pool, h.scope, "test.done", text, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	var all string
	if err := h.pool.QueryRow(t.Context(), `select string_agg(e::text, chr(10)) from audit_entry e`).Scan(&all); err != nil {
		t.Fatal(err)
	}
	for _, secret := range secrets {
		if i := strings.Index(all, secret); i >= 0 {
			t.Errorf("a secret is in the log: …%s…", all[max(0, i-80):min(len(all), i+80)])
		}
	}
	if !strings.Contains(all, "https://redacted@example.com/x?a=redacted") {
		t.Error("of a URL not even the place is left")
	}
}

// What is no secret is written as it is: ids, flags, times, addresses, changes.
func TestAuditKeepsTheRest(t *testing.T) {
	h := newHouse(t)
	at := time.Date(2026, 11, 26, 1, 2, 3, 0, time.UTC)
	err := tenant.Audit(t.Context(), h.pool, h.scope, "test.done", "room@1", tenant.Diff{
		"signing_key_id": {nil, h.made.SigningKeyID}, "token_barred": {false, true}, "tokens_barred": {0, 7}, "same": {"x", "x"},
		"role": {tenant.Viewer, tenant.Admin}, "last_used_at": {at, nil}, "types": {[]string{"a"}, []string{"a", "b"}}, "big": {int64(1) << 60, nil},
	})
	if err != nil {
		t.Fatal(err)
	}
	entries, _, err := h.store.SearchAudit(t.Context(), h.scope, tenant.AuditQuery{Action: "test.done"}, 10)
	if err != nil || len(entries) != 1 {
		t.Fatal(entries, err)
	}
	want := `{"big": [1152921504606846976, null], "role": ["viewer", "admin"], "types": [["a"], ["a", "b"]], "last_used_at": ["2026-11-26T01:02:03Z", null], "token_barred": [false, true], "tokens_barred": [0, 7], "signing_key_id": [null, "` + h.made.SigningKeyID + `"]}`
	if e := entries[0]; string(e.Diff) != want || e.ActorName != "command line" || e.Target != "room@1" {
		t.Errorf("kept %s of %s by %s, want %s", e.Diff, e.Target, e.ActorName, want)
	}
	// What nobody would read is cut.
	long := strings.Repeat("é", 5000)
	for _, what := range []any{tenant.Diff{"x": {long, "\x00\xff"}}, map[string]any{"many": slices.Repeat([]string{long}, 100)}} {
		if err := tenant.Audit(t.Context(), h.pool, h.scope, "test.long", "", what); err != nil {
			t.Fatal(err)
		}
	}
	entries, _, err = h.store.SearchAudit(t.Context(), h.scope, tenant.AuditQuery{Action: "test.long"}, 10)
	if err != nil || len(entries) != 2 || string(entries[0].Detail) != `{"too_large": true}` || len(entries[1].Diff) > 1100 {
		t.Errorf("long: %v, %v", entries, err)
	}
}

// An entry names the request it came with, and its actor as they were called then.
func TestAuditNamesWhoAndWhence(t *testing.T) {
	h := newHouse(t)
	ctx := tenant.WithCaller(t.Context(), tenant.Caller{Address: "192.0.2.9", RequestID: "req1"})
	scope, err := h.store.AuthenticateAPIKey(ctx, h.made.APIKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.store.CreateSigningKey(ctx, scope, "two"); err != nil {
		t.Fatal(err)
	}
	cookie, member, err := h.store.LogIn(ctx, "owner@example.com", password, "192.0.2.9", "")
	if err != nil {
		t.Fatal(err)
	}
	h.log.secret(cookie)
	h.exec(`update member set email = 'renamed@example.com' where member_id = $1`, member.ID)
	if err := h.store.LogOut(ctx, cookie); err != nil {
		t.Fatal(err)
	}
	entries, _, err := h.store.SearchAudit(t.Context(), h.scope, tenant.AuditQuery{}, 3)
	if err != nil || len(entries) != 3 {
		t.Fatal(entries, err)
	}
	for i, want := range [][3]string{{"logout", "member:" + member.ID, "renamed@example.com"}, {"login", "member:" + member.ID, "owner@example.com"},
		{"signing_key.created", scope.Actor(), "first"}} {
		e := entries[i]
		if got := [3]string{e.Action, e.Actor, e.ActorName}; got != want || e.Address != "192.0.2.9" || e.RequestID != "req1" {
			t.Errorf("entry %d is %+v, want %v", i, e, want)
		}
	}
}

func TestSearchAudit(t *testing.T) {
	h := newHouse(t)
	for i := range 30 {
		if err := tenant.Audit(t.Context(), h.pool, h.scope, "thing.changed", fmt.Sprint("thing", i%3), tenant.Diff{"Colour": {nil, "Blue 100%"}}); err != nil {
			t.Fatal(err)
		}
	}
	var middle time.Time
	all, _, err := h.store.SearchAudit(t.Context(), h.scope, tenant.AuditQuery{}, 100)
	if err != nil {
		t.Fatal(err)
	}
	middle = all[14].At
	for name, c := range map[string]struct {
		q    tenant.AuditQuery
		want int
	}{
		"all":                    {tenant.AuditQuery{}, 31},
		"a kind of action":       {tenant.AuditQuery{Action: "thing."}, 30},
		"an action":              {tenant.AuditQuery{Action: "tenant.created"}, 1},
		"a target":               {tenant.AuditQuery{Target: "thing1"}, 10},
		"no part of a target":    {tenant.AuditQuery{Target: "thing"}, 0},
		"an actor":               {tenant.AuditQuery{Actor: "operator"}, 30},
		"a part of a name":       {tenant.AuditQuery{Actor: " OWNER@ "}, 1},
		"text in a diff":         {tenant.AuditQuery{Text: "blue 100%"}, 30},
		"no pattern":             {tenant.AuditQuery{Text: "blue%100"}, 0},
		"all of it":              {tenant.AuditQuery{Action: "thing.", Target: "thing2", Actor: "command", Text: "colour"}, 10},
		"since":                  {tenant.AuditQuery{From: middle}, 15},
		"until":                  {tenant.AuditQuery{To: middle}, 16},
		"what cannot be there":   {tenant.AuditQuery{Text: "a\x00b"}, 0},
		"what is much too long":  {tenant.AuditQuery{Text: strings.Repeat("x", 5000)}, 0},
		"a quote is only a sign": {tenant.AuditQuery{Text: `'"; --`}, 0},
	} {
		found := 0
		for q := c.q; ; {
			page, next, err := h.store.SearchAudit(t.Context(), h.scope, q, 7)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			found += len(page)
			if q.Before = next; next == 0 {
				break
			}
		}
		if found != c.want {
			t.Errorf("%s: found %d, want %d", name, found, c.want)
		}
	}
	if actions, err := h.store.AuditActions(t.Context(), h.scope); err != nil || !slices.Equal(actions, []string{"tenant.created", "thing.changed"}) {
		t.Errorf("actions %v, %v", actions, err)
	}
	other := h.newTenant("Other", "other@example.com")
	if _, err := h.store.AuditEntry(t.Context(), tenant.OperatorScope(other.Tenant), all[0].ID); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("another tenant reads an entry: %v", err)
	}
	if e, err := h.store.AuditEntry(t.Context(), h.scope, all[0].ID); err != nil || e.Target != all[0].Target {
		t.Errorf("the entry is %+v, %v", e, err)
	}
}

// An export has every entry once, and is in the log itself.
func TestExportAudit(t *testing.T) {
	h := newHouse(t)
	n := 0
	h.exec(`insert into audit_entry (tenant_id, actor, action, target) select $1, 'system', 'thing.done', n::text from generate_series(1, 1203) n`, h.made.Tenant)
	seen := map[string]bool{}
	for e, err := range h.store.ExportAudit(t.Context(), h.scope, tenant.AuditQuery{Action: "thing."}, "csv") {
		if err != nil {
			t.Fatal(err)
		}
		n++
		seen[e.Target] = true
	}
	if n != 1203 || len(seen) != 1203 {
		t.Errorf("exported %d entries, %d of them different", n, len(seen))
	}
	entries, _, err := h.store.SearchAudit(t.Context(), h.scope, tenant.AuditQuery{Action: "audit.exported"}, 10)
	if err != nil || len(entries) != 1 || string(entries[0].Detail) != `{"action": "thing.", "format": "csv"}` {
		t.Errorf("the log says of it %v, %v", entries, err)
	}
	for _, err := range h.store.ExportAudit(t.Context(), tenant.Scope{}, tenant.AuditQuery{}, "csv") {
		if !errors.Is(err, tenant.ErrScope) {
			t.Errorf("nobody's export: %v", err)
		}
	}
}
