package signaling

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// call is one admitted connection between its door and the ledger.
type call struct {
	// Static.
	door        *Door
	maxDuration time.Duration  // from its token or grant; 0: none
	opening     tenant.Opening // of a call without a life; of others what ids say
	id          string         // of the connection
	subject     tenant.Subject // what a ban may name it by
	role        tenant.Role
	channel     string          // as its client named it, perhaps with @TENANT_ID
	opened      bool            // the ledger said that it took a place; false: perhaps it did
	channels    bool            // the client is to signal over DataChannels
	leaves      bool            // once it does, it may close its WebSocket
	methods     []string        // what it may call over the channel rpc
	rids        []string        // the layers it may ask for there; nil: any
	noStats     bool            // the client is not asked for statistics
	life        life            // nil: it never came to one
	connection  *sfu.Connection // its life, if that is in the media plane

	// For the offer alone; owned by the session.
	request   sfu.JoinRequest
	simulcast bool
	encodings []tenant.Encoding // of simulcast; nil: it sends no layers
	metadata  json.RawMessage   // what its admission gave it, or the token's

	mu sync.Mutex
	// Guarded by mu.
	entered  bool            // it has come to its life
	doomed   string          // why it is to end as soon as it has; "": it may stay
	session  string          // of its channel; "": it has no place yet
	said     json.RawMessage // what who ended it over the API said about that; nil: nothing
	settling bool            // the connection has ended
	over     chan struct{}   // closed when it has; made with told
	told     chan struct{}   // closed when the ledger was told that media is up, or need not be; nil: it is not up
	lifetime *time.Timer     // ends the connection when its token's time is over; nil: it may stay
}

// start sees to it that the ledger learns of the connection's end.
func (c *call) start() {
	c.door.count(present{calls: 1})
	if c.life == nil {
		go c.runAbandoned()
		return
	}
	c.life.AfterEnd(c.settle)
}

// enter starts a call that has come to its life, and ends it if that was asked for
// meanwhile.
func (c *call) enter() {
	c.start()
	c.mu.Lock()
	c.entered = true
	doomed := c.doomed
	c.mu.Unlock()
	if doomed != "" {
		c.life.Disconnect(doomed)
	}
}

// doom is why the call is to end as soon as it has come to its life; "": it may
// stay.
func (c *call) doom() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.doomed
}

// disconnect ends a call with a tenant.End reason, at once or as soon as it has
// come to its life. It never blocks; the first reason counts.
func (c *call) disconnect(reason string) {
	c.mu.Lock()
	entered := c.entered
	if !entered && c.doomed == "" {
		c.doomed = reason
	}
	c.mu.Unlock()
	if entered {
		c.life.Disconnect(reason)
	}
}

// part is disconnect for who can say more about it, which the first one does.
func (c *call) part(why tenant.Parting) {
	if why.Said != nil {
		c.mu.Lock()
		if c.said == nil {
			c.said = why.Said
		}
		c.mu.Unlock()
	}
	c.disconnect(why.Reason)
}

// explained adds to an ending what was said about it.
func (c *call) explained(e tenant.Ending) tenant.Ending {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Reason == tenant.EndAPI {
		e.Said = c.said
	}
	return e
}

// joined notes the session of the channel that the call has a place in.
func (c *call) joined(session string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.session = session
}

// is reports whether the call is meant.
func (c *call) is(which tenant.Choice) bool {
	matches := func(want, is string) bool { return want == "" || want == is }
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.session != "" && matches(which.SessionID, c.session) && matches(which.Channel, c.subject.Channel) &&
		matches(which.ClientID, c.subject.ClientID) && matches(string(which.Role), string(c.role))
}

// forgetRequest frees what only the offer needs.
func (c *call) forgetRequest() { c.request, c.encodings, c.metadata = sfu.JoinRequest{}, nil, nil }

// connected is connectedSince for a connection of the media plane.
func (c *call) connected() {
	c.connectedSince(time.Now().Add(-c.connection.Info().Connected))
}

// connectedSince has the ledger told when media came up, and ends the connection
// when its token's time is over. It does not wait, and is called once at most.
// Times are kept on the monotonic clock, so what the ledger takes late is still
// true.
func (c *call) connectedSince(up time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.settling {
		return // the end tells it, too
	}
	if c.maxDuration > 0 {
		c.lifetime = time.AfterFunc(c.maxDuration, func() { c.life.Disconnect(tenant.EndLifetime) })
	}
	c.told, c.over = make(chan struct{}), make(chan struct{})
	go c.runTold(up, c.told, c.over)
}

// runTold tells the ledger when media came up, unless the end comes first.
func (c *call) runTold(up time.Time, told chan<- struct{}, over <-chan struct{}) {
	defer close(told)
	c.retry(over, func(ctx context.Context) error {
		return c.door.ledger.Connected(ctx, c.id, time.Since(up))
	})
}

// settle tells the ledger of the connection's end. It is a goroutine of its own.
func (c *call) settle() {
	defer c.door.count(present{calls: -1})
	c.door.calls.remove(c)
	at, ending := time.Now(), c.explained(c.life.Ending())
	c.mu.Lock()
	c.settling = true
	told, over, lifetime := c.told, c.over, c.lifetime
	c.mu.Unlock()
	if lifetime != nil {
		lifetime.Stop()
	}
	if told != nil {
		close(over)
		<-told // one entry after the other
	}
	c.retry(nil, func(ctx context.Context) error {
		ending.Ago = time.Since(at)
		return c.door.ledger.Close(ctx, c.id, ending) // also enters a start that could not be told
	})
}

// runAbandoned frees the licence place of a call that came to no life, if it was taken.
func (c *call) runAbandoned() {
	defer c.door.count(present{calls: -1})
	at := time.Now()
	c.retry(nil, func(ctx context.Context) error {
		ending := c.explained(tenant.Ending{Reason: firstOf(c.doom(), tenant.EndFailed), Ago: time.Since(at)})
		if !c.opened {
			return c.door.ledger.Abandon(ctx, c.opening, ending)
		}
		return c.door.ledger.Close(ctx, c.id, ending)
	})
}

// retry calls entry until it succeeds, stop is closed or the door gives up.
func (c *call) retry(stop <-chan struct{}, entry func(context.Context) error) {
	limits := c.door.limits
	wait := limits.RetryFirst
	for attempt := 1; ; attempt++ {
		ctx, cancel := context.WithTimeout(c.door.ctx, limits.Admit)
		err := entry(ctx)
		cancel()
		if err == nil || errors.Is(err, tenant.ErrNotFound) { // what was never opened needs no entry
			return
		}
		if attempt == 1 || attempt%30 == 0 {
			c.door.log.Warn("the ledger didn't take an entry, trying again", "connection", c.id, "attempt", attempt, "error", err)
		}
		// Between half and all of it, so that many calls do not come at once.
		select {
		case <-time.After(wait/2 + rand.N(wait/2+1)):
		case <-stop:
			return
		case <-c.door.ctx.Done():
			return
		}
		wait = min(2*wait, limits.RetryMost)
	}
}
