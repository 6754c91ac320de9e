package tenant

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
)

// readPublicKey reads a public key that a tenant uploads, as PEM (RFC 7468, PKIX)
// or as a JWK (RFC 7517, 7518 §6.2, 8037 §2): P-256 for ES256 or Ed25519 for EdDSA,
// and nothing else. It returns the algorithm that goes with it, and PKIX DER. The
// error is a *FieldError about public_key, and repeats nothing of the text: by
// mistake it may be a private key.
func readPublicKey(text string) (algorithm string, der []byte, err error) {
	text = strings.TrimSpace(text)
	var key any
	switch {
	case text == "":
		return "", nil, badKey("is missing: paste a public key as PEM or JWK")
	case len(text) > MaxPublicKeyBytes:
		return "", nil, badKey(fmt.Sprintf("has %d bytes; a public key has at most %d", len(text), MaxPublicKeyBytes))
	case strings.Contains(text, "PRIVATE KEY"):
		return "", nil, errPrivateKey
	case text[0] == '{':
		key, err = readJWK(text)
	default:
		key, err = readPEM(text)
	}
	if err != nil {
		return "", nil, err
	}
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() {
			return "", nil, errKeyKind
		}
		algorithm = algES256
	case ed25519.PublicKey:
		algorithm = algEdDSA
	default:
		return "", nil, errKeyKind
	}
	if der, err = x509.MarshalPKIXPublicKey(key); err != nil {
		return "", nil, badKey("is no point of its curve")
	}
	return algorithm, der, nil
}

func badKey(problem string) error { return &FieldError{"public_key", problem} }

var (
	errPrivateKey = badKey("is a private key. Nothing of it was kept; but it has left your machine, so make a new pair and paste the public half alone")
	errKeyKind    = badKey("is of a kind that is not taken: use P-256 (ES256) or Ed25519 (EdDSA)")
)

// readPEM reads one PEM block.
func readPEM(text string) (any, error) {
	block, rest := pem.Decode([]byte(text))
	switch {
	case block == nil:
		return nil, badKey("is neither PEM (-----BEGIN PUBLIC KEY-----) nor a JWK")
	case block.Type == "CERTIFICATE":
		return nil, badKey("is a certificate: paste its public key, as openssl x509 -pubkey -noout prints it")
	case block.Type != "PUBLIC KEY":
		return nil, badKey("is not of the kind PUBLIC KEY: paste what openssl pkey -pubout prints")
	case strings.TrimSpace(string(rest)) != "":
		return nil, badKey("has something after its end: paste one key")
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, badKey("cannot be read: paste what openssl pkey -pubout prints")
	}
	return key, nil
}

// readJWK reads one JWK. Its kid and alg mean nothing: the kid is given here, and
// the algorithm follows from the curve.
func readJWK(text string) (any, error) {
	f, ok := ReadFields([]byte(text))
	if !ok {
		return nil, badKey("is no JSON object")
	}
	for _, name := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if f.Has(name) {
			return nil, errPrivateKey
		}
	}
	if f.Has("keys") {
		return nil, badKey("is a set of keys: paste one of them")
	}
	kty, crv := f.Text("kty"), f.Text("crv")
	x, y := f.Text("x"), f.Text("y")
	if f.Err() != nil {
		return nil, badKey("is no JWK: kty, crv, x and y are strings")
	}
	xs, errX := base64.RawURLEncoding.Strict().DecodeString(x)
	ys, errY := base64.RawURLEncoding.Strict().DecodeString(y)
	if errX != nil || errY != nil {
		return nil, badKey("is no JWK: x and y are base64url")
	}
	switch {
	case kty == "EC" && crv == "P-256":
		if len(xs) != 32 || len(ys) != 32 {
			return nil, badKey("is no JWK of P-256: x and y have 32 bytes")
		}
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, xs...), ys...))
		if err != nil {
			return nil, badKey("is no point of P-256")
		}
		return key, nil
	case kty == "OKP" && crv == "Ed25519":
		if len(xs) != ed25519.PublicKeySize || f.Has("y") {
			return nil, badKey("is no JWK of Ed25519: x has 32 bytes, and there is no y")
		}
		return ed25519.PublicKey(xs), nil
	}
	return nil, errKeyKind
}
