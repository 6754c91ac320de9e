package transport_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/pion/dtls/v3"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// A viewer of an empty channel sends nothing but checks; it rests all the same.
func TestSilentPeerRests(t *testing.T) {
	e := listen(t, transport.Config{})
	p, _, c := connect(t, e, "127.0.0.1")
	eventually(t, "the peer rests", func() bool { return e.Stats().Attending == 0 })
	media(t, e, p, c)
	p.Close()
	c.goodbye()
}

// media has the client get a packet.
func media(t *testing.T, e *transport.Endpoint, p *transport.Peer, c *client) {
	t.Helper()
	b := e.NewBatch()
	if err := p.SealRTP(b, header(1, 1), payload(10), 0); err != nil {
		t.Error(err)
	}
	b.Flush()
	if got := c.receive(); got.SequenceNumber != 1 {
		t.Errorf("received %v", got)
	}
}

// finishes reports whether a datagram has the end of a handshake: an encrypted
// handshake message behind the change of ciphers.
func finishes(b []byte) bool { return b[0] == 20 }

// Our end of the handshake gets lost, again and again. For us it is over and the
// peer rests; the client repeats its own, and is answered.
func TestLastFlightIsRepeatedAtRest(t *testing.T) {
	e := listen(t, transport.Config{})
	c := newClient(t, e, "127.0.0.1")
	var lost atomic.Int64
	rested := make(chan struct{})
	c.loseIn = func(b []byte) bool {
		if !finishes(b) {
			return false
		}
		if lost.Add(1) <= 3 {
			return true
		}
		<-rested // let none through before
		return false
	}
	done := make(chan error, 1)
	o := newOwner(t)
	p := e.NewPeer(o)
	if err := p.SetRemote(c.ufrag, c.pwd, c.fingerprint, transport.Active); err != nil {
		t.Fatal(err)
	}
	c.check(p, true)
	go func() { done <- c.handshake(dtls.SRTP_AEAD_AES_128_GCM) }()
	o.waitUp()
	eventually(t, "the peer rests", func() bool { return e.Stats().Attending == 0 })
	eventually(t, "three answers are lost", func() bool { return lost.Load() > 3 })
	if n := e.Stats().Attending; n != 0 {
		t.Errorf("%d goroutines attend to a repeated flight", n)
	}
	close(rested)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	media(t, e, p, c)
	_ = c.conn.Close()
	if err := o.waitDown(); !errors.Is(err, transport.ErrClosedByClient) {
		t.Errorf("down: %v", err)
	}
}

// Whatever datagram of a handshake gets lost first, on either side: both end up
// connected, and hear each other's goodbye.
func TestHandshakeSurvivesEachLoss(t *testing.T) {
	for side, name := range []string{"from the server", "from the client"} {
		for nth := range 6 {
			t.Run(fmt.Sprint(name, " ", nth), func(t *testing.T) {
				t.Parallel()
				e := listen(t, transport.Config{})
				c := newClient(t, e, "127.0.0.1")
				var count atomic.Int64
				lose := func([]byte) bool { return count.Add(1) == int64(nth+1) }
				if side == 0 {
					c.loseIn = lose
				} else {
					c.loseOut = lose
				}
				p, _, _ := connectBy(t, e, c)
				eventually(t, "the peer rests", func() bool { return e.Stats().Attending == 0 })
				media(t, e, p, c)
				count.Store(1 << 20) // no more
				p.Close()
				c.goodbye()
			})
		}
	}
}

// What is not encrypted, and repeated flights that nobody sent, neither wake a
// peer nor harm it.
func TestForgedRecordsDoNotWake(t *testing.T) {
	e := listen(t, transport.Config{})
	p, o, c := connect(t, e, "127.0.0.1")
	eventually(t, "the peer rests", func() bool { return e.Stats().Attending == 0 })
	c.check(p, true) // whatever the client repeated of its handshake has been read
	eventually(t, "the peer rests for good", func() bool { return e.Stats().Attending == 0 })
	for _, b := range [][]byte{
		{21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40},                             // a fatal alert in the clear
		{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 0, 0},                          // longer than it is
		{22, 254, 253, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0},                              // the end of a handshake
		{20, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 22, 254, 253, 0, 1, 0, 0, 0, 0}, // cut off
		{23, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
	} {
		c.send(b)
	}
	c.check(p, true) // all have been read
	if n := e.Stats().Attending; n != 0 || len(o.down) > 0 {
		t.Errorf("%d goroutines attend, down %d", n, len(o.down))
	}
	media(t, e, p, c)
	p.Close()
	c.goodbye()
}
