package transport_test

import (
	"errors"
	"io"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"go.uber.org/goleak"

	"github.com/hibari/hibari/internal/sfu/transport"
)

func TestGCM128IsPreferred(t *testing.T) {
	e := listen(t, transport.Config{})
	_, _, c := connect(t, e, "127.0.0.1", dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AEAD_AES_128_GCM)
	if got, _ := c.conn.SelectedSRTPProtectionProfile(); got != dtls.SRTP_AEAD_AES_128_GCM {
		t.Errorf("profile %v", got)
	}
}

func TestIPv6(t *testing.T) {
	e := listen(t, transport.Config{Addr: ":0", IPs: []netip.Addr{netip.IPv6Loopback(), netip.MustParseAddr("127.0.0.1")}})
	for _, host := range []string{"::1", "127.0.0.1"} {
		p, o, c := connect(t, e, host)
		b := e.NewBatch()
		for i := range uint16(10) {
			if err := p.SealRTP(b, header(1, i), payload(600), 0); err != nil {
				t.Fatal(err)
			}
		}
		if s := b.Flush(); s.Packets != 10 {
			t.Fatalf("%s: flushed %+v", host, s)
		}
		for i := range uint16(10) {
			if got := c.receive(); got.SequenceNumber != i {
				t.Fatalf("%s: got %v", host, got)
			}
		}
		c.send(c.protect(2, 1, payload(5)))
		d := o.datagram()
		if _, _, err := p.Unprotect(&d); err != nil {
			t.Errorf("%s: %v", host, err)
		}
		d.Free()
	}
}

func TestChecksMayOvertakeTheAnswer(t *testing.T) {
	e := listen(t, transport.Config{})
	o := newOwner(t)
	p := e.NewPeer(o)
	c := newClient(t, e, "127.0.0.1")
	c.check(p, true)
	done := make(chan error, 1)
	go func() { done <- c.handshake(dtls.SRTP_AEAD_AES_128_GCM) }()
	// The client's hello waits in the peer's queue.
	eventually(t, "the hello has come", func() bool { return e.Stats().PacketsIn >= 2 })
	if err := p.SetRemote(c.ufrag, c.pwd, c.fingerprint, transport.Active); err != nil {
		t.Fatal(err)
	}
	o.waitUp()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestWrongFingerprintIsRefused(t *testing.T) {
	e := listen(t, transport.Config{})
	o := newOwner(t)
	p := e.NewPeer(o)
	c := newClient(t, e, "127.0.0.1")
	_, other := newCertificate(t)
	if err := p.SetRemote(c.ufrag, c.pwd, other, transport.Active); err != nil {
		t.Fatal(err)
	}
	c.check(p, true)
	if err := c.handshake(dtls.SRTP_AEAD_AES_128_GCM); err == nil {
		t.Error("the client's handshake succeeded")
	}
	if err := o.waitDown(); !errors.Is(err, transport.ErrFingerprint) || !errors.Is(err, transport.ErrHandshake) {
		t.Errorf("down: %v", err)
	}
	if len(o.up) > 0 || e.Stats().Handshakes[transport.ProfileGCM128] != 0 {
		t.Error("the peer came up")
	}
}

func TestClientWithoutSRTPIsRefused(t *testing.T) {
	e := listen(t, transport.Config{})
	o := newOwner(t)
	p := e.NewPeer(o)
	c := newClient(t, e, "127.0.0.1")
	if err := p.SetRemote(c.ufrag, c.pwd, c.fingerprint, transport.Active); err != nil {
		t.Fatal(err)
	}
	c.check(p, true)
	_ = c.handshake()
	if err := o.waitDown(); !errors.Is(err, transport.ErrHandshake) {
		t.Errorf("down: %v", err)
	}
}

func TestSetupTimeout(t *testing.T) {
	e := listen(t, transport.Config{SetupTimeout: 50 * time.Millisecond})
	silent, checking, early := newOwner(t), newOwner(t), newOwner(t)
	c := newClient(t, e, "127.0.0.1")
	e.NewPeer(early) // no answer yet: the time does not run
	for _, o := range []*owner{silent, checking} {
		p := e.NewPeer(o)
		if err := p.SetRemote(c.ufrag, c.pwd, c.fingerprint, transport.Active); err != nil {
			t.Fatal(err)
		}
		if o == checking {
			c.check(p, true) // but never speaks DTLS
		}
		if err := o.waitDown(); !errors.Is(err, transport.ErrSetupTimeout) {
			t.Errorf("down: %v", err)
		}
		p.Close()
	}
	eventually(t, "the handshake has ended", func() bool { return e.Stats().Attending == 0 })
	if len(silent.down)+len(checking.down)+len(early.down) != 0 || e.Stats().Peers != 1 {
		t.Error("down was called again, or for the wrong peer")
	}
}

func TestConsentExpires(t *testing.T) {
	e := listen(t, transport.Config{ConsentTimeout: 300 * time.Millisecond})
	p, o, c := connect(t, e, "127.0.0.1")
	// Media keeps it up well beyond the limit.
	start := time.Now()
	for seq := uint16(0); time.Since(start) < 900*time.Millisecond; seq++ {
		c.send(c.protect(1, seq, payload(10)))
		d := o.datagram()
		if _, _, err := p.Unprotect(&d); err != nil {
			t.Fatal(err)
		}
		d.Free()
	}
	// So do checks.
	for start = time.Now(); time.Since(start) < 900*time.Millisecond; {
		c.check(p, true)
	}
	if len(o.down) > 0 {
		t.Fatal("a living peer went down")
	}
	// Forged packets do not.
	stop := make(chan struct{})
	var forger sync.WaitGroup
	forger.Add(1)
	go func() {
		defer forger.Done()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				c.send(append([]byte{0x80, 96}, make([]byte, 40)...))
			}
		}
	}()
	owned := make(chan error, 1)
	go func() {
		for {
			select {
			case d := <-o.inbox:
				_, _, _ = p.Unprotect(&d)
				d.Free()
			case err := <-o.down:
				owned <- err
				return
			}
		}
	}()
	select {
	case err := <-owned:
		if !errors.Is(err, transport.ErrConsentLost) {
			t.Errorf("down: %v", err)
		}
	case <-time.After(patience):
		t.Error("peer did not go down")
	}
	close(stop)
	forger.Wait()
}

func TestClientsGoodbyeEndsThePeer(t *testing.T) {
	e := listen(t, transport.Config{})
	p, o, c := connect(t, e, "127.0.0.1")
	if err := c.conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := o.waitDown(); !errors.Is(err, transport.ErrClosedByClient) {
		t.Errorf("down: %v", err)
	}
	p.Close()
	eventually(t, "the goroutine has ended", func() bool { return e.Stats().Attending == 0 })
}

// goodbye waits until the client's DTLS connection has ended by the server's
// close_notify.
func (c *client) goodbye() {
	c.t.Helper()
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := c.conn.Read(make([]byte, 100)); !errors.Is(err, io.EOF) {
		c.t.Errorf("the client was not told: %v", err)
	}
}

func TestCloseTellsTheClient(t *testing.T) {
	e := listen(t, transport.Config{})
	p, o, c := connect(t, e, "127.0.0.1")
	p.Close()
	p.Close()
	c.goodbye()
	if len(o.down) != 0 || e.Stats().Peers != 0 {
		t.Error("down was called for a closed peer, or the peer is still there")
	}
	// Its credentials are void.
	c.send(c.request(p.Ufrag()+":"+c.ufrag, p.Pwd(), true).Raw)
	dropped(t, e, transport.DropUnknownUser, 1)
}

// rested brings a peer up and waits until its DTLS connection is put away.
func rested(t *testing.T, e *transport.Endpoint) (*transport.Peer, *owner, *client) {
	p, o, c := connect(t, e, "127.0.0.1")
	c.send(c.protect(1, 1, payload(10)))
	d := o.datagram()
	if _, _, err := p.Unprotect(&d); err != nil {
		t.Fatal(err)
	}
	d.Free()
	eventually(t, "the peer rests", func() bool { return e.Stats().Attending == 0 })
	return p, o, c
}

func TestRestingPeer(t *testing.T) {
	for name, test := range map[string]func(*transport.Endpoint, *transport.Peer, *owner, *client){
		"hears the client's goodbye": func(_ *transport.Endpoint, _ *transport.Peer, o *owner, c *client) {
			_ = c.conn.Close()
			if err := o.waitDown(); !errors.Is(err, transport.ErrClosedByClient) {
				t.Errorf("down: %v", err)
			}
		},
		"says goodbye": func(_ *transport.Endpoint, p *transport.Peer, _ *owner, c *client) {
			p.Close()
			c.goodbye()
		},
		"says goodbye with the endpoint": func(e *transport.Endpoint, _ *transport.Peer, _ *owner, c *client) {
			_ = e.Close()
			c.goodbye()
		},
		"wakes, rests again and hears the goodbye": func(e *transport.Endpoint, p *transport.Peer, o *owner, c *client) {
			if _, err := c.conn.Write([]byte("ignored")); err != nil {
				t.Error(err)
			}
			eventually(t, "the peer wakes", func() bool { return e.Stats().Attending == 1 })
			eventually(t, "the peer rests again", func() bool { return e.Stats().Attending == 0 })
			b := e.NewBatch()
			if err := p.SealRTP(b, header(1, 1), payload(10), 0); err != nil {
				t.Error(err)
			}
			b.Flush()
			c.receive()
			_ = c.conn.Close()
			if err := o.waitDown(); !errors.Is(err, transport.ErrClosedByClient) {
				t.Errorf("down: %v", err)
			}
		},
		"survives rubbish": func(e *transport.Endpoint, p *transport.Peer, o *owner, c *client) {
			for _, b := range [][]byte{
				{21, 254, 253, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 40}, // an alert in the clear
				append([]byte{21, 254, 253, 0, 1, 0, 0, 0, 0, 0, 9, 0, 26}, make([]byte, 26)...),
				append([]byte{22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255}, make([]byte, 30)...),
			} {
				c.send(b)
			}
			c.check(p, true)
			p.Close()
			c.goodbye()
			if len(o.down) > 0 {
				t.Errorf("down: %v", <-o.down)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := listen(t, transport.Config{})
			p, o, c := rested(t, e)
			test(e, p, o, c)
		})
	}
}

func TestNothingIsLeftOf200Peers(t *testing.T) {
	before := goleak.IgnoreCurrent()
	e, err := transport.Listen(transport.Config{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	var clients []*client
	for i := range 200 {
		p, o, c := connect(t, e, "127.0.0.1")
		clients = append(clients, c)
		switch i % 4 {
		case 0:
			p.Close()
		case 1:
			_ = c.conn.Close()
			_ = o.waitDown()
			p.Close()
		case 2: // a second one whose handshake is under way
			half, other := e.NewPeer(newOwner(t)), newClient(t, e, "127.0.0.1")
			_ = half.SetRemote(other.ufrag, other.pwd, other.fingerprint, transport.Active)
			other.check(half, true)
			half.Close()
			clients = append(clients, other)
		} // the rest stay up until the endpoint closes
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if s := e.Stats(); s.Peers != 0 || s.Attending != 0 || s.Handshakes[transport.ProfileGCM128] != 200 {
		t.Errorf("left: %+v", s)
	}
	late := e.NewPeer(newOwner(t))
	if late.SetRemote("abcd", clients[0].pwd, clients[0].fingerprint, transport.Active); e.Stats().Peers != 0 {
		t.Error("a closed endpoint took a peer")
	}
	late.Close()
	for _, c := range clients {
		c.close()
	}
	goleak.VerifyNone(t, before)
}
