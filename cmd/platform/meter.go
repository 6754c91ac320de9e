package main

import (
	"context"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/sfu"
)

const (
	// How often the ledger is told how far every connection has come: what a
	// node that dies leaves unbilled is at most this.
	meterInterval = 10 * time.Second
	// How late a full minute of a connection may be told.
	minuteLag = time.Second
)

// meter moves this node's marks forward until ctx ends: those of all
// connections each meterInterval and, so that connection.updated does not wait
// for that, of those that have just completed a minute.
func (p *platform) meter(ctx context.Context) {
	tick := time.NewTicker(minuteLag)
	defer tick.Stop()
	last, lastFull := time.Now(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		since, full := now.Sub(last), now.Sub(lastFull) >= meterInterval
		last = now
		if full {
			lastFull = now
		}
		beat, cancel := context.WithTimeout(ctx, meterInterval)
		if err := p.book.Beat(beat, marks(p.connections(), since, full)); err != nil && ctx.Err() == nil {
			p.log.Warn("couldn't meter the connections; the next beat makes up for it", "err", err)
		}
		cancel()
	}
}

// connections are those of this node, of the media plane and of peer-to-peer calls.
func (p *platform) connections() []sfu.ConnectionInfo {
	return append(p.media.Connections(), p.door.Peers()...)
}

// marks returns how far the connections with media have come: all of them, or
// only those that completed a minute within the time since.
func marks(connections []sfu.ConnectionInfo, since time.Duration, all bool) []billing.Mark {
	var marks []billing.Mark
	for _, c := range connections {
		completed := c.Connected/time.Minute > max(0, c.Connected-since)/time.Minute
		if c.Connected > 0 && (all || completed) {
			marks = append(marks, billing.Mark{ConnectionID: c.ConnectionID, Connected: c.Connected, BytesIn: c.BytesIn, BytesOut: c.BytesOut})
		}
	}
	return marks
}
