package tenant

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// Time-based one-time passwords (RFC 6238) as every authenticator app knows
// them: HMAC-SHA-1, 6 digits, a new one every 30 seconds.
const (
	totpPeriod = 30 * time.Second
	totpDigits = 1_000_000
	totpSecret = 20 // bytes; RFC 4226 §4 recommends 160 bits
	totpWindow = 1  // steps that a phone's clock may be off, either way
)

// base32Secret is how people and apps write a secret.
var base32Secret = base32.StdEncoding.WithPadding(base32.NoPadding)

func newTOTPSecret() []byte {
	secret := make([]byte, totpSecret)
	rand.Read(secret) // never fails: crypto/rand ends the program instead
	return secret
}

// totpAt returns the password of one time step (RFC 4226 §5.3).
func totpAt(secret []byte, step int64) string {
	mac := hmac.New(sha1.New, secret)
	binary.Write(mac, binary.BigEndian, step) // a hash takes everything
	sum := mac.Sum(nil)
	at := sum[len(sum)-1] & 0x0f
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[at:at+4])&0x7fffffff%totpDigits)
}

// TOTP returns what an authenticator app shows for a secret, in base32, at a
// time.
func TOTP(secret string, at time.Time) (string, error) {
	plain, err := base32Secret.DecodeString(strings.ToUpper(strings.TrimRight(strings.ReplaceAll(secret, " ", ""), "=")))
	if err != nil {
		return "", errors.New("the secret is not base32")
	}
	return totpAt(plain, at.Unix()/int64(totpPeriod/time.Second)), nil
}

// totpURI is what a QR code tells an authenticator app.
func totpURI(secret []byte, account string) string {
	query := url.Values{"secret": {base32Secret.EncodeToString(secret)}, "issuer": {"Hibari"}}
	return "otpauth://totp/" + url.PathEscape("Hibari:"+account) + "?" + query.Encode()
}
