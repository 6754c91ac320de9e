package signaling

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// call is one admitted connection between its door and the ledger.
type call struct {
	// Static.
	door       *Door
	claim      tenant.Claim
	opening    tenant.Opening
	id         string // of the connection
	request    sfu.JoinRequest
	opened     bool            // the ledger said that it took a place; false: perhaps it did
	connection *sfu.Connection // nil: there is no media
	up         chan struct{}   // closed when media came up
}

// start hands the call to the goroutine that sees it through.
func (c *call) start() {
	c.door.count(0, 1)
	go c.run()
}

// run tells the ledger when media came up and when the connection ended, and
// ends it when its token's time is over. Times are kept on the monotonic
// clock, so what the ledger takes late is still true.
func (c *call) run() {
	defer c.door.count(0, -1)
	if c.connection == nil {
		c.runAbandoned()
		return
	}
	ended := c.connection.Done()
	select {
	case <-c.up:
		up := time.Now().Add(-c.connection.Info().Connected)
		if c.claim.MaxDuration > 0 {
			lifetime := time.AfterFunc(c.claim.MaxDuration, func() { c.connection.Disconnect(tenant.EndLifetime) })
			defer lifetime.Stop()
		}
		c.retry(ended, func(ctx context.Context) error {
			return c.door.ledger.Connected(ctx, c.id, time.Since(up))
		})
		<-ended
	case <-ended:
	}
	at, ending := time.Now(), c.connection.Ending()
	c.retry(nil, func(ctx context.Context) error {
		ending.Ago = time.Since(at)
		return c.door.ledger.Close(ctx, c.id, ending) // also enters a start that could not be told
	})
}

// runAbandoned frees the licence place of a call without media, if it was taken.
func (c *call) runAbandoned() {
	at := time.Now()
	c.retry(nil, func(ctx context.Context) error {
		ending := tenant.Ending{Reason: tenant.EndFailed, Ago: time.Since(at)}
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
