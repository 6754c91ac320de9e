package tenant_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"math/big"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

// TestPublicKeys verifies with keys whose private halves we never had, and
// refuses a token signed with the public half as if it were a secret.
func TestPublicKeys(t *testing.T) {
	h := newHouse(t)
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, edKey := h.addPublicKey("ES256", &ec.PublicKey), h.addPublicKey("EdDSA", public)
	wrong := h.addPublicKey("ES256", public)

	input := encode(map[string]any{"alg": "ES256", "kid": ecKey}) + "." + encode(good())
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, ec, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	ecToken := input + "." + ecSignature(r, s)
	first := h.accepts(h.store, ecToken, "room", tenant.SendOnly)

	// (r, n-s) is as valid as (r, s): a ban must hold for both.
	twin := input + "." + ecSignature(r, new(big.Int).Sub(ec.Params().N, s))
	if second := h.accepts(h.store, twin, "room", tenant.SendOnly); second.TokenHash != first.TokenHash {
		t.Error("the twin of an ES256 signature makes another token of it, which a ban would miss")
	}

	input = encode(map[string]any{"alg": "EdDSA", "kid": edKey}) + "." + encode(good())
	signature, err := private.Sign(nil, []byte(input), crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	h.accepts(h.store, input+"."+base64.RawURLEncoding.EncodeToString(signature), "room", tenant.SendOnly)
	signature[3] ^= 1
	h.refuses(h.store, input+"."+base64.RawURLEncoding.EncodeToString(signature), "room", tenant.SendOnly, tenant.TokenInvalid)

	der, err := x509.MarshalPKIXPublicKey(&ec.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{string(der), string(public)} {
		for _, kid := range []string{ecKey, edKey} {
			for _, alg := range []string{"HS256", "ES256", "EdDSA", "none"} {
				h.refuses(h.store, sign(map[string]any{"alg": alg, "kid": kid}, good(), secret), "room", tenant.SendOnly, tenant.TokenInvalid)
			}
		}
	}
	h.refuses(h.store, sign(map[string]any{"alg": "ES256", "kid": wrong}, good(), ""), "room", tenant.SendOnly, tenant.Unavailable)
	if text := h.log.String(); !strings.Contains(text, wrong) {
		t.Errorf("the log says nothing of the unusable key %s: %s", wrong, text)
	}
}

func ecSignature(r, s *big.Int) string {
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	s.FillBytes(raw[32:])
	return base64.RawURLEncoding.EncodeToString(raw)
}

func (h *house) addPublicKey(algorithm string, public any) (id string) {
	h.t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		h.t.Fatal(err)
	}
	id = "key_" + tenant.NewID()
	h.exec(`insert into signing_key (signing_key_id, tenant_id, algorithm, public_key) values ($1, $2, $3, $4)`, id, h.made.Tenant, algorithm, der)
	return id
}
