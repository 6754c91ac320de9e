package tenant

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// audience is the aud of a token that is meant for us.
const audience = "hibari"

// anyChannel is the pattern that matches every channel.
const anyChannel = "*"

// claims are a token's, decoded; its numbers are json.Number.
type claims map[string]any

// readClaims makes a Claim of the payload of a token whose signature is right.
// It checks all that can be checked without knowing what the client wants.
func readClaims(payload []byte, now time.Time) (Claim, *Refusal) {
	var c Claim
	m, refusal := decodeClaims(payload)
	if refusal != nil {
		return Claim{}, refusal
	}
	if c.ExpiresAt, refusal = readTimes(m, now); refusal != nil {
		return Claim{}, refusal
	}
	if c.Channel, refusal = readText(m, "channel_id"); refusal != nil {
		return Claim{}, refusal
	}
	if c.JTI, refusal = readText(m, "jti"); refusal != nil {
		return Claim{}, refusal
	}
	if refusal := checkAudience(m, c.Channel != ""); refusal != nil {
		return Claim{}, refusal
	}
	if c.Channel == "" {
		c.Channel = anyChannel
	}
	if c.Roles, refusal = readRoles(m["role"]); refusal != nil {
		return Claim{}, refusal
	}
	if c.MaxDuration, refusal = readMaxDuration(m["max_duration"]); refusal != nil {
		return Claim{}, refusal
	}
	if c.Metadata, refusal = readMetadata(m["metadata"]); refusal != nil {
		return Claim{}, refusal
	}
	if m.grants() {
		c.Grant, refusal = readGrantClaims(payload)
	}
	return c, refusal
}

// decodeClaims decodes a payload.
func decodeClaims(payload []byte) (m claims, r *Refusal) {
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber()
	if decoder.Decode(&m) != nil || m == nil {
		return nil, errParts
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errManyObjects
	}
	return m, nil
}

var errManyObjects = Refuse(TokenInvalid, "the token's claims are no single JSON object; sign with a JWT library")

// own are the claims that have a meaning of their own here, or none anywhere: they
// grant nothing.
var own = map[string]bool{"exp": true, "nbf": true, "iat": true, "aud": true, "iss": true, "sub": true, "jti": true,
	"channel_id": true, "role": true, "max_duration": true, "metadata": true}

// grants reports whether there is another claim, which may be a field of a Grant.
func (m claims) grants() bool {
	for name := range m {
		if !own[name] {
			return true
		}
	}
	return false
}

// readGrantClaims reads the private claims that set what an auth webhook may set.
func readGrantClaims(payload []byte) (Grant, *Refusal) {
	f, ok := ReadFields(payload)
	if !ok {
		return Grant{}, errManyObjects
	}
	g := readGrant(f)
	if err := f.Err(); err != nil {
		return Grant{}, Refuse(TokenInvalid, "the claim %s", inWords(err))
	}
	return g, nil
}

// inWords names a field and what is wrong with it in one clause.
func inWords(err error) string {
	var field *FieldError
	if errors.As(err, &field) {
		return field.Field + " " + field.Problem
	}
	return err.Error()
}

// readTimes checks exp and nbf and returns exp.
func readTimes(m claims, now time.Time) (expires time.Time, r *Refusal) {
	exp, ok := number(m["exp"])
	switch {
	case m["exp"] == nil:
		return time.Time{}, Refuse(TokenInvalid, "exp is missing; set it to when the token ends, in seconds since 1970")
	case !ok:
		return time.Time{}, Refuse(TokenInvalid, "exp must be a number: seconds since 1970")
	case exp <= 0:
		return time.Time{}, Refuse(TokenExpired, "exp is before 1970; set it to seconds since 1970")
	case exp > milliseconds:
		return time.Time{}, Refuse(TokenInvalid, "exp is too far ahead; it counts seconds since 1970, not milliseconds")
	}
	expires = fromSeconds(exp)
	if !expires.After(now) {
		return time.Time{}, Refuse(TokenExpired, "exp was %s, %s ago; sign a new token", clock(expires, now), about(now.Sub(expires)))
	}
	if ahead := expires.Sub(now); ahead > MaxTokenTTL+NotBeforeLeeway {
		return time.Time{}, Refuse(TokenInvalid, "exp is %s ahead; the most is 24 h: it ends joining, not the call", about(ahead))
	}
	if m["nbf"] == nil {
		return expires, nil
	}
	nbf, ok := number(m["nbf"])
	switch {
	case !ok:
		return time.Time{}, Refuse(TokenInvalid, "nbf must be a number: seconds since 1970")
	case nbf > milliseconds:
		return time.Time{}, Refuse(TokenInvalid, "nbf is too far ahead; it counts seconds since 1970, not milliseconds")
	case nbf <= 0:
		return expires, nil
	}
	if from := fromSeconds(nbf); from.Sub(now) > NotBeforeLeeway {
		return time.Time{}, Refuse(TokenInvalid, "nbf is %s, %s ahead; wait, or set the signer's clock", clock(from, now), about(from.Sub(now)))
	}
	return expires, nil
}

// milliseconds is where a number of seconds since 1970 can only be one of
// milliseconds: the year 5138.
const milliseconds = 1e11

// number reads a finite JSON number.
func number(v any) (float64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	f, err := n.Float64()
	return f, err == nil && !math.IsInf(f, 0) && !math.IsNaN(f)
}

func fromSeconds(seconds float64) time.Time {
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)).UTC()
}

// clock writes a time so that it can be compared with a watch, with the date
// if that is not today's.
func clock(t, now time.Time) string {
	if t.Sub(now).Abs() < 12*time.Hour {
		return t.UTC().Format("15:04:05Z")
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

// about writes a duration in its largest fitting unit.
func about(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return strconv.Itoa(int(d/time.Second)) + " s"
	case d < 2*time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + " h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + " days"
}

// readText reads a claim that is a short line of text; "" if it is absent. A
// tenant at its end does not count.
func readText(m claims, name string) (string, *Refusal) {
	v := m[name]
	if v == nil {
		return "", nil
	}
	text, ok := v.(string)
	counted := text
	if id, ok := tenantOf(text); ok {
		counted = withoutTenant(text, id)
	}
	switch {
	case !ok:
		return "", Refuse(TokenInvalid, "%s must be a string", name)
	case text == "":
		return "", Refuse(TokenInvalid, "%s is empty; leave it out or fill it in", name)
	case len(counted) > MaxNameBytes:
		return "", Refuse(TokenInvalid, "%s has %d bytes; the most is %d", name, len(counted), MaxNameBytes)
	case badText(text):
		return "", Refuse(TokenInvalid, "%s must not contain control characters", name)
	}
	return text, nil
}

// checkAudience wants aud to name us. A token with a channel_id, as Sora's
// users have them, may leave it out.
func checkAudience(m claims, hasChannel bool) *Refusal {
	switch aud := m["aud"].(type) {
	case nil:
		if hasChannel {
			return nil
		}
		return Refuse(TokenInvalid, "neither aud nor channel_id is set; set aud to %q and name a channel", audience)
	case string:
		if aud == audience {
			return nil
		}
	case []any:
		for _, a := range aud {
			if a == audience {
				return nil
			}
		}
	}
	return Refuse(TokenInvalid, "aud names another service; set it to %q", audience)
}

// maxRoles is how many roles a token may list.
const maxRoles = 16

// readRoles reads one role or a list, in either era's words; nil if any role
// will do.
func readRoles(v any) ([]Role, *Refusal) {
	var words []any
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		words = []any{v}
	case []any:
		words = v
	}
	if len(words) == 0 || len(words) > maxRoles {
		return nil, Refuse(TokenInvalid, "role must be one role or a list of roles; leave it out to allow any")
	}
	roles := make([]Role, 0, len(words))
	for _, w := range words {
		word, _ := w.(string)
		role, err := ParseRole(word)
		if err != nil {
			return nil, Refuse(TokenInvalid, "role names an unknown role; use sendonly, recvonly or sendrecv")
		}
		roles = append(roles, role)
	}
	return roles, nil
}

func readMaxDuration(v any) (time.Duration, *Refusal) {
	if v == nil {
		return 0, nil
	}
	seconds, ok := number(v)
	if !ok || seconds <= 0 || seconds > MaxConnectionDuration.Seconds() {
		return 0, Refuse(TokenInvalid, "max_duration must be seconds: more than 0, at most %.0f", MaxConnectionDuration.Seconds())
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// readMetadata returns the metadata as compact JSON that Postgres takes as
// jsonb.
func readMetadata(v any) (json.RawMessage, *Refusal) {
	if v == nil {
		return nil, nil
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, Refuse(TokenInvalid, "metadata must be a JSON object")
	}
	if !storableJSON(object, maxMetadataDepth) {
		return nil, Refuse(TokenInvalid, `metadata must not contain \u0000, huge numbers or more than %d levels`, maxMetadataDepth)
	}
	compact, err := marshal(object)
	if err != nil || len(compact) > MaxMetadataBytes {
		return nil, Refuse(TokenInvalid, "metadata has %d bytes; the most is %d", len(compact), MaxMetadataBytes)
	}
	return compact, nil
}

// maxMetadataDepth keeps Postgres from refusing metadata for its stack depth.
const maxMetadataDepth = 32

// storableJSON reports whether jsonb can hold a decoded value: it knows no NUL,
// and a number with an exponent of a million is a million digits to it. Broken
// UTF-8 and lone surrogates are gone since decoding.
func storableJSON(v any, depth int) bool {
	if depth < 0 {
		return false
	}
	switch v := v.(type) {
	case string:
		return !strings.Contains(v, "\x00")
	case json.Number:
		f, err := v.Float64()
		return err == nil && len(v) <= 400 && (f != 0 || !strings.ContainsAny(v.String(), "eE"))
	case []any:
		for _, element := range v {
			if !storableJSON(element, depth-1) {
				return false
			}
		}
	case map[string]any:
		for name, element := range v {
			if strings.Contains(name, "\x00") || !storableJSON(element, depth-1) {
				return false
			}
		}
	}
	return true
}

// marshal writes compact JSON as it is, without escapes for HTML.
func marshal(v any) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

// allowsChannel reports whether a channel_id allows a channel: the same name,
// or a pattern whose part before the final "*" begins it.
func allowsChannel(pattern, channel string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(channel, prefix)
	}
	return channel == pattern
}

// decodeNumbers decodes JSON, keeping numbers as they are written.
func decodeNumbers(text []byte) (v any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	err = decoder.Decode(&v)
	return v, err
}
