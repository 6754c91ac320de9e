package tenant

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// Subject is what bans may name a connection by.
type Subject struct {
	Tenant       ID
	Channel      string
	ConnectionID string
	ClientID     string // the connection's id if it has none of its own
	TokenHash    [32]byte
}

// bar is a ban as it is held in memory. Static.
type bar struct {
	Ban
	tenant  ID
	hash    [32]byte // of the token that it bars; zero: none
	lifted  bool     // it is over; remembered so that an older reading does not bring it back
	changed uint64   // the transaction that made it as it is
	learned time.Time
}

// same reports whether two bans name the same: at most one of them stands.
func (b *bar) same(c *bar) bool {
	return b.Kind == c.Kind && b.Subject == c.Subject && b.Channel == c.Channel
}

// bans are what is known of all tenants' bans. Who looks at them takes no lock.
type bans struct {
	known atomic.Pointer[map[ID]*tenantBans]

	onNews func() // Static once Run runs; nil: nobody wants to know

	mu sync.Mutex // held by who changes known
	// Guarded by mu.
	oldest uint64    // the oldest transaction that was under way at the last reading; 0: nothing was read
	read   time.Time // when that was
}

// tenantBans are one tenant's bans, by what they name. Static.
type tenantBans struct {
	byID        map[string]*bar
	tokens      map[[32]byte][]*bar
	clients     map[string][]*bar
	channels    map[string][]*bar
	connections map[string][]*bar
}

// OnBan has f called whenever a ban became known that ends connections: it holds
// already. f must not block; it may be called from any goroutine. Set it before
// Run.
func (s *Store) OnBan(f func()) { s.bans.onNews = f }

// Barred returns the refusal of whom a ban keeps out; nil: none does. It does not
// ask the database.
func (s *Store) Barred(subject Subject) *Refusal {
	b := s.bans.find(subject, time.Now(), false)
	if b == nil {
		return nil
	}
	return b.refusal(time.Now())
}

// refusal is what a client is told whom b keeps out.
func (b *bar) refusal(now time.Time) *Refusal {
	until := clock(b.ExpiresAt, now)
	switch b.Kind {
	case TokenBan:
		return Refuse(Banned, "this access token is barred until %s; a new one is needed to come back", until)
	case ChannelBan:
		return Refuse(Banned, "the channel is barred until %s; its tenant can lift that", until)
	}
	return Refuse(Banned, "this client is barred until %s; its tenant can lift that", until)
}

// Ousted reports whether a ban ends a connection that is in. It does not ask the
// database.
func (s *Store) Ousted(subject Subject) bool {
	return s.bans.find(subject, time.Now(), true) != nil
}

// find returns a ban that names the subject, of those that end who is in or of
// all; nil: there is none.
func (b *bans) find(s Subject, now time.Time, ending bool) *bar {
	known := b.known.Load()
	if known == nil {
		return nil
	}
	of := (*known)[s.Tenant]
	if of == nil {
		return nil
	}
	holds := func(all []*bar) *bar {
		for _, b := range all {
			if (b.Kind == ChannelBan || b.Channel == "" || b.Channel == s.Channel) && b.ExpiresAt.After(now) && !(ending && b.SparesLive) {
				return b
			}
		}
		return nil
	}
	if s.TokenHash != ([32]byte{}) {
		if found := holds(of.tokens[s.TokenHash]); found != nil {
			return found
		}
	}
	for _, all := range [][]*bar{of.clients[s.ClientID], of.channels[s.Channel], of.connections[s.ConnectionID]} {
		if found := holds(all); found != nil {
			return found
		}
	}
	return nil
}

// learn takes in bans as a committed transaction made them.
func (b *bans) learn(changed []bar) {
	b.mu.Lock()
	news := b.merge(changed, 0, time.Now())
	b.mu.Unlock()
	if news && b.onNews != nil {
		b.onNews()
	}
}

// merge takes bans in and reports whether one of them ends connections and was
// not known. What is known of a later transaction stands. Of a reading of
// everything that there was before the transaction whole, what it does not have
// is forgotten; 0: it was of changes. The caller holds mu.
func (b *bans) merge(changed []bar, whole uint64, now time.Time) (news bool) {
	known := map[ID]*tenantBans{}
	if p := b.known.Load(); p != nil {
		known = *p
	}
	touched := map[ID]map[string]*bar{}
	of := func(id ID) map[string]*bar {
		if touched[id] == nil {
			touched[id] = map[string]*bar{}
			maps.Copy(touched[id], known[id].all())
		}
		return touched[id]
	}
	read := make(map[string]bool, len(changed))
	for i := range changed {
		c := &changed[i]
		read[c.ID] = true
		if before := known[c.tenant].all()[c.ID]; before != nil && before.changed >= c.changed {
			continue
		}
		c.learned = now
		supersede(of(c.tenant), c)
		news = news || !c.lifted && !c.SparesLive && c.ExpiresAt.After(now)
	}
	if whole > 0 {
		for id, before := range known {
			for banID, c := range before.byID {
				if c.changed < whole && !read[banID] {
					delete(of(id), banID)
				}
			}
		}
	}
	if len(touched) == 0 {
		return false
	}
	next := maps.Clone(known)
	for id, byID := range touched {
		if next[id] = index(byID, now); next[id] == nil {
			delete(next, id)
		}
	}
	b.known.Store(&next)
	return news
}

// supersede takes in a ban: of those that name the same, the one that was changed
// last stands, or none.
func supersede(byID map[string]*bar, c *bar) {
	for id, b := range byID {
		if id == c.ID || !b.same(c) {
			continue
		}
		if b.changed > c.changed {
			c.lifted = true
		} else if !b.lifted {
			over := *b
			over.lifted, over.learned = true, c.learned
			byID[id] = &over
		}
	}
	byID[c.ID] = c
}

// all are a tenant's bans by their ids.
func (t *tenantBans) all() map[string]*bar {
	if t == nil {
		return nil
	}
	return t.byID
}

// index orders a tenant's bans by what they name, without those that are long
// over; nil: there are none.
func index(byID map[string]*bar, now time.Time) *tenantBans {
	t := &tenantBans{byID: byID, tokens: map[[32]byte][]*bar{}, clients: map[string][]*bar{}, channels: map[string][]*bar{}, connections: map[string][]*bar{}}
	for id, b := range byID {
		switch {
		case b.ExpiresAt.Before(now), b.lifted && b.learned.Before(now.Add(-bansKept)):
			delete(byID, id)
		case b.lifted:
		case b.Kind == ClientBan:
			t.clients[b.Subject] = append(t.clients[b.Subject], b)
		case b.Kind == ChannelBan:
			t.channels[b.Subject] = append(t.channels[b.Subject], b)
		default:
			if b.hash != ([32]byte{}) {
				t.tokens[b.hash] = append(t.tokens[b.hash], b)
			}
			if b.Kind == ConnectionBan {
				t.connections[b.Subject] = append(t.connections[b.Subject], b)
				if b.ClientID != "" {
					t.clients[b.ClientID] = append(t.clients[b.ClientID], b)
				}
			}
		}
	}
	if len(byID) == 0 {
		return nil
	}
	return t
}
