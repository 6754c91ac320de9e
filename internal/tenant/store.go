package tenant

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"
)

// Errors that callers tell apart. Beside them there are *FieldError for what a
// person filled in and *Refusal for what a client is told.
var (
	ErrEmailTaken   = errors.New("this email address already has an account")
	ErrLogin        = errors.New("wrong email or password")
	ErrNoSession    = errors.New("no such session: log in")
	ErrAPIKey       = errors.New("the API key is malformed, unknown or revoked")
	ErrNoSigningKey = errors.New("the tenant has no active HS256 signing key: create one")
	ErrTooManyKeys  = errors.New("too many active keys: revoke one first")
	ErrTooManyBans  = errors.New("too many bans: lift one first")
	ErrNotFound     = errors.New("not found")
	ErrAmbiguous    = errors.New("more than one tenant has this name: use the tenant id")
	ErrScope        = errors.New("the scope proves no tenant")
)

// Store keeps who may do what, in Postgres, and answers Verify from memory.
// All methods may be called at once from many goroutines.
type Store struct {
	// Static.
	pool      *pgxpool.Pool
	log       *slog.Logger
	master    masterKey
	passwords passwords
	accounts  *throttle     // wrong log-ins by account
	addresses *throttle     // wrong log-ins by address
	strangers *throttle     // sign-ups and mails asked for, by address
	lookups   *rate.Limiter // what unknown kids may cost the database
	asking    singleflight.Group
	knownKeys knownKeys     // API keys; lock for themselves
	post      Post          // set by UsePost, before Run
	posted    chan struct{} // holds one: the outbox has grown

	mails mailCounts
	cache cache
	bans  bans
}

// NewStore returns a store on pool. The master key is 32 bytes: AES-256-GCM
// seals with it every secret that must be readable again.
func NewStore(pool *pgxpool.Pool, key []byte, log *slog.Logger) (*Store, error) {
	master, err := newMasterKey(key)
	if err != nil {
		return nil, err
	}
	return &Store{
		pool:      pool,
		log:       log,
		master:    master,
		passwords: passwords{seats: make(chan struct{}, runtime.NumCPU())},
		accounts:  newThrottle(LoginsPerAccount, LoginsPerAccountRefill),
		addresses: newThrottle(LoginsPerAddress, LoginsPerAddressRefill),
		strangers: newThrottle(StrangersPerAddress, StrangersPerAddressRefill),
		posted:    make(chan struct{}, 1),
		lookups:   rate.NewLimiter(KeyLookupsPerSecond, 2*KeyLookupsPerSecond),
		knownKeys: knownKeys{byID: map[string]knownKey{}},
		cache:     newCache(),
	}, nil
}

const (
	flushEvery = 30 * time.Second // how late last_used may be written
	purgeEvery = 10 * time.Minute // how long expired rows stand around
	lastFlush  = 2 * time.Second  // for the flush after the end
)

// Run keeps the memory behind Verify fresh, writes down which keys were used
// and purges what has expired, until ctx ends. The pool must outlive it. One
// Run per store.
func (s *Store) Run(ctx context.Context) {
	refresh, flush, purge := time.NewTicker(RefreshEvery), time.NewTicker(flushEvery), time.NewTicker(purgeEvery)
	defer refresh.Stop()
	defer flush.Stop()
	defer purge.Stop()
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { s.runBans(ctx) })
	report := reporter{log: s.log, failing: map[string]bool{}}
	report.of(ctx, "refresh of keys and bans", s.Refresh(ctx))
	report.of(ctx, "purge of expired rows", s.purge(ctx))
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
			defer cancel()
			report.of(last, "note of key use", s.flushUsed(last))
			return
		case <-refresh.C:
			report.of(ctx, "refresh of keys and bans", s.Refresh(ctx))
		case <-flush.C:
			report.of(ctx, "note of key use", s.flushUsed(ctx))
		case <-purge.C:
			report.of(ctx, "purge of expired rows", s.purge(ctx))
		}
	}
}

// reporter logs when something starts to fail and when it works again, not
// every two seconds of a long outage.
type reporter struct {
	log     *slog.Logger
	failing map[string]bool // owned by Run
}

func (r reporter) of(ctx context.Context, what string, err error) {
	if ctx.Err() != nil {
		return
	}
	switch was := r.failing[what]; {
	case err != nil && !was:
		r.log.Warn("a background task of tenant fails; what is known goes on being used", "task", what, "error", err)
	case err == nil && was:
		r.log.Info("a background task of tenant works again", "task", what)
	}
	r.failing[what] = err != nil
}

// flushUsed writes which signing keys verified a token since the last time.
func (s *Store) flushUsed(ctx context.Context) error {
	var used []*verifyKey
	var ids []string
	if v := s.cache.current.Load(); v != nil {
		for id, key := range v.keys {
			if key.used.CompareAndSwap(true, false) {
				used, ids = append(used, key), append(ids, id)
			}
		}
	}
	if len(ids) == 0 {
		return nil
	}
	_, err := s.pool.Exec(ctx, `update signing_key set last_used_at = clock_timestamp() where signing_key_id = any($1)`, ids)
	if err != nil {
		for _, key := range used {
			key.used.Store(true) // for the next flush
		}
		return fmt.Errorf("couldn't note which keys were used: %w", err)
	}
	return nil
}

// purge deletes what has ended by itself.
func (s *Store) purge(ctx context.Context) error {
	_, err := s.pool.Exec(ctx, `delete from ban where least(expires_at, lifted_at) < clock_timestamp() - $1::interval`, bansKept)
	if err != nil {
		return fmt.Errorf("couldn't purge bans: %w", err)
	}
	_, err = s.pool.Exec(ctx, `
		delete from login_session
		where expires_at < clock_timestamp() or last_seen_at < clock_timestamp() - $1::interval`, SessionIdle)
	if err != nil {
		return fmt.Errorf("couldn't purge sessions: %w", err)
	}
	for _, sql := range []string{
		`delete from throttle where full_at < clock_timestamp()`,
		`delete from signup where expires_at < clock_timestamp()`,
		`delete from member_token where expires_at < clock_timestamp()`,
		`delete from invitation where expires_at < clock_timestamp() - interval '30 days'`, // told as expired until then
		`delete from second_step where confirmed_at is null and created_at < clock_timestamp() - interval '1 day'`,
	} {
		if _, err := s.pool.Exec(ctx, sql); err != nil {
			return fmt.Errorf("couldn't purge what has expired: %w", err)
		}
	}
	return nil
}

// inTx runs f in a transaction that is rolled back if f fails.
func (s *Store) inTx(ctx context.Context, f func(pgx.Tx) error) error {
	return pgx.BeginFunc(ctx, s.pool, f)
}
