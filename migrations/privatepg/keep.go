package privatepg

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// How often a server that another process started is looked at, and how long
// the pause grows between attempts to start one that ends again and again.
const (
	lookEvery  = time.Second
	reviveMost = 30 * time.Second
	// A server that lasted this long is started again at once.
	steadyAfter = time.Minute
)

// Run keeps the server up until ctx ends: one that ends although it is in use,
// killed or stopped by hand, is started again, with growing pauses when it
// keeps ending. The URL stays the same. Run must have returned before Close.
func (c *Cluster) Run(ctx context.Context) {
	wait := time.Duration(0)
	for {
		up := time.Now()
		if !c.awaitLoss(ctx) {
			return
		}
		c.log.Error("the private Postgres has ended; starting it again", "pid", c.server.pid, "log", filepath.Join(c.dir, "log"))
		if time.Since(up) > steadyAfter {
			wait = 0
		}
		for {
			if pause(ctx, wait) != nil {
				return
			}
			wait = min(max(2*wait, time.Second), reviveMost)
			err := c.revive(ctx)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
			c.log.Error("couldn't start the private Postgres again", "error", err, "retry_in", wait)
		}
	}
}

// awaitLoss returns true when the server has ended, false when ctx has.
func (c *Cluster) awaitLoss(ctx context.Context) bool {
	if c.ended != nil { // our child
		select {
		case <-c.ended:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for c.server.running(c.data) {
		if pause(ctx, lookEvery) != nil {
			return false
		}
	}
	return true
}

// revive starts the server anew, or adopts the one that another user of the
// cluster has started meanwhile. It never makes a cluster: one whose folder is
// gone must not come back empty.
func (c *Cluster) revive(ctx context.Context) error {
	starting, err := lockFile(ctx, filepath.Join(c.dir, "start.lock"), exclusive)
	if err != nil {
		return fmt.Errorf("couldn't wait for another process to start or stop Postgres: %w", err)
	}
	defer starting.Close()
	return c.adoptOrStart(ctx)
}

// adoptOrStart ends with a server that takes connections. The caller holds
// start.lock.
func (c *Cluster) adoptOrStart(ctx context.Context) error {
	if err := c.adopt(ctx); !errors.Is(err, errNotRunning) {
		return err
	}
	return c.start(ctx)
}
