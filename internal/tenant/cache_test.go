package tenant_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
)

// run starts a store's Run and stops it, waiting for its end.
func run(t *testing.T, store *tenant.Store) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { store.Run(ctx) })
	stop = func() { cancel(); running.Wait() }
	t.Cleanup(stop)
	return stop
}

// TestVerifyWithoutDatabase closes the database under a warm store: those it
// knows go on joining; those it does not know are told to come back.
func TestVerifyWithoutDatabase(t *testing.T) {
	h := newHouse(t)
	pool := h.secondPool()
	node, cold := h.newStore(pool), h.newStore(pool)
	if err := node.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	token := h.token(good())
	barred := h.token(with(map[string]any{"jti": "barred"}))
	claim := h.accepts(node, barred, "room", tenant.SendOnly)
	if err := node.BanToken(t.Context(), h.scope, claim.TokenHash, claim.ExpiresAt, "test"); err != nil {
		t.Fatal(err)
	}
	h.ban(h.store, h.scope, tenant.NewBan{Kind: tenant.ClientBan, Subject: "mallory"})
	if err := node.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	pool.Close()

	if r := node.Barred(tenant.Subject{Tenant: h.made.Tenant, Channel: "room", ClientID: "mallory"}); r == nil {
		t.Error("a known ban does not hold while the database is away")
	}
	h.accepts(node, token, "room", tenant.SendOnly)
	h.refuses(node, barred, "room", tenant.SendOnly, tenant.Banned)
	h.refuses(node, token, "lobby", tenant.SendOnly, tenant.ChannelDenied)
	stranger := sign(map[string]any{"alg": "HS256", "kid": "key_" + tenant.NewID()}, good(), "x")
	h.refuses(node, stranger, "room", tenant.SendOnly, tenant.Unavailable)
	if err := node.Refresh(t.Context()); err == nil {
		t.Error("Refresh succeeded without a database")
	}
	h.accepts(node, token, "room", tenant.SendOnly)

	for range 3 {
		h.refuses(cold, token, "room", tenant.SendOnly, tenant.Unavailable)
	}
}

// TestOtherNode changes keys, bans and status on one node and sees them on
// another that runs.
func TestOtherNode(t *testing.T) {
	h := newHouse(t)
	node := h.newStore(h.secondPool())
	run(t, node)
	verify := func(token string) func() error {
		return func() error {
			_, _, err := node.Verify(context.Background(), tenant.TokenWish{Token: token, Channel: "room", Role: tenant.SendOnly})
			return err
		}
	}
	becomes := func(what string, f func() error, code tenant.Code) {
		t.Helper()
		until(t, what, func() bool {
			err := f()
			return err == nil && code == "" || err != nil && strings.HasPrefix(err.Error(), string(code)+":") && code != ""
		})
	}
	token, doomed := h.token(good()), h.token(with(map[string]any{"jti": "doomed"}))
	claim := h.accepts(node, doomed, "room", tenant.SendOnly)

	if err := h.store.BanToken(t.Context(), h.scope, claim.TokenHash, claim.ExpiresAt, "thrown out"); err != nil {
		t.Fatal(err)
	}
	becomes("the ban", verify(doomed), tenant.Banned)
	h.accepts(node, token, "room", tenant.SendOnly)

	h.exec(`update tenant set status = 'suspended' where tenant_id = $1`, h.made.Tenant)
	becomes("the suspension", verify(token), tenant.TenantSuspended)
	h.exec(`update tenant set status = 'active' where tenant_id = $1`, h.made.Tenant)
	becomes("the end of the suspension", verify(token), "")

	if err := h.store.RevokeSigningKey(t.Context(), h.scope, h.made.SigningKeyID); err != nil {
		t.Fatal(err)
	}
	h.refuses(h.store, token, "room", tenant.SendOnly, tenant.TokenInvalid) // here at once
	becomes("the revocation", verify(token), tenant.TokenInvalid)
}

// TestNewKeyElsewhere wants a key made on another node to work at its first
// token, although nothing has been refreshed.
func TestNewKeyElsewhere(t *testing.T) {
	h := newHouse(t)
	node := h.newStore(h.pool)
	if err := node.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.made = h.newTenant("Later", "later@example.com")
	h.accepts(node, h.token(good()), "room", tenant.SendOnly)

	later := h.newTenant("Latest", "latest@example.com")
	kidless := h.confide(sign(map[string]any{"alg": "HS256"}, with(map[string]any{"channel_id": "room@" + string(later.Tenant)}), later.SigningKey))
	h.accepts(node, kidless, "room", tenant.SendOnly)
}

// TestCrowdWithANewKey lets a whole audience come with a key that was made on
// another node a moment ago: one look-up serves them all.
func TestCrowdWithANewKey(t *testing.T) {
	h := newHouse(t)
	node := h.newStore(h.pool)
	if err := node.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.made = h.newTenant("Later", "later@example.com")
	token := h.token(good())
	var crowd sync.WaitGroup
	for range 200 {
		crowd.Go(func() {
			if _, _, err := node.Verify(t.Context(), tenant.TokenWish{Token: token, Channel: "room", Role: tenant.SendOnly}); err != nil {
				t.Error(err)
			}
		})
	}
	crowd.Wait()
}

// TestUnknownKidsAreBounded shows invented kids: after a burst they cost the
// database nothing, and those that are known are not disturbed.
func TestUnknownKidsAreBounded(t *testing.T) {
	h := newHouse(t)
	pool := h.secondPool()
	node := h.newStore(pool)
	if err := node.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	before, begin := pool.Stat().AcquireCount(), time.Now()
	const asked = 500
	for range asked {
		stranger := sign(map[string]any{"alg": "HS256", "kid": "key_" + tenant.NewID()}, good(), "x")
		h.refuses(node, stranger, "room", tenant.SendOnly, tenant.TokenInvalid)
	}
	queries := pool.Stat().AcquireCount() - before
	most := int64(2*tenant.KeyLookupsPerSecond + tenant.KeyLookupsPerSecond*(time.Since(begin).Seconds()+1))
	if queries > most {
		t.Errorf("%d invented kids cost %d queries, want at most %d", asked, queries, most)
	}
	h.accepts(node, h.token(good()), "room", tenant.SendOnly)
}

// TestColdCrowd lets a crowd arrive before anything has been read.
func TestColdCrowd(t *testing.T) {
	h := newHouse(t)
	node, token := h.newStore(h.pool), h.token(good())
	var crowd sync.WaitGroup
	failures := make(chan error, 100)
	for range cap(failures) {
		crowd.Go(func() {
			_, _, err := node.Verify(context.Background(), tenant.TokenWish{Token: token, Channel: "room", Role: tenant.SendOnly})
			failures <- err
		})
	}
	crowd.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestColdCrowdInAnOutage lets a crowd arrive when nothing has been read and
// nothing can be: one asks on behalf of all, and nobody waits for a turn.
func TestColdCrowdInAnOutage(t *testing.T) {
	h := newHouse(t)
	var dials atomic.Int32
	config := h.pool.Config().Copy()
	config.ConnConfig.DialFunc = func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		return nil, errors.New("the database is away")
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	node, token := h.newStore(pool), h.token(good())
	begin := time.Now()
	var crowd sync.WaitGroup
	for range 200 {
		crowd.Go(func() {
			_, _, err := node.Verify(context.Background(), tenant.TokenWish{Token: token, Channel: "room", Role: tenant.SendOnly})
			if err == nil || !strings.HasPrefix(err.Error(), "unavailable:") {
				t.Errorf("Verify = %v, want unavailable", err)
			}
		})
	}
	crowd.Wait()
	if most := int32(20 * (1 + time.Since(begin)/time.Second)); dials.Load() > most {
		t.Errorf("a crowd of 200 made %d attempts to connect, want at most %d", dials.Load(), most)
	}
}

// pause stops a refresh when it has read the bans, until proceed is closed.
type pause struct {
	reached, proceed chan struct{}
	once             sync.Once
}

func (p *pause) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	return context.WithValue(ctx, p, strings.Contains(q.SQL, "left join ban b"))
}

func (p *pause) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) {
	if bans, _ := ctx.Value(p).(bool); bans {
		p.once.Do(func() { close(p.reached); <-p.proceed })
	}
}

// TestChangesDuringRefresh bars a token, revokes a key and makes another while
// a refresh stands between reading the state before and showing it: none of
// them may get lost.
func TestChangesDuringRefresh(t *testing.T) {
	h := newHouse(t)
	p := &pause{reached: make(chan struct{}), proceed: make(chan struct{})}
	config := h.pool.Config().Copy()
	config.ConnConfig.Tracer = p
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	node := h.newStore(pool)
	_, doomed, err := h.store.CreateSigningKey(t.Context(), h.scope, "doomed")
	if err != nil {
		t.Fatal(err)
	}
	var refreshing sync.WaitGroup
	refreshing.Go(func() {
		if err := node.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
	})
	<-p.reached

	token := h.token(good())
	if err := node.BanToken(t.Context(), h.scope, sha256.Sum256([]byte(token)), time.Now().Add(time.Minute), ""); err != nil {
		t.Fatal(err)
	}
	if err := node.RevokeSigningKey(t.Context(), h.scope, doomed.ID); err != nil {
		t.Fatal(err)
	}
	secret, fresh, err := node.CreateSigningKey(t.Context(), h.scope, "fresh")
	if err != nil {
		t.Fatal(err)
	}
	close(p.proceed)
	refreshing.Wait()

	before := pool.Stat().AcquireCount()
	h.refuses(node, token, "room", tenant.SendOnly, tenant.Banned)
	h.accepts(node, h.confide(sign(map[string]any{"alg": "HS256", "kid": fresh.ID}, good(), secret)), "room", tenant.SendOnly)
	if asked := pool.Stat().AcquireCount() - before; asked != 0 {
		t.Errorf("the store asked the database %d times for what it did itself", asked)
	}
	detail := h.refuses(node, sign(map[string]any{"alg": "HS256", "kid": doomed.ID}, good(), "x"), "room", tenant.SendOnly, tenant.TokenInvalid)
	if !strings.Contains(detail, "no active signing key") {
		t.Errorf("detail = %q: the revoked key is still there", detail)
	}
}

// TestRunNotesAndPurges wants Run to write which keys were used and to delete
// what has expired.
func TestRunNotesAndPurges(t *testing.T) {
	h := newHouse(t)
	if _, err := h.store.StartSession(t.Context(), h.made.MemberID, "", ""); err != nil {
		t.Fatal(err)
	}
	h.exec(`update login_session set expires_at = clock_timestamp() - interval '1 second'`)
	h.exec(`insert into ban (ban_id, tenant_id, kind, subject, created_by, expires_at)
		values ('ban_old', $1, 'token', repeat('00', 32), 'operator', clock_timestamp() - interval '11 minutes')`, h.made.Tenant)
	stop := run(t, h.store)
	until(t, "the purge", func() bool {
		var left int
		err := h.pool.QueryRow(t.Context(), `select (select count(*) from ban) + (select count(*) from login_session)`).Scan(&left)
		return err == nil && left == 0
	})
	used := func() *time.Time {
		keys, err := h.store.SigningKeys(t.Context(), h.scope)
		if err != nil {
			t.Fatal(err)
		}
		return keys[0].LastUsedAt
	}
	if used() != nil {
		t.Error("the key was used before any token")
	}
	h.accepts(h.store, h.token(good()), "room", tenant.SendOnly)
	stop()
	if used() == nil {
		t.Error("the key's use was not noted when Run ended")
	}
}

// TestRunReportsAnOutageOnce wants one line when the database goes away.
func TestRunReportsAnOutageOnce(t *testing.T) {
	h := newHouse(t)
	pool := h.secondPool()
	node := h.newStore(pool)
	pool.Close()
	run(t, node)
	until(t, "the warning", func() bool { return strings.Contains(h.log.String(), "refresh of keys and bans") })
	if n := strings.Count(h.log.String(), "refresh of keys and bans"); n != 1 {
		t.Errorf("the outage was reported %d times", n)
	}
}

// TestAnotherMasterKey cannot open the keys, says so to the operator, and tells
// clients no more than that it is not their fault.
func TestAnotherMasterKey(t *testing.T) {
	h := newHouse(t)
	right := masterKey
	masterKey = []byte(strings.Repeat("k", 32))
	defer func() { masterKey = right }()
	node := h.newStore(h.pool)
	h.refuses(node, h.token(good()), "room", tenant.SendOnly, tenant.Unavailable)
	if !strings.Contains(h.log.String(), "HIBARI_MASTER_KEY") {
		t.Error("the log does not name the setting")
	}
	if _, err := node.SignToken(t.Context(), h.scope, tenant.TokenRequest{Channel: "room"}); err == nil {
		t.Error("SignToken signed with a key that cannot be opened")
	}
	for store, want := range map[*tenant.Store]int{h.store: 0, node: 1} {
		if keys, unusable, err := store.CheckSecrets(t.Context()); err != nil || keys != 1 || unusable != want {
			t.Errorf("CheckSecrets: %d of %d keys unusable, want %d of 1 (%v)", unusable, keys, want, err)
		}
	}
}
