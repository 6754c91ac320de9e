package load

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/webrtc/v4"
)

// identity is the certificate of every client of a run: the making of keys is
// not what is measured.
type identity struct {
	tls         tls.Certificate
	webrtc      []webrtc.Certificate
	fingerprint string // as SDP has it
}

func newIdentity() (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	cert, err := selfsign.SelfSign(key)
	if err != nil {
		return nil, fmt.Errorf("couldn't make a certificate: %w", err)
	}
	parsed, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil, err
	}
	ours := webrtc.CertificateFromX509(key, parsed)
	prints, err := ours.GetFingerprints()
	if err != nil {
		return nil, err
	}
	return &identity{cert, []webrtc.Certificate{ours}, prints[0].Algorithm + " " + prints[0].Value}, nil
}
