package main

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// answerLimit is how long Postgres may take to answer a question of ours. Then
// the connection counts as dead: the host may have vanished or the server
// hangs, and no packet will ever tell.
const answerLimit = 30 * time.Second

// patience is how long questions may wait for their answers: without end while
// a migration may run, answerLimit afterwards.
type patience struct{ limited atomic.Bool }

// end starts the limit, for every connection there is or will be.
func (p *patience) end() { p.limited.Store(true) }

// dial opens a connection to Postgres that has this patience.
func (p *patience) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: answerLimit}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return patientConn{conn, p}, nil
}

// patientConn is a connection whose reads fail when they wait for too long. An
// idle one is not read from, so it never fails.
type patientConn struct {
	net.Conn
	*patience
}

// Write sends a question, which starts the clock.
func (c patientConn) Write(b []byte) (int, error) {
	if c.limited.Load() {
		if err := c.SetReadDeadline(time.Now().Add(answerLimit)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}
