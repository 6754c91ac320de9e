package tenant_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

func b64(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// pemOf writes a key as PEM.
func pemOf(kind string, der []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func publicPEM(key any) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	return pemOf("PUBLIC KEY", der, err)
}

func jwkOf(fields map[string]any) string {
	text, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// pair makes keys of both kinds.
func pair(t testing.TB) (*ecdsa.PrivateKey, ed25519.PrivateKey) {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return ec, ed
}

// signed signs claims with either kind of key, without any JWT library.
func signed(t testing.TB, kid string, key crypto.Signer, claims any) string {
	t.Helper()
	if ed, ok := key.(ed25519.PrivateKey); ok {
		input := encode(map[string]any{"alg": "EdDSA", "kid": kid}) + "." + encode(claims)
		return input + "." + b64(ed25519.Sign(ed, []byte(input)))
	}
	input := encode(map[string]any{"alg": "ES256", "kid": kid}) + "." + encode(claims)
	digest := sha256.Sum256([]byte(input))
	r, s, err := ecdsa.Sign(rand.Reader, key.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + ecSignature(r, s)
}

// A public key is uploaded as PEM or JWK, and tokens of its private half are good,
// here and on another node at their first showing.
func TestUploadPublicKey(t *testing.T) {
	h := newHouse(t)
	ec, ed := pair(t)
	node := h.newStore(h.pool)
	if err := node.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	edPublic := ed.Public().(ed25519.PublicKey)
	for name, test := range map[string]struct {
		text, algorithm string
		key             crypto.Signer
	}{
		"EC PEM":      {publicPEM(&ec.PublicKey), "ES256", ec},
		"Ed25519 PEM": {"\n  " + publicPEM(edPublic) + "\n", "EdDSA", ed},
		"EC JWK":      {jwkOf(map[string]any{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:]), "alg": "HS256", "kid": "own", "use": "sig"}), "ES256", ec},
		"Ed25519 JWK": {jwkOf(map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(edPublic)}), "EdDSA", ed},
	} {
		t.Run(name, func(t *testing.T) {
			secret, key, err := h.store.AddSigningKey(t.Context(), h.scope, tenant.NewSigningKey{Name: name, PublicKey: test.text})
			if err != nil || secret != "" || key.Algorithm != test.algorithm || key.Name != name {
				t.Fatalf("AddSigningKey = %q, %+v, %v", secret, key, err)
			}
			token := h.confide(signed(t, key.ID, test.key, good()))
			for _, store := range []*tenant.Store{h.store, node} {
				if claim := h.accepts(store, token, "room", tenant.SendOnly); claim.KeyID != key.ID || claim.Tenant != h.made.Tenant {
					t.Errorf("claim = %+v", claim)
				}
			}
			if err := h.store.RevokeSigningKey(t.Context(), h.scope, key.ID); err != nil {
				t.Fatal(err)
			}
			h.refuses(h.store, token, "room", tenant.SendOnly, tenant.TokenInvalid)
		})
	}
}

// What is no public key of a kind that is taken is refused with words that help,
// and nothing of a private key is kept or written down.
func TestUploadRefused(t *testing.T) {
	h := newHouse(t)
	ec, ed := pair(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, ecErr := x509.MarshalECPrivateKey(ec)
	edDER, edErr := x509.MarshalPKCS8PrivateKey(ed)
	private := []string{
		pemOf("EC PRIVATE KEY", ecDER, ecErr), pemOf("PRIVATE KEY", edDER, edErr), pemOf("ENCRYPTED PRIVATE KEY", edDER, edErr),
		pemOf("OPENSSH PRIVATE KEY", edDER, edErr), "-----BEGIN PRIVATE KEY-----\n" + b64(edDER),
		publicPEM(&ec.PublicKey) + pemOf("PRIVATE KEY", edDER, edErr),
		jwkOf(map[string]any{"kty": "OKP", "crv": "Ed25519", "x": b64(ed.Public().(ed25519.PublicKey)), "d": b64(ed.Seed())}),
		jwkOf(map[string]any{"kty": "oct", "k": b64(ed.Seed())}),
	}
	zero := b64(make([]byte, 32))
	for text, word := range map[string]string{
		"hello":                                             "neither PEM",
		publicPEM(&p384.PublicKey):                          "P-256",
		publicPEM(&rsaKey.PublicKey):                        "P-256",
		pemOf("CERTIFICATE", ecDER, nil):                    "certificate",
		pemOf("PUBLIC KEY", ecDER, nil):                     "cannot be read",
		pemOf("EC PARAMETERS", ecDER, nil):                  "PUBLIC KEY",
		publicPEM(&ec.PublicKey) + publicPEM(&ec.PublicKey): "one key",
		`{"keys":[]}`:                                       "set of keys",
		`{"kty":1}`:                                         "strings",
		`{`:                                                 "JSON",
		`{"kty":"EC","crv":"P-384","x":"AA","y":"AA"}`:                     "P-256",
		`{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}`:                     "32 bytes",
		`{"kty":"EC","crv":"P-256","x":"` + zero + `","y":"` + zero + `"}`: "no point",
		`{"kty":"EC","crv":"P-256","x":"+/","y":""}`:                       "base64url",
		`{"kty":"OKP","crv":"Ed25519","x":"AA"}`:                           "32 bytes",
		`{"kty":"OKP","crv":"X25519","x":"` + zero + `"}`:                  "Ed25519",
		strings.Repeat("x", tenant.MaxPublicKeyBytes+1):                    "at most",
	} {
		var field *tenant.FieldError
		_, _, err := h.store.AddSigningKey(t.Context(), h.scope, tenant.NewSigningKey{PublicKey: text})
		if !errors.As(err, &field) || field.Field != "public_key" || !strings.Contains(field.Problem, word) {
			t.Errorf("%.60q: %v, want a word about %q", text, err, word)
		}
	}
	for _, text := range private {
		var field *tenant.FieldError
		_, _, err := h.store.AddSigningKey(t.Context(), h.scope, tenant.NewSigningKey{PublicKey: text})
		if !errors.As(err, &field) || !strings.Contains(field.Problem, "private key") {
			t.Errorf("a private key: %v", err)
		}
		h.log.Write([]byte(err.Error()))
	}
	h.log.secret(b64(ed.Seed()), b64(edDER))
	if keys, err := h.store.SigningKeys(t.Context(), h.scope); err != nil || len(keys) != 1 {
		t.Errorf("%d keys, %v", len(keys), err)
	}
}

func FuzzPublicKey(f *testing.F) {
	ec, ed := pair(f)
	f.Add(publicPEM(&ec.PublicKey))
	f.Add(publicPEM(ed.Public()))
	f.Add(`{"kty":"OKP","crv":"Ed25519","x":"` + b64(ed.Public().(ed25519.PublicKey)) + `"}`)
	f.Add(`{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}`)
	h := newHouse(f)
	f.Fuzz(func(t *testing.T, text string) {
		var field *tenant.FieldError
		// The text is looked at before the key that it is to replace, which there is not.
		_, _, err := h.store.AddSigningKey(t.Context(), h.scope, tenant.NewSigningKey{PublicKey: text, Replaces: "none"})
		if text != "" && !errors.As(err, &field) && !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// A key is rotated: both are good until the old one is revoked, or retires by
// itself, here and on another node.
func TestRotation(t *testing.T) {
	h := newHouse(t)
	node := h.newStore(h.secondPool())
	run(t, node)
	old := h.token(good())
	h.accepts(node, old, "room", tenant.SendOnly)
	secret, fresh, err := h.store.AddSigningKey(t.Context(), h.scope, tenant.NewSigningKey{Replaces: h.made.SigningKeyID})
	if err != nil || fresh.Name != "first" {
		t.Fatalf("AddSigningKey = %+v, %v", fresh, err)
	}
	h.log.secret(secret)
	newer := h.confide(sign(map[string]any{"alg": "HS256", "kid": fresh.ID}, good(), secret))
	for _, store := range []*tenant.Store{h.store, node} {
		h.accepts(store, old, "room", tenant.SendOnly)
		h.accepts(store, newer, "room", tenant.SendOnly)
	}

	// The tokens that we sign ourselves come from the one that stays.
	later := time.Now().Add(time.Hour)
	if err := h.store.RetireSigningKey(t.Context(), h.scope, fresh.ID, later); err != nil {
		t.Fatal(err)
	}
	ours, err := h.store.SignToken(t.Context(), h.scope, tenant.TokenRequest{Channel: "room"})
	if err != nil {
		t.Fatal(err)
	}
	if claim := h.accepts(h.store, h.confide(ours), "room", tenant.SendOnly); claim.KeyID != h.made.SigningKeyID {
		t.Errorf("signed with %s, which retires", claim.KeyID)
	}
	if err := h.store.RetireSigningKey(t.Context(), h.scope, fresh.ID, time.Time{}); err != nil {
		t.Fatal(err)
	}

	soon := time.Now().Add(3 * time.Second)
	if err := h.store.RetireSigningKey(t.Context(), h.scope, h.made.SigningKeyID, soon); err != nil {
		t.Fatal(err)
	}
	h.accepts(h.store, old, "room", tenant.SendOnly)
	for place, store := range map[string]*tenant.Store{"here": h.store, "elsewhere": node} {
		until(t, "the retirement "+place, func() bool {
			_, _, err := store.Verify(t.Context(), tenant.TokenWish{Token: old, Channel: "room", Role: tenant.SendOnly})
			return err != nil
		})
		if early := time.Until(soon); early > 0 {
			t.Errorf("%s the key stopped %s early", place, early)
		} else if early < -tenant.RefreshEvery-time.Second {
			t.Errorf("%s the key stopped %s late", place, -early)
		}
		h.accepts(store, newer, "room", tenant.SendOnly)
	}
	keys, err := h.store.SigningKeys(t.Context(), h.scope)
	if err != nil || len(keys) != 2 || keys[1].Active(time.Now()) || !keys[0].Active(time.Now()) || keys[1].RetiresAt == nil || keys[1].RevokedAt != nil {
		t.Errorf("keys %+v, %v", keys, err)
	}
	for _, id := range []string{h.made.SigningKeyID, "key_" + tenant.NewID(), ""} {
		if err := h.store.RetireSigningKey(t.Context(), h.scope, id, later); !errors.Is(err, tenant.ErrNotFound) {
			t.Errorf("a key that is none retires: %v", err)
		}
	}
	var field *tenant.FieldError
	for _, at := range []time.Time{time.Now().Add(-time.Second), time.Now().Add(tenant.MaxRetirement + time.Hour)} {
		if err := h.store.RetireSigningKey(t.Context(), h.scope, fresh.ID, at); !errors.As(err, &field) || field.Field != "retire_at" {
			t.Errorf("RetireSigningKey(%s) = %v", at, err)
		}
	}
	other := tenant.OperatorScope(h.newTenant("Other", "other@example.com").Tenant)
	if err := h.store.RetireSigningKey(t.Context(), other, fresh.ID, later); !errors.Is(err, tenant.ErrNotFound) {
		t.Errorf("another tenant has the key retire: %v", err)
	}
}

// A revoked key's tokens are refused in another process within 10 s.
func TestRevocationElsewhere(t *testing.T) {
	h := newHouse(t)
	node := h.newStore(h.secondPool())
	run(t, node)
	token := h.token(good())
	h.accepts(node, token, "room", tenant.SendOnly)
	if err := h.store.RevokeSigningKey(t.Context(), h.scope, h.made.SigningKeyID); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	until(t, "the revocation", func() bool {
		_, _, err := node.Verify(t.Context(), tenant.TokenWish{Token: token, Channel: "room", Role: tenant.SendOnly})
		return err != nil
	})
	if took := time.Since(revoked); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

// The policy for duplicate client ids rides with each claim, also elsewhere.
func TestDuplicatesSetting(t *testing.T) {
	h := newHouse(t)
	node := h.newStore(h.pool)
	token := h.token(good())
	for _, policy := range []tenant.Duplicates{tenant.DuplicatesReplace, tenant.DuplicatesRefuse, tenant.DuplicatesRefuse, tenant.DuplicatesAllow} {
		if err := h.store.SetDuplicates(t.Context(), h.scope, policy); err != nil {
			t.Fatal(err)
		}
		if err := node.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, store := range []*tenant.Store{h.store, node} {
			if claim := h.accepts(store, token, "room", tenant.SendOnly); claim.Duplicates != policy {
				t.Errorf("the claim says %q, want %q", claim.Duplicates, policy)
			}
		}
		if set, err := h.store.Settings(t.Context(), h.scope); err != nil || set.Duplicates != policy {
			t.Errorf("Settings = %+v, %v", set, err)
		}
	}
	var field *tenant.FieldError
	if err := h.store.SetDuplicates(t.Context(), h.scope, "kick"); !errors.As(err, &field) {
		t.Errorf("SetDuplicates(kick) = %v", err)
	}
	claim := h.accepts(h.store, h.token(with(map[string]any{"max_channel_connections": 3, "duplicate_client_id": "replace"})), "room", tenant.SendOnly)
	if claim.Grant.MaxChannelConnections != 3 || claim.Grant.Duplicates != tenant.DuplicatesReplace {
		t.Errorf("claim = %+v", claim)
	}
}
