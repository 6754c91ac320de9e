package transport_test

import (
	"errors"
	"testing"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// newer makes peers until one has another certificate than p.
func newer(t *testing.T, e *transport.Endpoint, p *transport.Peer, o *owner) (next *transport.Peer) {
	t.Helper()
	eventually(t, "a peer has a new certificate", func() bool {
		next = e.NewPeer(o)
		if next.Fingerprint() == p.Fingerprint() {
			next.Close()
			return false
		}
		return true
	})
	return next
}

func TestPeersShareTheCertificateOfTheDay(t *testing.T) {
	e := listen(t, transport.Config{})
	p := e.NewPeer(newOwner(t))
	for range 10 {
		if other := e.NewPeer(newOwner(t)); other.Fingerprint() != p.Fingerprint() {
			t.Fatal("two peers of one moment have two certificates")
		}
	}
	if n := e.Stats().Certificates; n != 1 {
		t.Errorf("%d certificates made, want 1", n)
	}
}

// TestRotation: each client meets the certificate that it was told of, whichever
// of them comes first.
func TestRotation(t *testing.T) {
	e := listen(t, transport.Config{CertificateLifetime: time.Nanosecond})
	before := newOwner(t)
	p := e.NewPeer(before)
	after := newOwner(t)
	q := newer(t, e, p, after)
	for _, one := range []struct {
		peer  *transport.Peer
		owner *owner
	}{{q, after}, {p, before}} {
		c := newClient(t, e, "127.0.0.1")
		if err := one.peer.SetRemote(c.ufrag, c.pwd, c.fingerprint, transport.Active); err != nil {
			t.Fatal(err)
		}
		c.check(one.peer, true)
		if err := c.handshake(dtls.SRTP_AEAD_AES_128_GCM); err != nil {
			t.Fatal(err)
		}
		one.owner.waitUp()
		c.send(c.protect(1, 1, payload(10)))
		d := one.owner.datagram()
		if _, _, err := one.peer.Unprotect(&d); err != nil {
			t.Error(err)
		}
		d.Free()
	}
}

// TestRestingPeerOutlivesItsCertificate: what was put away with one certificate
// wakes after the next was made.
func TestRestingPeerOutlivesItsCertificate(t *testing.T) {
	e := listen(t, transport.Config{CertificateLifetime: time.Nanosecond})
	p, o, c := rested(t, e)
	newer(t, e, p, newOwner(t))
	if p.Fingerprint() != c.told {
		t.Error("the peer's fingerprint changed")
	}
	if _, err := c.conn.Write([]byte("ignored")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the peer wakes", func() bool { return e.Stats().Attending == 1 })
	eventually(t, "the peer rests again", func() bool { return e.Stats().Attending == 0 })
	_ = c.conn.Close()
	if err := o.waitDown(); !errors.Is(err, transport.ErrClosedByClient) {
		t.Errorf("down: %v", err)
	}
}
