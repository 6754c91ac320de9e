// Package webhooks tells a tenant what happened.
//
// An event is born as a row in the transaction that changes the state it is
// about ([Webhooks.Append]), with the tenant's next seq. From there:
//
//	event row ── fan-out: one delivery per endpoint that wants it (fanout.go)
//	    │            └─ lanes: what is due, fair between endpoints (lanes.go)
//	    │                  └─ attempt: signed POST through the guarded client (attempt.go)
//	    │                        └─ finish: delivered, later, or dead (finish.go)
//	    └── tails, feeds and streams read the same rows (tail.go, feed.go, stream.go)
//
// Promises to the tenant: a committed event is delivered at least once or ends
// as a dead letter that can be replayed; for one endpoint the events of one
// connection arrive in order; the webhook-id is the event's id on every attempt
// and replay; a slow endpoint delays only itself.
//
// Beside that, a tenant's server can be asked about a client before it comes in
// ([Webhooks.Authorize], authorize.go).
//
// A tenant's deliveries are one node's work at a time (hold.go). That node's engine
// (engine.go) moves them between the database and its lanes, many in each statement;
// the requests never wait for the database.
//
// Goroutines: Run owns runEngine, runFeeds, runRetention, runSecrets, runAuthLog and
// runReplays; runEngine owns the runAttempts and waits for them; Stream owns one
// reader per socket; a tenant's runTail lives while somebody follows the tenant.
package webhooks

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/internal/tenant"
)

// ErrNotFound is the answer about something that does not exist or is another
// tenant's. It is also a tenant.ErrNotFound.
var ErrNotFound = fmt.Errorf("webhooks: %w", tenant.ErrNotFound)

// Sealer keeps endpoint secrets unreadable at rest.
type Sealer interface {
	// Seal encrypts plain so that only Open of the same platform reads it.
	Seal(plain []byte) ([]byte, error)
	// Open returns what was sealed, or an error if it was changed.
	Open(sealed []byte) ([]byte, error)
}

// Config says where deliveries may go and how patient we are.
type Config struct {
	Production   bool           // only https, only ports 80 and 443
	EgressAllow  []netip.Prefix // reachable besides public addresses
	AllowPrivate bool           // in production EgressAllow counts only with this
	Resolver     *net.Resolver  // of endpoint host names; nil: the system's
	RootCAs      *x509.CertPool // trusted by them; nil: the system's
	// Version and NodeName are told to auth webhooks: the platform's, and its machine's.
	Version, NodeName string
	// Instance is what at most one living process is, such as its data folder's identity:
	// the deliveries that an earlier one held when it died are taken over at once. "":
	// they wait until its hold has passed.
	Instance string
	// AttemptTimeout bounds one delivery from dialling to the answer's end; 0: 15 s.
	AttemptTimeout time.Duration
	// AuthTimeout bounds a question to an auth webhook, its turn included; 0: 5 s.
	AuthTimeout time.Duration
	Schedule    Schedule      // waits before each try; nil: the published ones
	Patience    time.Duration // how long a stream's reader may stall; 0: 10 s
	Heartbeat   time.Duration // between two heartbeats of a stream; 0: 15 s
	Streams     int           // of one tenant that may be open here; 0: 1,000
	Notifier    Notifier      // writes to tenants' people; nil: nobody is written to
	Log         *slog.Logger  // nil: slog.Default()
}

// Webhooks writes events and tells them to endpoints and streams. Its methods
// may be called from any goroutine.
type Webhooks struct {
	// Static.
	pool       *pgxpool.Pool
	sealer     Sealer
	egress     Egress
	client     *http.Client
	authEgress Egress
	authClient *http.Client // keeps connections
	authAnew   *http.Client // keeps none
	version    string
	nodeName   string
	schedule   Schedule
	patience   time.Duration
	notifier   Notifier
	log        *slog.Logger
	life       context.Context // ends when Run is told to stop: feeds end
	close      func()
	heartbeat  time.Duration
	readers    chan struct{} // one for each read of events under way

	name     string // of this node as a holder of tenants: instance, a stroke, its own
	instance string

	toFanOut *bell         // tenants that have new events
	toReplay chan struct{} // holds at most one token: there may be a replay to go on with
	toClaim  *bell         // tenants whose endpoints or deliveries were changed by hand
	lanes    *lanes
	results  *results
	tails    tails // of the tenants that somebody follows
	open     openStreams
	// These lock for themselves.
	authSeats  *tenant.Seats // questions to auth webhooks
	authTests  *tenant.Seats // and test questions
	authTrials chan struct{} // one for each of these
	circuits   circuits      // of auth webhooks
	authLog    *authLog      // what came of them
	streams    *tenant.Seats // open streams
	reads      *tenant.Seats // feeds that read for themselves
	counters   counters
	watched    watched // endpoints that have failed lately
}

// New returns the webhooks on pool. Events can be appended and read at once;
// deliveries happen while Run runs.
func New(pool *pgxpool.Pool, sealer Sealer, c Config) *Webhooks {
	w := &Webhooks{
		pool:       pool,
		sealer:     sealer,
		schedule:   c.Schedule,
		patience:   c.Patience,
		notifier:   c.Notifier,
		watched:    watched{now: time.Now},
		log:        c.Log,
		heartbeat:  c.Heartbeat,
		readers:    make(chan struct{}, readersAtOnce),
		toFanOut:   newBell(),
		toClaim:    newBell(),
		toReplay:   make(chan struct{}, 1),
		tails:      tails{byTenant: map[tenant.ID]*tail{}},
		version:    c.Version,
		nodeName:   c.NodeName,
		circuits:   circuits{byTenant: map[tenant.ID]*circuit{}},
		authLog:    newAuthLog(pool),
		authTrials: make(chan struct{}, maxAuthTrials),
		authTests:  tenant.NewSeats("test questions", maxAuthTests, 0, 0),
		authSeats:  tenant.NewSeats("questions to the auth webhook", maxAuthPerTenant, maxAuthWaiting, cmp.Or(c.AuthTimeout, authTimeout)),
		streams:    tenant.NewSeats("streams", cmp.Or(c.Streams, maxStreams), 0, 0),
		reads:      tenant.NewSeats("reads of streams", maxReads, cmp.Or(c.Streams, maxStreams), readPatience),
	}
	w.life, w.close = context.WithCancel(context.Background())
	w.open.init()
	w.instance, w.name = c.Instance, c.Instance+"/"+tenant.NewID()
	w.lanes, w.results = newLanes(), &results{rung: make(chan struct{}, 1)}
	if w.log == nil {
		w.log = slog.Default()
	}
	if w.schedule == nil {
		w.schedule = Published
	}
	if w.patience == 0 {
		w.patience = streamPatience
	}
	if w.heartbeat == 0 {
		w.heartbeat = heartbeatEvery
	}
	w.egress = c.guarded(w.log)
	post := w.egress
	post.IdlePerHost = maxPerTenant // a busy server keeps its connections
	w.client = NewGuardedClient(post)
	w.authEgress = w.egress
	w.authEgress.Timeout = cmp.Or(c.AuthTimeout, authTimeout)
	w.authEgress.Connect = min(authConnect, w.authEgress.Timeout*2/5)
	w.authEgress.Idle, w.authEgress.IdlePerHost = authIdle, authIdlePerHost
	w.authClient = NewGuardedClient(w.authEgress)
	anew := w.authEgress
	anew.Idle = -1
	w.authAnew = NewGuardedClient(anew)
	return w
}

// Run delivers until ctx ends, then lets the attempts in flight finish for a
// few seconds, gives the others back, and returns. Feeds and streams end with
// it. Call it once.
func (w *Webhooks) Run(ctx context.Context) {
	defer context.AfterFunc(ctx, w.close)()
	var loops sync.WaitGroup
	for _, run := range []func(context.Context){w.runEngine, w.runFeeds, w.runRetention, w.runSecrets, w.runAuthLog, w.runReplays} {
		loops.Go(func() { run(ctx) })
	}
	loops.Wait()
	w.client.CloseIdleConnections()
	w.authClient.CloseIdleConnections()
}

// Wake says that a transaction with events of t has committed, so that they go
// out at once instead of with the next poll. It never blocks.
func (w *Webhooks) Wake(t tenant.ID) {
	w.toFanOut.ringFor(t)
	w.tails.wake(t)
}

// tenantOf returns whose rows a scope opens.
func tenantOf(s tenant.Scope) (tenant.ID, error) {
	if s.Tenant() == "" {
		return "", tenant.ErrScope
	}
	return s.Tenant(), nil
}
