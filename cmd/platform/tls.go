package main

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// How often the certificate files are looked at, at most, and only when somebody
// connects: a renewal is served about at once.
const certificateCheck = time.Second

// certificate is the HTTPS certificate, read again when its files change, so
// that a renewal needs no restart.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex // guards the rest
	current *tls.Certificate
	stamp   time.Time // the newer of the files' modification times
	checked time.Time
}

// newCertificate reads the files once, so that a wrong path stops the start.
func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.read(); err != nil {
		return nil, fmt.Errorf("HIBARI_TLS_CERT: %w", err)
	}
	return c, nil
}

func (c *certificate) tlsConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

// get returns the certificate for a handshake.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) > certificateCheck {
		if err := c.read(); err != nil {
			c.log.Error("couldn't read the renewed certificate; the old one stays", "err", err)
		}
	}
	return c.current, nil
}

// read loads the files when they are newer than what is loaded. The caller
// holds mu, or nobody else knows c yet.
func (c *certificate) read() error {
	c.checked = time.Now()
	var stamp time.Time
	for _, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return err
		}
		if info.ModTime().After(stamp) {
			stamp = info.ModTime()
		}
	}
	if stamp.Equal(c.stamp) {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.current, c.stamp = &pair, stamp
	return nil
}
