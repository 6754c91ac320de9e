package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations/dbtest"
)

const keysPath = "/v1/signing-keys"

// keysNamed is how many keys of a name there are.
func (c *caller) keysNamed(name string) int {
	c.t.Helper()
	keys, err := c.tenants.SigningKeys(c.t.Context(), c.scope)
	if err != nil {
		c.t.Fatal(err)
	}
	n := 0
	for _, key := range keys {
		if key.Name == name {
			n++
		}
	}
	return n
}

func named(name string) string { return fmt.Sprintf(`{"name":%q}`, name) }

func TestIdempotencyKey(t *testing.T) {
	s := newService(t)
	c, other := s.caller(t, "lark"), s.caller(t, "finch")
	first := c.do("POST", keysPath, named("a"), "Idempotency-Key", "one").want(201)
	again := c.do("POST", keysPath, named("a"), "Idempotency-Key", `"one"`).want(201)
	if string(first.body) != string(again.body) || first.header.Get("Idempotency-Replayed") != "" || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("first %s, again %s %v", first.body, again.body, again.header)
	}
	if c.keysNamed("a") != 1 {
		t.Errorf("made %d keys", c.keysNamed("a"))
	}
	c.do("POST", keysPath, named("b"), "Idempotency-Key", "one").problem(422, api.CodeIdempotencyMismatch)
	c.do("POST", "/v1/access-tokens", named("a"), "Idempotency-Key", "one").problem(422, api.CodeIdempotencyMismatch)
	other.do("POST", keysPath, named("b"), "Idempotency-Key", "one").want(201)

	// Who was refused has done nothing, and may try again.
	c.do("POST", "/v1/access-tokens", `{"channel_id":""}`, "Idempotency-Key", "two").problem(422, api.CodeInvalid)
	c.do("POST", "/v1/access-tokens", `{"channel_id":"a"}`, "Idempotency-Key", "two").want(201)
	c.as(tenant.Viewer).do("POST", keysPath, named("a"), "Idempotency-Key", "one").problem(403, api.CodeForbidden)

	for _, bad := range []string{`""`, strings.Repeat("k", 256), "é"} {
		if p := c.do("POST", keysPath, named("c"), "Idempotency-Key", bad).problem(422, api.CodeInvalid); p.Errors[0].In != "header" {
			t.Errorf("%q: %+v", bad, p)
		}
	}
	// After a day the key is new again.
	if _, err := s.pool.Exec(t.Context(), `update idempotent_answer set expires_at = clock_timestamp()`); err != nil {
		t.Fatal(err)
	}
	c.do("POST", keysPath, named("d"), "Idempotency-Key", "one").want(201)

	// What is kept is sealed.
	var sealed []byte
	if err := s.pool.QueryRow(t.Context(), `select answer_sealed from idempotent_answer where tenant_id = $1 and idempotency_key = 'one'`, c.made.Tenant).Scan(&sealed); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(sealed), "HS256") {
		t.Error("an answer is kept in the open")
	}
}

// Of many who send the same at once, to two processes, one is served, and the
// others get its answer or are told to come again.
func TestIdempotencyKeyInARace(t *testing.T) {
	s := newService(t)
	c := s.caller(t, "lark")
	twin := &caller{serviceOn(t, s.pool), t, c.key, c.made, c.scope}
	answers := make(chan string, 40)
	var racers sync.WaitGroup
	for i := range 20 {
		at := []*caller{c, twin}[i%2]
		racers.Go(func() {
			for {
				r := at.do("POST", keysPath, named("raced"), "Idempotency-Key", "race")
				if r.status == http.StatusConflict {
					if r.header.Get("Retry-After") != "1" {
						t.Errorf("409 with %v", r.header)
					}
					continue
				}
				answers <- fmt.Sprint(r.status, string(r.body))
				return
			}
		})
	}
	racers.Wait()
	close(answers)
	want := ""
	for got := range answers {
		if want == "" {
			want = got
		}
		if got != want || !strings.HasPrefix(got, "201") {
			t.Errorf("%s and %s", got, want)
		}
	}
	if n := c.keysNamed("raced"); n != 1 {
		t.Errorf("made %d keys", n)
	}
}

// admin is a connection of somebody who may end others'.
func (s *service) admin(t *testing.T) *pgx.Conn {
	t.Helper()
	config := s.pool.Config().ConnConfig.Copy()
	delete(config.RuntimeParams, "role") // a worker may end nobody
	admin, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close(context.Background()) })
	return admin
}

// waiting counts, by an expression about their pid, the connections that wait for
// a lock.
func waiting(t *testing.T, admin *pgx.Conn, of string) (n int) {
	t.Helper()
	err := admin.QueryRow(t.Context(), `select count(`+of+`) from pg_locks join pg_stat_activity using (pid)
		where not granted and datname = current_database() and pid <> pg_backend_pid()`).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A process that dies in the middle leaves nothing: the same request is served
// by the next one at once.
func TestIdempotencyKeyOfOneThatDied(t *testing.T) {
	s := newService(t)
	c := s.caller(t, "lark")
	ctx := t.Context()
	// Its row is locked, so that the request waits with half of its work done.
	tx, err := s.pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.WithoutCancel(ctx))
	if _, err := tx.Exec(ctx, `select from tenant where tenant_id = $1 for update`, c.made.Tenant); err != nil {
		t.Fatal(err)
	}
	died := make(chan reply)
	go func() { died <- c.do("POST", keysPath, named("once"), "Idempotency-Key", "death") }()
	admin := s.admin(t)
	eventually(t, "the request waits for the lock, and is ended", func() bool { return waiting(t, admin, "pg_terminate_backend(pid)") > 0 })
	if r := <-died; r.status < 500 {
		t.Errorf("who died answered %d %s", r.status, r.body)
	}
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	var again reply
	eventually(t, "the key is free", func() bool {
		again = c.do("POST", keysPath, named("once"), "Idempotency-Key", "death")
		return again.status != http.StatusConflict
	})
	again.want(201)
	if n := c.keysNamed("once"); n != 1 {
		t.Errorf("made %d keys", n)
	}
}

// Whatever is sent in whatever order to whichever process: each key does one
// thing once.
func TestIdempotencyKeysAgainstAModel(t *testing.T) {
	s := newService(t)
	twin := serviceOn(t, s.pool)
	rapid.Check(t, func(rt *rapid.T) {
		c := s.caller(t, strings.ToLower(tenant.NewID()))
		type done struct{ path, body, answer string }
		model := map[string]done{}
		endpoints := 0
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			at := &caller{rapid.SampledFrom([]*service{s, twin}).Draw(rt, "process"), t, c.key, c.made, c.scope}
			key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "key")
			path := rapid.SampledFrom([]string{"/v1/webhook-endpoints", "/v1/access-tokens"}).Draw(rt, "path")
			body := `{"channel_id":"` + rapid.SampledFrom([]string{"x", "y", ""}).Draw(rt, "channel") + `"}`
			if path == "/v1/webhook-endpoints" {
				body = `{"url":"` + rapid.SampledFrom([]string{"http://127.0.0.1:1/x", "nonsense"}).Draw(rt, "url") + `"}`
			}
			good := !strings.Contains(body, `""`) && !strings.Contains(body, "nonsense")
			r := at.do("POST", path, body, "Idempotency-Key", key)
			before, used := model[key]
			switch {
			case used && (before.path != path || before.body != body):
				r.problem(422, api.CodeIdempotencyMismatch)
			case used:
				if r.status != 201 || string(r.body) != before.answer {
					rt.Fatalf("answered %d %s, before %s", r.status, r.body, before.answer)
				}
			case !good:
				r.problem(422, api.CodeInvalid)
			default:
				r.want(201)
				model[key] = done{path, body, string(r.body)}
				if path == "/v1/webhook-endpoints" {
					endpoints++
				}
			}
		}
		if got := len(c.get("/v1/webhook-endpoints").want(200).items()); got != endpoints {
			rt.Fatalf("%d endpoints, want %d", got, endpoints)
		}
	})
}

// Whatever a POST writes, its answer is kept with it or neither is: it dies with
// all done but the answer written, nothing of it is there, and the next try does
// it once.
func TestIdempotencyKeyKeepsAllOrNothing(t *testing.T) {
	s := newService(t)
	c := s.caller(t, "lark")
	ctx := t.Context()
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer receiver.Close()
	hook := map[string]any{"url": receiver.URL, "types": []string{"ping"}}
	endpoint := "/v1/webhook-endpoints/" + c.do("POST", "/v1/webhook-endpoints", hook).want(201).object()["id"].(string)
	delivery := "/v1/deliveries/" + c.do("POST", endpoint+"/test", nil).want(202).object()["id"].(string)
	eventually(t, "the delivery is noted", func() bool { return c.get(delivery).want(200).object()["state"] == "delivered" })
	member := c.invite("ann@example.com", tenant.Developer)
	_, guest, err := c.tenants.Invite(ctx, c.scope, "bob@example.com", tenant.Viewer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.pool.Exec(ctx, `insert into second_step (tenant_id, member_id, secret_sealed, confirmed_at) values ($1, $2, 'sealed', clock_timestamp())`, c.made.Tenant, member); err != nil {
		t.Fatal(err)
	}
	admin := s.admin(t)
	entries := func() (n int) { // of the audit log: each of these makes one, in its transaction
		t.Helper()
		if err := s.pool.QueryRow(ctx, `select count(*) from audit_entry where tenant_id = $1`, c.made.Tenant).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for path, body := range map[string]any{
		"/v1/webhook-endpoints":                        hook,
		endpoint + "/test":                             nil,
		endpoint + "/rotate-secret":                    nil,
		delivery + "/replay":                           nil,
		"/v1/invitations":                              map[string]any{"email": "cid@example.com", "role": "viewer"},
		"/v1/invitations/" + guest.ID + "/resend":      nil,
		"/v1/members/" + member + "/reset-second-step": nil,
		"/v1/api-keys":                                 map[string]any{"name": "server"},
		"/v1/bans":                                     map[string]any{"kind": "client", "subject": "ann"},
		"/v1/licence/change":                           map[string]any{"connections": 500},
	} {
		eventually(t, "nothing changes by itself any longer", func() bool {
			var settled bool
			if err := s.pool.QueryRow(ctx, `select c.seq = l.event_seq and c.holder is null and c.next_due is null and not exists (select from delivery d where d.tenant_id = $1)
				from webhook_cursor c join tenant_live l using (tenant_id) where tenant_id = $1`, c.made.Tenant).Scan(&settled); err != nil {
				t.Fatal(err)
			}
			return settled
		})
		before := dbtest.Digest(t, s.pool, string(c.made.Tenant))
		was := entries()
		tx, err := s.pool.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(ctx, `lock table idempotent_answer in share mode`); err != nil {
			t.Fatal(err)
		}
		died := make(chan reply)
		go func() { died <- c.do("POST", path, body, "Idempotency-Key", path) }()
		eventually(t, "the answer of "+path+" waits to be written", func() bool { return waiting(t, admin, "pid") > 0 })
		if n := entries(); n != was {
			t.Errorf("%s: %d of its entries are seen before its commit", path, n-was)
		}
		if waiting(t, admin, "pg_terminate_backend(pid)") != 1 {
			t.Errorf("%s does not wait", path)
		}
		if r := <-died; r.status < 500 {
			t.Errorf("%s answers %d %s", path, r.status, r.body)
		}
		if err := tx.Rollback(ctx); err != nil {
			t.Fatal(err)
		}
		for table, now := range dbtest.Digest(t, s.pool, string(c.made.Tenant)) {
			if table == "webhook_cursor" {
				continue // its holder renews it by itself
			}
			if now != before[table] {
				t.Errorf("%s leaves something in %s: %s, it was %s", path, table, now, before[table])
			}
		}
		var again reply
		eventually(t, "the key is free", func() bool {
			again = c.do("POST", path, body, "Idempotency-Key", path)
			return again.status != http.StatusConflict
		})
		if again.status/100 != 2 || again.header.Get("Idempotency-Replayed") != "" {
			t.Errorf("%s again: %d %v %s", path, again.status, again.header, again.body)
		}
		if n := entries(); n != was+1 {
			t.Errorf("%s is done %d times", path, n-was)
		}
	}
}
