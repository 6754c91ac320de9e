package tenant

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// Redacted stands in the audit log for a value that is or may be a secret. A
// caller writes it for a secret that changed: Diff{"secret": {Redacted, Redacted}}.
const Redacted = "[redacted]"

// Bounds of one audit entry: what is longer is cut, or left out as a whole.
const (
	MaxAuditBytes     = 16 << 10 // of a diff, and of a detail, as JSON
	maxAuditTextBytes = 1 << 10  // of a text in them
	maxAuditList      = 64       // values of a list in them
	maxAuditDepth     = 8
)

// secretNames are parts of the names of fields that hold a secret. Flags and
// counts may have such a name: they cannot hold one.
var secretNames = []string{"secret", "password", "passphrase", "token", "hash", "sealed", "cookie", "credential", "private",
	"authorization", "bearer", "totp", "recovery", "api_key", "signing_key", "master_key", "signature"}

// secretName reports whether a field of this name may hold a secret. An id or a
// time is none, whatever it is of.
func secretName(field string) bool {
	field = strings.ToLower(strings.ReplaceAll(field, "-", "_"))
	for _, end := range []string{"_id", "_ids", "_at", "_name", "_kind"} {
		if strings.HasSuffix(field, end) {
			return false
		}
	}
	for _, part := range secretNames {
		if strings.Contains(field, part) {
			return true
		}
	}
	return slices.Contains([]string{"key", "code", "otp", "pin", "seed"}, field)
}

// knownSecrets are the forms of secrets that can be told by themselves: our API
// keys and webhook secrets, JSON Web Tokens, password hashes, private keys.
var knownSecrets = regexp.MustCompile(
	`hib_live_[0-9A-Za-z]+_[0-9A-Za-z_-]+|whsec_[0-9A-Za-z+/=_-]+|eyJ[0-9A-Za-z_-]{8,}\.[0-9A-Za-z_-]+(\.[0-9A-Za-z_-]*)?|` +
		`\$argon2[a-z]*\$[^ ]+|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(-----END [A-Z ]*-----)?`)

// randomText is a run of the letters of base64 that is long enough for a key.
var randomText = regexp.MustCompile(`[0-9A-Za-z+/_=-]{40,}`)

// queryValues are the values of a URL's query; names stay, so that one sees which
// of them changed.
var queryValues = regexp.MustCompile(`=[^&]*`)

// redactText takes known forms of secrets out of a text, and what a URL holds
// besides its place: name, password and the values of its query.
func redactText(text string) string {
	text = knownSecrets.ReplaceAllString(text, Redacted)
	if !strings.Contains(text, "://") {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return Redacted // a URL that cannot be read may hold anything
	}
	if u.User != nil {
		u.User = url.User("redacted")
	}
	if u.RawQuery != "" {
		u.RawQuery = queryValues.ReplaceAllString(u.RawQuery, "=redacted")
		if !strings.Contains(u.RawQuery, "=") {
			u.RawQuery = "redacted"
		}
	}
	u.Fragment, u.RawFragment = "", ""
	return u.String()
}

// looksRandom reports whether a run of letters may be a key: long, and of
// capitals, small letters and digits. Ids and hex digests are not.
func looksRandom(run string) bool {
	return strings.ContainsFunc(run, func(r rune) bool { return '0' <= r && r <= '9' }) &&
		strings.ContainsFunc(run, func(r rune) bool { return 'a' <= r && r <= 'z' }) &&
		strings.ContainsFunc(run, func(r rune) bool { return 'A' <= r && r <= 'Z' }) &&
		!strings.Contains(run, "://")
}

// redact makes a value that was read from JSON fit for the log.
func redact(field string, value any, depth int) any {
	if depth > maxAuditDepth {
		return "…"
	}
	switch value := value.(type) {
	case string:
		if value == "" || value == Redacted {
			return value
		}
		if secretName(field) {
			return Redacted
		}
		value = redactText(value)
		if !strings.HasSuffix(field, "_id") && !strings.Contains(value, "://") { // names of tenants' own may look like anything
			value = randomText.ReplaceAllStringFunc(value, func(run string) string {
				if looksRandom(run) {
					return Redacted
				}
				return run
			})
		}
		return cutText(value)
	case []any:
		if len(value) > maxAuditList {
			value = append(value[:maxAuditList:maxAuditList], "…")
		}
		for i := range value {
			value[i] = redact(field, value[i], depth+1)
		}
		return value
	case map[string]any:
		for name := range value {
			inner := name
			if secretName(field) && !secretName(name) {
				inner = field // what is in a secret is secret
			}
			value[name] = redact(inner, value[name], depth+1)
		}
		return value
	}
	return value // a number, a flag, null
}

// cutText bounds a text and takes out what a database's JSON cannot hold.
func cutText(text string) string {
	text = strings.ReplaceAll(strings.ToValidUTF8(text, ""), "\x00", "")
	if len(text) <= maxAuditTextBytes {
		return text
	}
	cut := maxAuditTextBytes
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// redactedDiff writes a diff down, without the fields that did not change.
func redactedDiff(d Diff) (json.RawMessage, error) {
	fields := map[string]any{}
	for name, change := range d {
		var pair [2]any
		for i, value := range change {
			read, err := asJSON(value)
			if err != nil {
				return nil, err
			}
			pair[i] = read
		}
		if reflect.DeepEqual(pair[0], pair[1]) && pair[0] != Redacted {
			continue
		}
		fields[name] = []any{redact(name, pair[0], 1), redact(name, pair[1], 1)}
	}
	return bounded(fields)
}

// redactedDetail writes down a JSON object of what is worth knowing.
func redactedDetail(detail any) (json.RawMessage, error) {
	read, err := asJSON(detail)
	if err != nil {
		return nil, err
	}
	fields, ok := read.(map[string]any)
	if !ok {
		return nil, errors.New("it is no object")
	}
	return bounded(redact("", fields, 0).(map[string]any))
}

// asJSON returns a value as JSON reads it: of maps, lists, texts, numbers as
// they were written, flags and nil.
func asJSON(value any) (any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var read any
	return read, d.Decode(&read)
}

func bounded(fields map[string]any) (json.RawMessage, error) {
	text, err := json.Marshal(fields)
	if err == nil && len(text) > MaxAuditBytes {
		return []byte(`{"too_large":true}`), nil
	}
	return text, err
}
