package sfu_test

import (
	"testing"
	"time"

	"github.com/pion/dtls/v3"

	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// TestCiphersMeet: clients that know only AES-CM publish to and watch those that
// know AES-GCM.
func TestCiphersMeet(t *testing.T) {
	port := listen(t, at("127.0.0.1"))
	s := newSFUOn(t, port)
	only := func(o sfutest.Options, profiles ...dtls.SRTPProtectionProfile) sfutest.Options {
		o.Profiles = profiles
		return o
	}
	var all []*sfutest.Session
	for _, profile := range []dtls.SRTPProtectionProfile{
		dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AEAD_AES_256_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80,
	} {
		all = append(all, join(t, s, request(tenant.SendRecv), only(publishing(av), profile)))
	}
	for _, from := range all {
		for _, to := range all {
			if from != to {
				flows(t, to, from.Connection.ID())
			}
		}
	}
	for _, profile := range []transport.Profile{transport.ProfileGCM128, transport.ProfileGCM256, transport.ProfileCM} {
		if n := port.Stats().Handshakes[profile]; n != 1 {
			t.Errorf("%d handshakes agreed on %s, want 1", n, profile)
		}
	}
}

// TestCertificateRotates: each offer, the first and the later ones, names the
// certificate that its client is shown, or the clients would not connect.
func TestCertificateRotates(t *testing.T) {
	port := at("127.0.0.1")
	port.CertificateLifetime = time.Nanosecond
	p := listen(t, port)
	s := newSFUOn(t, p)
	v := view(t, s)
	for range 2 { // each publisher has a newer certificate, and makes for a re-offer with the viewer's old one
		flows(t, v, publish(t, s, av).Connection.ID())
	}
	if err := v.Err(); err != nil {
		t.Error(err)
	}
	if n := p.Stats().Certificates; n < 2 {
		t.Errorf("%d certificates made, want several", n)
	}
}
