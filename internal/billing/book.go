package billing

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/singleflight"

	"github.com/hibari/hibari/internal/tenant"
)

// Limits of a Book.
const (
	// owedMost is how many connections it admits at most without the database
	// having them: what is kept for them in memory, and in the spool.
	owedMost = 20_000
	// How often the database is asked whether it is there, and how long it may
	// take: what a stalled database costs those who come first.
	probeInterval = time.Second
	probeTimeout  = 2 * time.Second
	// standingInterval is how old the last known licences of an outage may be.
	standingInterval = 5 * time.Second
	// drainPatience is how long a newcomer waits for what its tenant's journal
	// still has, when the database is back.
	drainPatience = time.Second
	// replayAtOnce is how many entries one transaction writes late, replayTimeout how
	// long that may take, and drainsAtOnce how many tenants are written at once.
	replayAtOnce  = 64
	replayTimeout = 10 * time.Second
	drainsAtOnce  = 4
)

// Incarnation is this process among the nodes: *cluster.Node.
type Incarnation interface {
	// ID is the node's id, another one after it was taken for dead.
	ID() string
}

// Book is the ledger as the doors of one node see it, also while the database is
// away. It knows who is live on this node, from what it has committed itself, and
// what the tenants' licences were when it last could read them. As long as the
// database answers, every step goes to the ledger. While it does not,
//
//   - a client is admitted to a channel that is live here if the tenant's
//     connections, those here and those last seen elsewhere, are within the last
//     known licence, and the channel's within its cap; other channels are refused
//     as `unavailable`;
//   - every step is kept in the tenant's journal, in order, and written when the
//     database is back, with the times at which it happened.
//
// The steps are in a file, too (Spool), for as long as they are owed: a process that
// is killed meanwhile takes none of them along.
//
// A tenant's journal is written before anything else of the tenant is, so the
// ledger sees the steps in the order in which they happened. Should this node have
// been taken for dead meanwhile, its connections are entered anew (readmit.go).
//
// Its methods may be called from any goroutine.
type Book struct {
	// Static
	ledger *Ledger
	node   Incarnation
	log    *slog.Logger
	asks   *pgxpool.Pool // one connection of its own: a pool in full use is no database that is away
	wake   chan struct{} // one token: look now
	drains chan struct{} // a token for each journal that is being written
	spool  *Spool        // what is owed, in a file; nil: in memory alone

	asking singleflight.Group // locks for itself

	mu sync.Mutex
	// Guarded by mu
	away     bool
	awayFrom time.Time
	up       context.Context // ends when the database goes away
	down     context.CancelFunc
	standing time.Time // when the licences were read last
	seen     string    // the incarnation that the pages are of
	pages    map[tenant.ID]*page
	members  map[string]*member // by the id that the media plane knows
	aliases  map[string]*member // by the ledger's id, of those whose ids differ
	endMedia func(id tenant.ID, connectionID, reason string)
	stats    BookStats
}

// page is what the book knows of one tenant. Guarded by the book's mu.
type page struct {
	tenant tenant.ID

	known          bool // what follows has been read
	active         bool
	maxConnections int
	maxPerChannel  int
	cappedUntil    time.Time // spending has reached its cap, and nobody new comes in until then, by this machine's monotonic clock
	elsewhere      int       // connections on other nodes

	here     int // connections on this node
	channels map[string]*roll
	ids      int // members, those included that have ended and are not written

	journal []*entry
	busy    bool          // it is being written
	stale   bool          // connections here were entered under an incarnation that is dead
	idle    chan struct{} // closed when the journal has been written; nil: nobody waits
	over    int           // the most connections beyond the licence that were told
}

// capped reports whether spending has reached its cap, as far as is known.
func (p *page) capped() bool { return time.Now().Before(p.cappedUntil) }

// roll is who is in a channel that is live here. Guarded by the book's mu.
type roll struct {
	session string
	peer    bool
	counts  tenant.Counts
	members map[*member]struct{}
}

// member is one connection of this node. Guarded by the book's mu.
type member struct {
	page     *page
	id       string // the media plane's
	ledgerID string // the ledger's: another one if it was entered anew
	nextID   string // to be entered anew as; "": not yet chosen
	channel  string
	session  string
	role     tenant.Role
	clientID string

	opening           *tenant.Opening // until the ledger has it; nil: it has
	nodeID            string          // that the ledger has it under
	asked             time.Time       // when it came, monotonic
	up                time.Time       // when its media connected, monotonic; zero: not yet
	began             time.Time       // when it was entered anew, monotonic; zero: never
	bytesIn, bytesOut int64           // before it was entered anew
	over              bool            // it has ended, or the ledger has
	settled           bool            // the ledger needs to hear nothing more of it
}

// BookStats are a book's figures for the metrics.
type BookStats struct {
	Away       bool  // the database does not answer
	Owed       int   // connections admitted that are not in the ledger yet
	Entries    int   // steps in the journals, those openings included
	Admitted   int64 // connections admitted while the database was away
	TurnedAway int64 // clients refused because it was
	OverUse    int64 // connections written late beyond their tenant's licence
	Readmitted int64 // connections entered anew after the node was taken for dead
	Unfit      int64 // of these, connections ended because there was no place
	Dropped    int64 // entries that the ledger could not take at all
	Unkept     int64 // entries that found no room in the spool
}

// NewBook returns the book of a node. Call Run, and Stop after the last use.
func NewBook(ledger *Ledger, node Incarnation, log *slog.Logger) (*Book, error) {
	config := ledger.pool.Config()
	config.MaxConns, config.MinConns, config.MinIdleConns = 1, 0, 0
	asks, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		return nil, err
	}
	b := &Book{
		ledger: ledger, node: node, log: log, asks: asks,
		wake: make(chan struct{}, 1), drains: make(chan struct{}, drainsAtOnce),
		seen: node.ID(), pages: map[tenant.ID]*page{}, members: map[string]*member{}, aliases: map[string]*member{},
		endMedia: func(tenant.ID, string, string) {},
	}
	b.up, b.down = context.WithCancel(context.Background())
	return b, nil
}

// HandleEnd sets what ends the media of a connection that lost its place: f is
// called from any goroutine without a lock held, and must not block. Set it before
// Run.
func (b *Book) HandleEnd(f func(id tenant.ID, connectionID, reason string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.endMedia = f
}

// Keep has the book write down what it owes, so that it outlives the process: the
// next one hands it to Ledger.Recover. Call it before the first use.
func (b *Book) Keep(s *Spool) { b.spool = s }

// Stop frees what the book holds of the database; Flush, before it, writes what is
// owed.
func (b *Book) Stop() { b.asks.Close() }

// Stats returns the figures so far.
func (b *Book) Stats() BookStats {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.stats
	s.Away, s.Unkept = b.away, b.spool.dropped()
	for _, p := range b.pages {
		s.Entries += len(p.journal)
	}
	return s
}

// Knows reports whether the book has read the tenant's licence, so that it could
// admit its clients should the database go away now.
func (b *Book) Knows(id tenant.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pages[id]
	return p != nil && p.known
}

// Capped reports whether the tenant's spending has reached its cap, as far as the book
// knows: it would admit none of its clients should the database go away now.
func (b *Book) Capped(id tenant.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pages[id]
	return p != nil && p.known && p.capped()
}

// MediaID returns the id by which the media plane knows a connection of this node:
// the same, unless the connection was entered anew in the ledger.
func (b *Book) MediaID(connectionID string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := b.aliases[connectionID]; m != nil {
		return m.id
	}
	return connectionID
}

// LedgerID returns the id by which the ledger, and with it the tenant, knows a
// connection of this node: the reverse of MediaID.
func (b *Book) LedgerID(connectionID string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if m := b.members[connectionID]; m != nil && m.ledgerID != "" {
		return m.ledgerID
	}
	return connectionID
}

// Stir has the book look at the database and the node now.
func (b *Book) Stir() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// page returns the tenant's page, a new one if there is none; mu is held.
func (b *Book) page(id tenant.ID) *page {
	p := b.pages[id]
	if p == nil {
		p = &page{tenant: id, channels: map[string]*roll{}}
		b.pages[id] = p
	}
	return p
}

// direct reports whether the tenant's steps go to the ledger at once; mu is held.
func (p *page) direct() bool { return p == nil || !p.busy && !p.stale && len(p.journal) == 0 }

// enroll enters a connection that is live here; mu is held.
func (b *Book) enroll(m *member, o *tenant.Opening) {
	p := m.page
	r := p.channels[m.channel]
	if r == nil {
		r = &roll{members: map[*member]struct{}{}}
		p.channels[m.channel] = r
	}
	r.session, r.peer = m.session, o.PeerToPeer()
	r.members[m] = struct{}{}
	_ = count(&r.counts, m.role, 1) // the role was checked when it was admitted
	p.here++
	p.ids++
	b.members[m.id] = m
}

// leave strikes a connection that has ended off its channel; mu is held. It stays
// among the members until the ledger knows.
func (b *Book) leave(m *member) {
	if m.over {
		return
	}
	m.over = true
	p := m.page
	p.here--
	r := p.channels[m.channel]
	delete(r.members, m)
	_ = count(&r.counts, m.role, -1)
	if len(r.members) == 0 {
		delete(p.channels, m.channel)
	}
}

// forget drops a connection of which the ledger knows everything; mu is held.
func (b *Book) forget(m *member) {
	m.settled = true
	if b.members[m.id] != m {
		return
	}
	delete(b.members, m.id)
	if b.aliases[m.ledgerID] == m {
		delete(b.aliases, m.ledgerID)
	}
	p := m.page
	if p.ids--; p.ids == 0 && p.direct() && b.pages[p.tenant] == p {
		delete(b.pages, p.tenant)
	}
}

// before is how long the media of a connection had been connected when it was
// entered anew, which the ledger has under another id; mu is held.
func (m *member) before() time.Duration {
	if m.began.IsZero() || m.up.IsZero() || m.up.After(m.began) {
		return 0
	}
	return m.began.Sub(m.up)
}

// ending is how a connection ended, as far as its last entry goes; mu is held.
func (m *member) ending(e tenant.Ending) tenant.Ending {
	e.Duration = max(0, e.Duration-m.before())
	e.BytesIn, e.BytesOut = max(0, e.BytesIn-m.bytesIn), max(0, e.BytesOut-m.bytesOut)
	return e
}
