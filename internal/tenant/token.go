package tenant

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// TokenWish is a connect that shows an access token.
type TokenWish struct {
	Token   any    // as received: it may be anything but a string
	Channel string // as received: it may end in @TENANT_ID
	Role    Role
}

// The algorithms: which one checks a token is decided by the key's row, never by
// the token (RFC 8725 §3.1). Only the signature is the library's affair; what the
// claims say is checked by readClaims, in words that say what to do.
var methods = map[string]jwt.SigningMethod{
	algHS256: jwt.SigningMethodHS256,
	algES256: jwt.SigningMethodES256,
	algEdDSA: jwt.SigningMethodEdDSA,
}

// Verify says whether an access token allows this connect, and which channel it
// is to: the wish's without the @TENANT_ID. It asks the database only while
// nothing has been read yet, or about a kid or tenant it has never seen.
//
// The error is always a *Refusal. If the token itself was good, that is, for
// TenantSuspended, Banned, ChannelDenied and RoleDenied, the claim is returned
// too, so that the tenant can be told of the refused connect.
//
// In order: form → header → key → signature → claims → tenant → ban → channel
// → role. What has not a token's form may be a secret that the tenant accepts.
func (s *Store) Verify(ctx context.Context, w TokenWish) (Claim, string, error) {
	token, refusal := readToken(w.Token)
	if refusal != nil {
		return Claim{}, "", refusal
	}
	if !isCompact(token) {
		return s.verifySecret(ctx, token, w)
	}
	header, refusal := readHeader(token)
	if refusal != nil {
		return Claim{}, "", refusal
	}
	view, err := s.view(ctx)
	if err != nil {
		return Claim{}, "", errUnread
	}
	candidates, refusal := s.candidates(ctx, view, header, token)
	if refusal != nil {
		return Claim{}, "", refusal
	}
	key, refusal := checkSignature(token, header, candidates)
	if refusal != nil {
		return Claim{}, "", refusal
	}
	now := time.Now()
	claim, refusal := readClaims(payloadOf(token), now)
	if refusal != nil {
		return Claim{}, "", refusal
	}
	if !key.used.Load() {
		key.used.Store(true)
	}
	claim.Tenant, claim.KeyID, claim.TokenHash = key.tenant, key.id, hashToken(token, key.algorithm)
	claim.Channel = withoutTenant(claim.Channel, key.tenant)
	return s.admit(view, claim, w, now)
}

// errUnread refuses while nothing is known yet.
var errUnread = Refuse(Unavailable, "signing keys cannot be read at the moment; try again in a few seconds")

// verifySecret takes a signing secret itself for a token, if it is an active
// HS256 one of the tenant at the end of the channel's name, and the tenant
// accepts that (Settings.AcceptSigningSecret).
func (s *Store) verifySecret(ctx context.Context, secret string, w TokenWish) (Claim, string, error) {
	noToken := Refuse(TokenInvalid, "this is no JWT: want three base64url parts joined by dots, and nothing else")
	id, ok := tenantOf(w.Channel)
	if !ok {
		return Claim{}, "", noToken
	}
	view, err := s.view(ctx)
	if err != nil {
		return Claim{}, "", errUnread
	}
	if set := view.settings[id]; set == nil || !set.acceptSecret {
		return Claim{}, "", noToken
	}
	var shown *verifyKey
	for _, key := range active(view.symmetric[id]) {
		material, _ := key.material.([]byte)
		if len(material) > 0 && subtle.ConstantTimeCompare(material, []byte(secret)) == 1 {
			shown = key // and on, so that the time tells nothing
		}
	}
	if shown == nil {
		return Claim{}, "", noToken
	}
	if !shown.used.Load() {
		shown.used.Store(true)
	}
	now := time.Now()
	return s.admit(view, Claim{
		Tenant: id, KeyID: shown.id, Channel: anyChannel, TokenHash: sha256.Sum256([]byte(secret)),
		// It does not end, but a ban must: all who show it would be barred for good.
		ExpiresAt: now.Add(DefaultTokenTTL),
	}, w, now)
}

// readToken checks the form of what a client sent as its token.
func readToken(v any) (string, *Refusal) {
	token, ok := v.(string)
	switch {
	case v == nil || ok && token == "":
		return "", Refuse(TokenInvalid, "there is no access token; send a signed JWT as metadata.access_token")
	case !ok:
		return "", Refuse(TokenInvalid, "the access token must be a JSON string")
	case len(token) > MaxTokenBytes:
		return "", Refuse(TokenInvalid, "the token has %d bytes; the most is %d: shorten its metadata", len(token), MaxTokenBytes)
	}
	return token, nil
}

// isCompact reports whether a token has the form of a JWT (RFC 7515 §3.1). The
// letters are checked because the base64 decoder skips line ends: a barred token
// with one added would be another token.
func isCompact(token string) bool {
	return strings.Count(token, ".") == 2 && !strings.ContainsFunc(token, notBase64URL)
}

func notBase64URL(r rune) bool {
	return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_' || r == '.')
}

// tokenHeader is what decides which key to try.
type tokenHeader struct {
	algorithm string // as the token says; "": none or not a string
	kid       string // "": absent
}

func readHeader(token string) (tokenHeader, *Refusal) {
	part, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	var fields map[string]any // a struct would also take "KID"
	if err != nil || json.Unmarshal(raw, &fields) != nil || fields == nil {
		return tokenHeader{}, Refuse(TokenInvalid, "the token's header is no JSON object; sign it with a JWT library")
	}
	if _, ok := fields["crit"]; ok {
		return tokenHeader{}, Refuse(TokenInvalid, "the token's header has crit, and none is understood; leave it out") // RFC 7515 §4.1.11
	}
	var h tokenHeader
	h.algorithm, _ = fields["alg"].(string)
	switch kid := fields["kid"].(type) {
	case nil:
	case string:
		if !isSigningKeyID(kid) {
			return tokenHeader{}, Refuse(TokenInvalid, "kid is not a signing key's id (key_ and 26 characters); copy one from the console")
		}
		h.kid = kid
	default:
		return tokenHeader{}, Refuse(TokenInvalid, "kid must be a string: the signing key's id")
	}
	return h, nil
}

// candidates returns the keys that may have signed the token: the one it names,
// or all HS256 keys of the tenant at the end of its channel_id.
func (s *Store) candidates(ctx context.Context, view *snapshot, h tokenHeader, token string) ([]*verifyKey, *Refusal) {
	if h.kid != "" {
		found, refusal := s.find(ctx, view, keyQuery{kid: h.kid})
		if refusal == nil && len(found) == 0 {
			refusal = Refuse(TokenInvalid, "there is no active signing key %s; use the id of an active one as kid", h.kid)
		}
		return found, refusal
	}
	id, ok := tenantOf(unverifiedChannel(token))
	if !ok {
		return nil, Refuse(TokenInvalid, "the header has no kid and channel_id does not end in @TENANT_ID; set kid")
	}
	found, refusal := s.find(ctx, view, keyQuery{tenant: id})
	if refusal == nil && len(found) == 0 {
		refusal = Refuse(TokenInvalid, "no tenant %s with an active HS256 key; set kid to a signing key's id", id)
	}
	return found, refusal
}

// find returns the keys that the snapshot or else the database knows.
func (s *Store) find(ctx context.Context, view *snapshot, q keyQuery) ([]*verifyKey, *Refusal) {
	if known := q.in(view); len(known) > 0 {
		return active(known), nil
	}
	found, asked, err := s.lookUp(ctx, q)
	switch {
	case err != nil:
		return nil, Refuse(Unavailable, "the token's key is not known here and cannot be looked up now; try again in a few seconds")
	case !asked:
		return nil, Refuse(TokenInvalid, "the token's key is not known; if it is new, try again in %s", 2*RefreshEvery)
	}
	return found, nil
}

// active returns the keys that have not retired.
func active(keys []*verifyKey) []*verifyKey {
	now := time.Now()
	if !slices.ContainsFunc(keys, func(k *verifyKey) bool { return k.retired(now) }) {
		return keys
	}
	return slices.DeleteFunc(slices.Clone(keys), func(k *verifyKey) bool { return k.retired(now) })
}

// unverifiedChannel reads the channel_id of a token nobody has vouched for: it
// may choose which keys are tried, and nothing more.
func unverifiedChannel(token string) string {
	var claims map[string]any
	if json.Unmarshal(payloadOf(token), &claims) != nil {
		return ""
	}
	channel, _ := claims["channel_id"].(string)
	return channel
}

// payloadOf returns the second part of a token, decoded; nil if it is no
// base64url.
func payloadOf(token string) []byte {
	payload, err := base64.RawURLEncoding.Strict().DecodeString(token[strings.IndexByte(token, '.')+1 : strings.LastIndexByte(token, '.')])
	if err != nil {
		return nil
	}
	return payload
}

// checkSignature returns the candidate that signed the token.
func checkSignature(token string, h tokenHeader, candidates []*verifyKey) (*verifyKey, *Refusal) {
	end := strings.LastIndexByte(token, '.')
	signature, err := base64.RawURLEncoding.Strict().DecodeString(token[end+1:])
	if err != nil {
		return nil, errParts
	}
	unusable := false
	for _, key := range candidates {
		if key.algorithm != h.algorithm {
			return nil, Refuse(TokenInvalid, "the key is for %s and the token's alg says otherwise; sign with %[1]s", key.algorithm)
		}
		if key.material == nil {
			unusable = true
			continue
		}
		if methods[key.algorithm].Verify(token[:end], signature, key.material) == nil {
			return key, nil
		}
	}
	switch {
	case unusable:
		return nil, Refuse(Unavailable, "the server cannot open the signing key; its operator should run platform doctor")
	case h.kid == "":
		return nil, Refuse(TokenInvalid, "the signature is wrong; sign with an active key's secret, used as text")
	case h.algorithm != algHS256:
		return nil, Refuse(TokenInvalid, "the signature is wrong; sign with the private key of %s", h.kid)
	}
	return nil, Refuse(TokenInvalid, "the signature is wrong; sign with the secret of %s, used as text", h.kid)
}

// errParts refuses what only looks like a JWT.
var errParts = Refuse(TokenInvalid, "the token's parts are no base64url of JSON objects; sign with a JWT library")

// hashToken is the name of a token in bans. Of ES256 only the signed part
// counts: from one valid signature anybody can make a second.
func hashToken(token, algorithm string) [32]byte {
	if algorithm == algES256 {
		token = token[:strings.LastIndexByte(token, '.')]
	}
	return sha256.Sum256([]byte(token))
}

// admit holds a good token against what the client wants, and returns what
// Verify does.
func (s *Store) admit(view *snapshot, c Claim, w TokenWish, now time.Time) (Claim, string, error) {
	channel := withoutTenant(w.Channel, c.Tenant)
	if refusal := s.allows(view, c, channel, w.Role, now); refusal != nil {
		return c, "", refusal
	}
	if set := view.settings[c.Tenant]; set != nil {
		c.AuthWebhook, c.Duplicates = set.auth, set.duplicates
	}
	return c, channel, nil
}

// allows says why a claim does not let a client into a channel; nil: it does.
func (s *Store) allows(view *snapshot, c Claim, channel string, role Role, now time.Time) *Refusal {
	if view.suspended[c.Tenant] {
		return Refuse(TenantSuspended, "the tenant is suspended; its owner should ask the operator")
	}
	// Of the client's name not all is known yet: the door asks again.
	if b := s.bans.find(Subject{Tenant: c.Tenant, Channel: channel, TokenHash: c.TokenHash}, now, false); b != nil {
		return b.refusal(now)
	}
	if channel == "" || len(channel) > MaxNameBytes || badText(channel) {
		return Refuse(ChannelDenied, "the channel's name must have 1 to %d bytes and no control characters", MaxNameBytes)
	}
	if !allowsChannel(c.Channel, channel) {
		return Refuse(ChannelDenied, "the token is for %s; sign one whose channel_id is %s", quote(c.Channel), quote(channel))
	}
	if !role.Sends() && !role.Receives() {
		return Refuse(RoleDenied, "the role is unknown; use sendonly, recvonly or sendrecv")
	}
	if len(c.Roles) > 0 && !slices.Contains(c.Roles, role) {
		allowed := make([]string, len(c.Roles))
		for i, r := range slices.Compact(slices.Sorted(slices.Values(c.Roles))) {
			allowed[i] = string(r)
		}
		return Refuse(RoleDenied, "the token is for %s only; sign one whose role is %s", strings.Join(allowed, ", "), role)
	}
	return nil
}

// quote shortens a name so that a detail fits into a WebSocket close reason
// (123 bytes, RFC 6455 §5.5).
func quote(name string) string {
	const most = 24
	if len(name) <= most {
		return `"` + name + `"`
	}
	end := most - len("…")
	for !utf8.RuneStart(name[end]) {
		end--
	}
	return `"` + name[:end] + `…"`
}

// tenantOf returns the tenant that a channel name ends in, "NAME@TENANT_ID".
func tenantOf(channel string) (ID, bool) {
	at := strings.LastIndexByte(channel, '@')
	if at < 0 {
		return "", false
	}
	id, ok := strings.CutPrefix(channel[at+1:], "ten_")
	return ID(channel[at+1:]), ok && isID(id)
}

// withoutTenant cuts the tenant's own suffix off: a channel has one name.
func withoutTenant(channel string, t ID) string {
	return strings.TrimSuffix(channel, "@"+string(t))
}
