package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
)

// TokenRequest says what a token signed by us shall allow.
type TokenRequest struct {
	Channel     string        // exact, or a prefix ending in "*"
	Role        string        // in either era's words; "": any
	ClientID    string        // "": the client may choose
	TTL         time.Duration // 0: DefaultTokenTTL; at most MaxTokenTTL
	MaxDuration time.Duration // 0: none
	Metadata    any           // nil: none; else it must marshal to a JSON object
}

// SignToken signs an access token with the tenant's newest HS256 key, of those that
// do not retire if there is one. It fails
// with a *FieldError for a wish that Verify would refuse, and with
// ErrNoSigningKey.
func (s *Store) SignToken(ctx context.Context, scope Scope, r TokenRequest) (string, error) {
	if scope.tenant == "" {
		return "", ErrScope
	}
	claims, err := r.claims(time.Now())
	if err != nil {
		return "", err
	}
	var id string
	var sealed []byte
	err = scope.In(s.pool).QueryRow(ctx, `
		select signing_key_id, secret_sealed from signing_key
		where tenant_id = $1 and algorithm = 'HS256' and `+keyIsActive+`
		order by retires_at is null desc, created_at desc, signing_key_id desc limit 1`, scope.tenant).Scan(&id, &sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", ErrNoSigningKey
	}
	if err != nil {
		return "", fmt.Errorf("couldn't look a signing key up: %w", err)
	}
	secret, err := s.keyMaterial(scope.tenant, id, algHS256, sealed, nil)
	if err != nil {
		return "", fmt.Errorf("couldn't sign with %s: %w", id, err)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	token.Header["kid"] = id
	signed, err := token.SignedString(secret)
	if err != nil {
		return "", fmt.Errorf("couldn't sign with %s: %w", id, err)
	}
	if len(signed) > MaxTokenBytes {
		return "", &FieldError{"metadata", "Shorten it: the token gets too long."}
	}
	return signed, nil
}

// claims returns the claims to sign, refusing what Verify would refuse.
func (r TokenRequest) claims(now time.Time) (jwt.MapClaims, error) {
	if r.TTL == 0 {
		r.TTL = DefaultTokenTTL
	}
	switch {
	case r.TTL < time.Second || r.TTL > MaxTokenTTL:
		return nil, &FieldError{"ttl", "Use 1 second to 24 hours."}
	case r.Channel == "" || len(r.Channel) > MaxNameBytes || badText(r.Channel):
		return nil, &FieldError{"channel", fmt.Sprintf("Use 1 to %d bytes without control characters.", MaxNameBytes)}
	case len(r.ClientID) > MaxNameBytes || badText(r.ClientID):
		return nil, &FieldError{"client_id", fmt.Sprintf("Use at most %d bytes without control characters.", MaxNameBytes)}
	case r.MaxDuration < 0 || r.MaxDuration > MaxConnectionDuration:
		return nil, &FieldError{"max_duration", fmt.Sprintf("Use at most %s.", MaxConnectionDuration)}
	}
	claims := jwt.MapClaims{
		"aud":        audience,
		"iat":        now.Unix(),
		"exp":        now.Add(r.TTL + time.Second - 1).Unix(), // rounded up: a second is a whole one
		"jti":        NewID(),
		"channel_id": r.Channel,
	}
	if r.Role != "" {
		role, err := ParseRole(r.Role)
		if err != nil {
			return nil, &FieldError{"role", "Use sendonly, recvonly or sendrecv."}
		}
		claims["role"] = role
	}
	if r.ClientID != "" {
		claims["client_id"] = r.ClientID
	}
	if r.MaxDuration > 0 {
		claims["max_duration"] = r.MaxDuration.Seconds()
	}
	if r.Metadata == nil {
		return claims, nil
	}
	metadata, err := normalMetadata(r.Metadata)
	if err != nil {
		return nil, err
	}
	if metadata != nil {
		claims["metadata"] = metadata
	}
	return claims, nil
}

// normalMetadata puts metadata through what Verify will do with it; nil if it
// marshals to null.
func normalMetadata(v any) (json.RawMessage, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, &FieldError{"metadata", "It is no JSON."}
	}
	decoded, err := decodeNumbers(text)
	if err != nil {
		return nil, &FieldError{"metadata", "It is no JSON."}
	}
	metadata, refusal := readMetadata(decoded)
	if refusal != nil {
		return nil, &FieldError{"metadata", refusal.Detail}
	}
	return metadata, nil
}
