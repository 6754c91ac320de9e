package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5"
)

// TokenRequest says what a token signed by us shall allow.
type TokenRequest struct {
	Channel     string        // exact, or a prefix ending in "*"
	Roles       []string      // in either era's words; none: any
	ClientID    string        // "": the client may choose
	TTL         time.Duration // 0: DefaultTokenTTL; at most MaxTokenTTL
	MaxDuration time.Duration // 0: none
	Metadata    any           // nil: none; else it must marshal to a JSON object
	// MaxChannelConnections and Duplicates are as in a Grant; 0 and "": not set.
	MaxChannelConnections int
	Duplicates            Duplicates
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
	case r.MaxChannelConnections < 0 || r.MaxChannelConnections > MaxChannelConnections:
		return nil, &FieldError{"max_channel_connections", fmt.Sprintf("Use at most %d.", MaxChannelConnections)}
	case r.Duplicates != "" && !slices.Contains(duplicates, string(r.Duplicates)):
		return nil, &FieldError{"duplicate_client_id", "Use " + strings.Join(duplicates, ", ") + "."}
	}
	claims := jwt.MapClaims{
		"aud":        audience,
		"iat":        now.Unix(),
		"exp":        now.Add(r.TTL + time.Second - 1).Unix(), // rounded up: a second is a whole one
		"jti":        NewID(),
		"channel_id": r.Channel,
	}
	role, err := roleClaim(r.Roles)
	if err != nil {
		return nil, err
	}
	if role != nil {
		claims["role"] = role
	}
	if r.ClientID != "" {
		claims["client_id"] = r.ClientID
	}
	if r.MaxDuration > 0 {
		claims["max_duration"] = r.MaxDuration.Seconds()
	}
	if r.MaxChannelConnections > 0 {
		claims["max_channel_connections"] = r.MaxChannelConnections
	}
	if r.Duplicates != "" {
		claims["duplicate_client_id"] = r.Duplicates
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

// roleClaim writes one role as a string, as most tokens have it, and several as
// a list; nil: any.
func roleClaim(words []string) (any, error) {
	if len(words) > maxRoles {
		return nil, &FieldError{"role", fmt.Sprintf("Use at most %d.", maxRoles)}
	}
	var roles []Role
	for _, word := range words {
		role, err := ParseRole(word)
		if err != nil {
			return nil, &FieldError{"role", "Use sendonly, recvonly or sendrecv."}
		}
		roles = append(roles, role)
	}
	switch len(roles) {
	case 0:
		return nil, nil
	case 1:
		return roles[0], nil
	}
	return roles, nil
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
