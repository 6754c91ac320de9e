package main

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// reservedFiles is how many of the process's files no client may take: they
// are for the database, the media port, webhooks and what the runtime needs.
const reservedFiles = 256

// boundedListener is a listener that closes at once what comes when too many
// connections are open. A crowd of idle ones must not take the files that the
// node needs to reach its database.
type boundedListener struct {
	net.Listener
	most int64 // Static

	open   atomic.Int64
	turned atomic.Int64 // away, since the start
}

// newBoundedListener bounds a listener by the process's limit of open files.
func newBoundedListener(port net.Listener) (*boundedListener, error) {
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return nil, fmt.Errorf("couldn't read the limit of open files: %w", err)
	}
	most := int64(min(uint64(files.Cur), 1<<20)) // the type differs between systems, and so does "no limit"
	return &boundedListener{Listener: port, most: max(most-reservedFiles, most/2)}, nil
}

// Accept returns the next connection there is room for.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return &countedConn{Conn: conn, listener: l}, nil
		}
		l.open.Add(-1)
		l.turned.Add(1)
		conn.Close()
	}
}

// countedConn counts itself out when it is closed.
type countedConn struct {
	net.Conn
	listener *boundedListener
	once     sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.listener.open.Add(-1) })
	return c.Conn.Close()
}
