package sfutest

import (
	"fmt"
	"sync"
	"time"

	"github.com/hibari/hibari/internal/sfu"
)

// Session is a client with its connection to an SFU in the same process: it
// answers every offer, and keeps what else it is told.
type Session struct {
	*Client
	Connection *sfu.Connection

	done chan struct{} // closed when the signals ended

	// Guarded by mu
	mu      sync.Mutex
	signals []sfu.Signal
	err     error
}

// Attach answers the connection's first offer and goes on to answer the others
// until the connection ends. It does not wait for the media to be up. The caller
// closes the client and the connection.
func Attach(conn *sfu.Connection, c *Client) (*Session, error) {
	offer, _, _ := conn.Offer()
	answer, err := c.Accept(offer)
	if err != nil {
		return nil, err
	}
	if err := conn.Answer(answer); err != nil {
		return nil, fmt.Errorf("couldn't hand over the answer: %w", err)
	}
	s := &Session{Client: c, Connection: conn, done: make(chan struct{})}
	s.start()
	return s, nil
}

func (s *Session) start() { go s.run() }

func (s *Session) run() {
	defer close(s.done)
	for signal := range s.Connection.Signals() {
		s.mu.Lock()
		s.signals = append(s.signals, signal)
		s.mu.Unlock()
		if signal.Kind != sfu.SignalReoffer {
			continue
		}
		if err := s.reAnswer(signal.SDP); err != nil {
			s.mu.Lock()
			s.err = err
			s.mu.Unlock()
		}
	}
}

func (s *Session) reAnswer(offer string) error {
	answer, err := s.Client.Accept(offer)
	if err != nil {
		return err
	}
	return s.Connection.Answer(answer)
}

// Signals is a copy of the signals of that kind, in order.
func (s *Session) Signals(kind sfu.SignalKind) []sfu.Signal {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []sfu.Signal
	for _, signal := range s.signals {
		if signal.Kind == kind {
			found = append(found, signal)
		}
	}
	return found
}

// Err is the newest error of answering an offer.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Leave closes the client and ends the connection, and returns when both have
// ended.
func (s *Session) Leave(reason string) error {
	s.Connection.Disconnect(reason)
	<-s.Connection.Done()
	<-s.done
	return s.Client.Close()
}

// Eventually waits until condition holds, looking every few milliseconds, and
// reports whether it came true in time.
func Eventually(limit time.Duration, condition func() bool) bool {
	deadline := time.Now().Add(limit)
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			return false
		}
		<-ticker.C
	}
	return true
}
