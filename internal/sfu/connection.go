package sfu

import (
	"errors"

	"github.com/hibari/hibari/internal/tenant"
)

// Errors that a connection's door meets.
var (
	// ErrNoOffer: an answer came although no offer was outstanding.
	ErrNoOffer = errors.New("no offer is waiting for an answer")
	// ErrBadAnswer: the answer cannot be used; the wrapping error says why.
	ErrBadAnswer = errors.New("answer cannot be used")
	// ErrEnded: the connection has ended.
	ErrEnded = errors.New("connection has ended")
	// ErrClosed: the SFU takes no more connections.
	ErrClosed = errors.New("media plane is closed")
	// ErrDuplicate: the channel has a connection of that id already.
	ErrDuplicate = errors.New("connection id is in use")
)

// Connection is one client in a channel, as its door sees it. All methods may
// be called from any goroutine.
type Connection struct{}

// ID is the connection id that the Join asked for.
func (c *Connection) ID() string { return "" }

// Offer is the first offer, with the mids of its upload sections ("": none).
func (c *Connection) Offer() (sdp, midAudio, midVideo string) { return "", "", "" }

// Answer takes the client's answer to the outstanding offer, the first or a
// later one alike. The error is ErrNoOffer, ErrEnded or wraps ErrBadAnswer; the
// connection goes on until its door ends it.
func (c *Connection) Answer(sdp string) error { return ErrNoOffer }

// Candidate takes a candidate of the client. An ICE-lite server learns the
// client's address from its checks, so that nothing needs to be done with it.
func (c *Connection) Candidate(candidate string) {}

// Signals is what the client must be told, in order; closed after SignalEnded.
// A door that leaves 256 signals unread loses the connection.
func (c *Connection) Signals() <-chan Signal { return nil }

// Disconnect ends the connection. It never blocks; the first reason counts.
func (c *Connection) Disconnect(reason string) {}

// Done is closed when the connection has ended.
func (c *Connection) Done() <-chan struct{} { return nil }

// Ending says how the connection ended; valid once Done is closed.
func (c *Connection) Ending() tenant.Ending { return tenant.Ending{} }

// Info is a copy of what is known about the connection now.
func (c *Connection) Info() ConnectionInfo { return ConnectionInfo{} }
