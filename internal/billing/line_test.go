package billing_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
)

// line is the way to a real Postgres, which a test can break in every manner in
// which such ways break.
type line struct {
	mu sync.Mutex
	// Guarded by mu
	cut     bool          // nobody is let through, and those who were are disconnected
	there   chan struct{} // closed while what is asked goes through
	back    chan struct{} // closed while what is answered does
	devices map[net.Conn]struct{}
}

var errCut = errors.New("the line is cut")

func newLine() *line {
	l := &line{there: make(chan struct{}), back: make(chan struct{}), devices: map[net.Conn]struct{}{}}
	close(l.there)
	close(l.back)
	return l
}

// over returns a pool of the same database as another's, over the line.
func (l *line) over(t testing.TB, pool *pgxpool.Pool) *pgxpool.Pool {
	t.Helper()
	config := pool.Config()
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		server, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return l.connect(server)
	}
	broken, err := pgxpool.NewWithConfig(context.Background(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.mend(); broken.Close() })
	return broken
}

func (l *line) connect(server net.Conn) (net.Conn, error) {
	client, inner := net.Pipe()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		server.Close()
		return nil, errCut
	}
	l.devices[server] = struct{}{}
	l.devices[inner] = struct{}{}
	go l.carry(server, inner, func() <-chan struct{} { return l.there })
	go l.carry(inner, server, func() <-chan struct{} { return l.back })
	return client, nil
}

// carry copies until either side is gone.
func (l *line) carry(to, from net.Conn, gate func() <-chan struct{}) {
	defer func() {
		to.Close()
		from.Close()
		l.mu.Lock()
		delete(l.devices, from)
		l.mu.Unlock()
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		for open := false; !open; {
			l.mu.Lock()
			g := gate()
			l.mu.Unlock()
			<-g
			l.mu.Lock()
			open = g == gate()
			l.mu.Unlock()
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// sever is a database that is down: it refuses.
func (l *line) sever() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	for c := range l.devices {
		c.Close()
	}
}

// stall is a database that hangs: what is asked does not reach it.
func (l *line) stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.there = make(chan struct{})
}

// deafen is a database that does what it is asked, and whose answers are lost.
func (l *line) deafen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.back = make(chan struct{})
}

// mend makes everything good. Those who hung have given up by then, or go on.
func (l *line) mend() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = false
	for _, gate := range []chan struct{}{l.there, l.back} {
		select {
		case <-gate:
		default:
			close(gate)
		}
	}
}
