package tenant

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// sealVersion is the first byte of everything sealed. It names the master key,
// so that a second one can be introduced while the first still opens old rows.
const sealVersion = 1

// masterKey seals secrets that must be readable again: an HMAC key cannot be
// kept as a hash.
type masterKey struct {
	aead cipher.AEAD
}

func newMasterKey(key []byte) (masterKey, error) {
	if len(key) != 32 {
		return masterKey{}, fmt.Errorf("the master key has %d bytes, want 32", len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return masterKey{}, fmt.Errorf("couldn't use the master key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return masterKey{}, fmt.Errorf("couldn't use the master key: %w", err)
	}
	return masterKey{aead: aead}, nil
}

// seal returns version, nonce and ciphertext. The result opens only with the
// same words in bind: a row copied to another tenant or key opens nowhere.
func (k masterKey) seal(plain []byte, bind ...string) []byte {
	sealed := make([]byte, 1+k.aead.NonceSize(), 1+k.aead.NonceSize()+len(plain)+k.aead.Overhead())
	sealed[0] = sealVersion
	rand.Read(sealed[1:])
	return k.aead.Seal(sealed, sealed[1:], plain, additionalData(bind))
}

// errSealed does not wrap the cipher's error, which says no more.
var errSealed = errors.New("couldn't open a sealed secret: it was sealed with another master key, or changed since")

// open reverses seal.
func (k masterKey) open(sealed []byte, bind ...string) ([]byte, error) {
	if len(sealed) < 1+k.aead.NonceSize() || sealed[0] != sealVersion {
		return nil, errSealed
	}
	nonce, text := sealed[1:1+k.aead.NonceSize()], sealed[1+k.aead.NonceSize():]
	plain, err := k.aead.Open(nil, nonce, text, additionalData(bind))
	if err != nil {
		return nil, errSealed
	}
	return plain, nil
}

// additionalData joins the version and the words with NUL, which ids cannot
// contain.
func additionalData(bind []string) []byte {
	return []byte(string(rune(sealVersion)) + "\x00" + strings.Join(bind, "\x00"))
}

// sealedByOthers keeps what other packages seal apart from signing keys.
const sealedByOthers = "secret"

// Seal encrypts a secret of another package, such as a webhook endpoint's,
// with AES-256-GCM under the master key.
func (s *Store) Seal(plain []byte) ([]byte, error) {
	return s.master.seal(plain, sealedByOthers), nil
}

// Open decrypts what Seal returned.
func (s *Store) Open(sealed []byte) ([]byte, error) {
	return s.master.open(sealed, sealedByOthers)
}

// WebhookSecretPrefix marks a secret that requests are signed with (Standard
// Webhooks 1.0.0).
const WebhookSecretPrefix = "whsec_"

// NewWebhookSecret returns a secret of 256 random bits: the prefix and base64.
func NewWebhookSecret() string {
	var key [32]byte
	rand.Read(key[:]) // never fails: crypto/rand ends the program instead
	return WebhookSecretPrefix + base64.StdEncoding.EncodeToString(key[:])
}
