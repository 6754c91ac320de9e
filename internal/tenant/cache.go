package tenant

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// snapshot is everything Verify needs to know. One that readers can see is
// never changed: changes are made to a copy.
type snapshot struct {
	keys      map[string]*verifyKey // active signing keys by kid
	symmetric map[ID][]*verifyKey   // of them the HS256 ones by tenant, for tokens without kid
	suspended map[ID]bool           // tenants that are not active
	settings  map[ID]*setting       // of tenants that have set something
}

// change is an edit of a snapshot that is not yet visible.
type change func(*snapshot)

// cache holds the current snapshot: a few thousand tenants' keys, read whole
// every RefreshEvery. What this process itself changes is visible at once.
type cache struct {
	current atomic.Pointer[snapshot] // nil: nothing has been read yet

	// One refresh runs at a time: whoever fills this seat. lastFailed is owned
	// by it.
	refreshing chan struct{}
	lastFailed time.Time

	// Guarded by mu, as is every store to current.
	mu       sync.Mutex
	reading  bool     // a refresh reads the database
	meantime []change // made since it began: it may have read the state before them
}

func newCache() cache { return cache{refreshing: make(chan struct{}, 1)} }

// apply makes a change that is already committed visible to Verify.
func (c *cache) apply(edit change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reading {
		c.meantime = append(c.meantime, edit)
	}
	now := c.current.Load()
	if now == nil {
		return // the first refresh will read it
	}
	next := &snapshot{
		keys:      maps.Clone(now.keys),
		symmetric: maps.Clone(now.symmetric),
		suspended: maps.Clone(now.suspended),
		settings:  maps.Clone(now.settings),
	}
	edit(next)
	c.current.Store(next)
}

func (c *cache) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading, c.meantime = true, nil
}

// finish makes what a refresh has read visible; nil if it failed.
func (c *cache) finish(read *snapshot) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if read != nil {
		for _, edit := range c.meantime {
			edit(read)
		}
		c.current.Store(read)
	}
	c.reading, c.meantime = false, nil
}

func (v *snapshot) add(key *verifyKey) {
	v.remove(key.id)
	v.keys[key.id] = key
	if key.algorithm == algHS256 {
		// Clip: the slice is shared with the snapshot this one was copied from.
		v.symmetric[key.tenant] = append(slices.Clip(v.symmetric[key.tenant]), key)
	}
}

// retire sets when a key stops.
func (v *snapshot) retire(id string, at time.Time) {
	if key, ok := v.keys[id]; ok {
		key.retireAt(at)
	}
}

func (v *snapshot) remove(id string) {
	key, ok := v.keys[id]
	if !ok {
		return
	}
	delete(v.keys, id)
	rest := slices.DeleteFunc(slices.Clone(v.symmetric[key.tenant]), func(k *verifyKey) bool { return k.id == id })
	v.symmetric[key.tenant] = rest
	if len(rest) == 0 {
		delete(v.symmetric, key.tenant)
	}
}

const (
	refreshTimeout = 5 * time.Second
	lookupTimeout  = 2 * time.Second
	retryFirst     = time.Second // between attempts to read anything at all
)

var errNotRead = errors.New("couldn't read keys and bans a moment ago")

// Refresh reads keys, bans, the tenants' status and settings anew. If it fails, the last
// snapshot goes on being used. Call it once before the first connect is let in.
func (s *Store) Refresh(ctx context.Context) error {
	select {
	case s.cache.refreshing <- struct{}{}:
		defer func() { <-s.cache.refreshing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.refreshSeated(ctx)
}

// view returns the current snapshot, and reads it if it is the first who asks.
func (s *Store) view(ctx context.Context) (*snapshot, error) {
	if v := s.cache.current.Load(); v != nil {
		return v, nil
	}
	select {
	case s.cache.refreshing <- struct{}{}:
		defer func() { <-s.cache.refreshing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.cache.current.Load() == nil {
		// Of a crowd that waits for a database that is away, one tries and all return.
		if time.Since(s.cache.lastFailed) < retryFirst {
			return nil, errNotRead
		}
		if err := s.refreshSeated(ctx); err != nil {
			return nil, err
		}
	}
	return s.cache.current.Load(), nil
}

func (s *Store) refreshSeated(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	s.cache.begin()
	read, err := s.readSnapshot(ctx)
	if err == nil {
		err = s.readBans(ctx) // nobody is let in before they are known
	}
	if err != nil {
		s.cache.lastFailed = time.Now()
		read = nil
	}
	s.cache.finish(read)
	return err
}

func (s *Store) readSnapshot(ctx context.Context) (*snapshot, error) {
	v := &snapshot{keys: map[string]*verifyKey{}, symmetric: map[ID][]*verifyKey{}, suspended: map[ID]bool{}}
	now := s.cache.current.Load()
	if now == nil {
		now = &snapshot{}
	}
	if err := s.readActiveKeys(ctx, v, now.keys); err != nil {
		return nil, fmt.Errorf("couldn't read signing keys: %w", err)
	}
	var err error
	if v.settings, err = s.readSettings(ctx, now.settings); err != nil {
		return nil, fmt.Errorf("couldn't read settings: %w", err)
	}
	rows, err := s.pool.Query(ctx, `select tenant_id from tenant where status <> 'active'`)
	if err != nil {
		return nil, fmt.Errorf("couldn't read suspended tenants: %w", err)
	}
	suspended, err := pgx.CollectRows(rows, pgx.RowTo[ID])
	if err != nil {
		return nil, fmt.Errorf("couldn't read suspended tenants: %w", err)
	}
	for _, id := range suspended {
		v.suspended[id] = true
	}
	return v, nil
}

// readActiveKeys takes over the keys that are already open: a key's material
// never changes under its id, so the secrets of the others alone are read.
func (s *Store) readActiveKeys(ctx context.Context, v *snapshot, known map[string]*verifyKey) error {
	rows, err := s.pool.Query(ctx, `select signing_key_id, coalesce(retires_at, '0001-01-01Z') from signing_key where `+keyIsActive)
	if err != nil {
		return err
	}
	var id string
	var retires time.Time
	var unknown []string
	_, err = pgx.ForEachRow(rows, []any{&id, &retires}, func() error {
		if key, ok := known[id]; ok {
			key.retireAt(retires)
			v.add(key)
		} else {
			unknown = append(unknown, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(unknown) == 0 {
		return nil
	}
	keys, err := s.readKeys(ctx, `signing_key_id = any($1)`, unknown)
	if err != nil {
		return err
	}
	for _, key := range keys {
		v.add(key)
	}
	return nil
}

// readKeys reads and opens the active keys that meet a condition on $1. A key
// that cannot be opened is returned without material, and logged.
func (s *Store) readKeys(ctx context.Context, condition string, argument any) ([]*verifyKey, error) {
	rows, err := s.pool.Query(ctx, `
		select signing_key_id, tenant_id, algorithm, secret_sealed, public_key, coalesce(retires_at, '0001-01-01Z')
		from signing_key where `+keyIsActive+` and `+condition, argument)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (*verifyKey, error) {
		key := new(verifyKey)
		var sealed, public []byte
		var retires time.Time
		if err := row.Scan(&key.id, &key.tenant, &key.algorithm, &sealed, &public, &retires); err != nil {
			return nil, err
		}
		key.retireAt(retires)
		material, err := s.keyMaterial(key.tenant, key.id, key.algorithm, sealed, public)
		if err != nil {
			s.log.Error("a signing key is unusable: is HIBARI_MASTER_KEY the one it was made with?",
				"tenant_id", key.tenant, "signing_key_id", key.id, "error", err)
			return key, nil
		}
		key.material = material
		return key, nil
	})
}

// keyQuery asks for one key by its kid, or for a tenant's HS256 keys.
type keyQuery struct {
	kid    string
	tenant ID
}

// in returns what a snapshot answers.
func (q keyQuery) in(v *snapshot) []*verifyKey {
	if q.kid == "" {
		return v.symmetric[q.tenant]
	}
	if key, ok := v.keys[q.kid]; ok {
		return []*verifyKey{key}
	}
	return nil
}

// where is the query's condition in SQL, with its argument.
func (q keyQuery) where() (condition, argument string) {
	if q.kid == "" {
		return `algorithm = 'HS256' and tenant_id = $1`, string(q.tenant)
	}
	return `signing_key_id = $1`, q.kid
}

// lookUp reads keys that the snapshot does not know: made elsewhere in the last
// two seconds, or never. All who ask for the same at once share one answer, such
// as an audience that comes with a key just made. It is false if too many
// different ones are asked for.
func (s *Store) lookUp(ctx context.Context, q keyQuery) (found []*verifyKey, asked bool, err error) {
	answer, err, _ := s.asking.Do(q.kid+"@"+string(q.tenant), func() (any, error) {
		if v := s.cache.current.Load(); v != nil {
			if known := q.in(v); len(known) > 0 {
				return lookedUp{known, true}, nil // somebody was a moment faster
			}
		}
		if !s.lookups.Allow() {
			return lookedUp{}, nil
		}
		// Whoever asked first may leave; the others still want to know.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
		defer cancel()
		condition, argument := q.where()
		found, err := s.readKeys(ctx, condition, argument)
		if err != nil {
			return lookedUp{asked: true}, fmt.Errorf("couldn't look a signing key up: %w", err)
		}
		if len(found) > 0 {
			s.cache.apply(func(v *snapshot) {
				for _, key := range found {
					v.add(key)
				}
			})
		}
		return lookedUp{found, true}, nil
	})
	result := answer.(lookedUp)
	return result.found, result.asked, err
}

// lookedUp is what a look-up found, if it was made.
type lookedUp struct {
	found []*verifyKey
	asked bool
}
