package transport

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	_ "crypto/sha512" // SHA-384 and SHA-512 fingerprints
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"time"
)

// identity is a certificate that peers show. Static: a new one takes its place
// for new peers, and the last peer to go takes the old one with it.
type identity struct {
	certificate tls.Certificate
	fingerprint string // the SDP form
	made        time.Time
}

// identities makes a new identity when the newest one has grown old, so that
// clients can't be recognised by, nor a stolen key serve against, those who came
// on another day. It needs no timer: who asks first makes it.
type identities struct {
	lifetime time.Duration // Static.

	mu sync.Mutex
	// Guarded by mu.
	newest *identity
	count  int64 // made so far
}

// at is the identity for a peer that comes now. With an error it is still the
// old one, nil if there never was any.
func (i *identities) at(now time.Time) (*identity, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.newest != nil && now.Sub(i.newest.made) < i.lifetime {
		return i.newest, nil
	}
	certificate, err := newCertificate(now)
	if err != nil {
		return i.newest, err
	}
	i.newest = &identity{certificate, fingerprintOf(certificate.Certificate[0]), now}
	i.count++
	return i.newest, nil
}

// made is how many identities there have been.
func (i *identities) made() int64 {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.count
}

// identity is the one for a peer that comes now.
func (e *Endpoint) identity() *identity {
	id, err := e.identities.at(time.Now())
	if err != nil {
		e.log.Warn("the DTLS certificate stays the old one", "error", err)
	}
	return id
}

// Fingerprint is the value of the SDP "fingerprint" attribute for this client,
// "sha-256 AB:…": its certificate stays the same however long it lives.
func (p *Peer) Fingerprint() string { return p.identity.fingerprint }

// newCertificate makes a self-signed ECDSA P-256 certificate. Clients trust its
// fingerprint because signalling told them (RFC 8122), not its dates or names.
func newCertificate(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("couldn't make the DTLS key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("couldn't make the DTLS certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "WebRTC"},
		NotBefore:    now.AddDate(0, 0, -1),
		NotAfter:     now.AddDate(10, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("couldn't make the DTLS certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// fingerprintOf is the SDP form of a certificate's SHA-256 fingerprint.
func fingerprintOf(der []byte) string {
	sum := sha256.Sum256(der)
	var b strings.Builder
	b.WriteString("sha-256 ")
	for i, c := range sum {
		if i > 0 {
			b.WriteByte(':')
		}
		fmt.Fprintf(&b, "%02X", c)
	}
	return b.String()
}

// fingerprint is what an answer said about its sender's certificate.
type fingerprint struct {
	hash crypto.Hash
	sum  string // raw bytes
}

// parseFingerprint reads "sha-256 AB:CD:…". SHA-1 is refused: it no longer
// identifies anything.
func parseFingerprint(s string) (fingerprint, error) {
	name, value, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok {
		return fingerprint{}, ErrBadFingerprint
	}
	var h crypto.Hash
	switch strings.ToLower(name) {
	case "sha-256":
		h = crypto.SHA256
	case "sha-384":
		h = crypto.SHA384
	case "sha-512":
		h = crypto.SHA512
	default:
		return fingerprint{}, ErrBadFingerprint
	}
	sum, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(value), ":", ""))
	if err != nil || len(sum) != h.Size() {
		return fingerprint{}, ErrBadFingerprint
	}
	return fingerprint{hash: h, sum: string(sum)}, nil
}

// matches compares in constant time.
func (f fingerprint) matches(der []byte) bool {
	h := f.hash.New()
	h.Write(der)
	return subtle.ConstantTimeCompare(h.Sum(nil), []byte(f.sum)) == 1
}
