package tenant

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"
)

// OWASP's smallest argon2id: 19 MiB, two passes, one lane. A log-in costs some
// 20 ms of one core.
const (
	argonMemory  = 19456 // KiB
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16
	argonKey     = 32
)

// nobody is what a log-in to an unknown account, or to one without a password,
// is compared with: it costs what a real hash costs, and its key of zeros is
// that of no known password.
const nobody = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

// passwords hashes and compares, at most one per seat at a time: each takes
// 19 MiB, and a crowd of log-ins must not take the memory of the media.
type passwords struct {
	seats chan struct{}
}

// checkPassword says what is wrong with a password that somebody chooses.
func checkPassword(password string) error {
	switch {
	case utf8.RuneCountInString(password) < MinPasswordRunes:
		return &FieldError{"password", fmt.Sprintf("Use at least %d characters.", MinPasswordRunes)}
	case len(password) > MaxPasswordBytes:
		return &FieldError{"password", fmt.Sprintf("Use at most %d bytes.", MaxPasswordBytes)}
	}
	return nil
}

// hash returns the PHC string of a password:
// $argon2id$v=19$m=19456,t=2,p=1$SALT$KEY.
func (p passwords) hash(ctx context.Context, password string) (string, error) {
	if err := p.sit(ctx); err != nil {
		return "", err
	}
	defer p.stand()
	salt := make([]byte, argonSalt)
	rand.Read(salt)
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, argonMemory, argonTime, argonThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key)), nil
}

// matches reports whether the password is the one that was hashed. An empty
// hash matches nothing, at the same price.
func (p passwords) matches(ctx context.Context, hash, password string) (bool, error) {
	known := hash != ""
	if !known {
		hash = nobody
	}
	if len(password) > MaxPasswordBytes {
		password, known = "", false
	}
	salt, want, memory, passes, threads, err := parsePHC(hash)
	if err != nil {
		return false, err
	}
	if err := p.sit(ctx); err != nil {
		return false, err
	}
	defer p.stand()
	got := argon2.IDKey([]byte(password), salt, passes, memory, threads, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1 && known, nil
}

// parsePHC reads a hash that was written with these or with other parameters.
func parsePHC(phc string) (salt, key []byte, memory, passes uint32, threads uint8, err error) {
	fail := errors.New("couldn't read a stored password hash")
	parts := strings.Split(phc, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != "v=19" {
		return nil, nil, 0, 0, 0, fail
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &memory, &passes, &threads); err != nil {
		return nil, nil, 0, 0, 0, fail
	}
	salt, errSalt := base64.RawStdEncoding.DecodeString(parts[4])
	key, errKey := base64.RawStdEncoding.DecodeString(parts[5])
	if errSalt != nil || errKey != nil || len(key) < 16 || passes == 0 || threads == 0 || memory > 1<<20 {
		return nil, nil, 0, 0, 0, fail
	}
	return salt, key, memory, passes, threads, nil
}

func (p passwords) sit(ctx context.Context) error {
	select {
	case p.seats <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("couldn't get a turn to check a password: %w", ctx.Err())
	}
}

func (p passwords) stand() { <-p.seats }
