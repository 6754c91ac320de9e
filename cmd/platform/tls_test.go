package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// writeCertificate writes a self-signed pair whose serial number tells it from
// others, with the modification time at.
func writeCertificate(t *testing.T, dir string, serial int64, at time.Time) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: at.AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// serial is the serial number of the certificate that a handshake would get.
func serial(t *testing.T, c *certificate) int64 {
	t.Helper()
	pair, err := c.get(nil)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf.SerialNumber.Int64()
}

// A renewed certificate is served without a restart; one that is half written
// leaves the old one in place, and the log says so.
func TestCertificateIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		certFile, keyFile := writeCertificate(t, dir, 1, time.Now())
		c, err := newCertificate(certFile, keyFile, slog.New(slog.NewTextHandler(&log, nil)))
		if err != nil {
			t.Fatal(err)
		}
		writeCertificate(t, dir, 2, time.Now().Add(time.Hour))
		if got := serial(t, c); got != 1 {
			t.Errorf("serves certificate %d before it looked again", got)
		}
		time.Sleep(certificateCheck + time.Second)
		if got := serial(t, c); got != 2 {
			t.Errorf("serves certificate %d after the renewal", got)
		}
		if err := os.WriteFile(keyFile, []byte("half a k"), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(certificateCheck + time.Second)
		if got := serial(t, c); got != 2 {
			t.Errorf("serves certificate %d while the files are broken", got)
		}
		if !strings.Contains(log.String(), "the old one stays") {
			t.Errorf("the log says %q", &log)
		}
	})
}

func TestWrongCertificateStopsTheStart(t *testing.T) {
	dir := t.TempDir()
	certFile, _ := writeCertificate(t, dir, 1, time.Now())
	for _, keyFile := range []string{certFile, filepath.Join(dir, "missing.pem")} {
		if _, err := newCertificate(certFile, keyFile, slog.New(slog.DiscardHandler)); err == nil || !strings.HasPrefix(err.Error(), "HIBARI_TLS_CERT: ") {
			t.Errorf("key file %s: %v", keyFile, err)
		}
	}
}
