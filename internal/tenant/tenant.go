// Package tenant says who may do what: tenants, members and their logins, API
// keys, signing keys, access tokens, bans and the audit log. It is also the
// vocabulary that the other packages share.
package tenant

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"slices"
)

// ID names a tenant: "ten_" and 26 characters.
type ID string

// crockford is Douglas Crockford's base 32: no I, L, O or U.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// NewID returns 128 random bits as 26 characters of Crockford's base 32, the
// form of connection and session ids on the wire.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return crockford.EncodeToString(b[:])
}

// isID reports whether s is 26 characters of Crockford's base 32, as NewID
// makes them.
func isID(s string) bool {
	if len(s) != 26 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('0' <= c && c <= '9' || 'A' <= c && c <= 'Z' && c != 'I' && c != 'L' && c != 'O' && c != 'U') {
			return false
		}
	}
	return true
}

// Role is what a connection does with media, in the words of WebRTC.
type Role string

// The roles of a connection.
const (
	SendOnly Role = "sendonly"
	RecvOnly Role = "recvonly"
	SendRecv Role = "sendrecv"
)

// ParseRole reads a role in today's words or in those of 2015 ("upstream",
// "downstream").
func ParseRole(s string) (Role, error) {
	switch s {
	case "sendonly", "upstream":
		return SendOnly, nil
	case "recvonly", "downstream":
		return RecvOnly, nil
	case "sendrecv":
		return SendRecv, nil
	}
	return "", fmt.Errorf("unknown role %q: want sendonly, recvonly or sendrecv", s)
}

// Sends reports whether the role publishes media.
func (r Role) Sends() bool { return r == SendOnly || r == SendRecv }

// Receives reports whether the role is sent media.
func (r Role) Receives() bool { return r == RecvOnly || r == SendRecv }

// MemberRole is what a member may do in the console.
type MemberRole string

// The roles of a member, from most to least.
const (
	Owner     MemberRole = "owner"
	Admin     MemberRole = "admin"
	Developer MemberRole = "developer"
	Billing   MemberRole = "billing"
	Viewer    MemberRole = "viewer"
)

// In reports whether r is one of roles.
func (r MemberRole) In(roles ...MemberRole) bool { return slices.Contains(roles, r) }

// Scope is proof that somebody authenticated for one tenant. Only this package
// makes one; the zero Scope proves nothing and is refused everywhere.
type Scope struct {
	tenant ID
	actor  string
	name   string // who that is, to read
	role   MemberRole
}

// Tenant returns whose data the scope opens; "" for the zero Scope.
func (s Scope) Tenant() ID { return s.tenant }

// Actor names who acts, for the audit log: "member:…", "api_key:…",
// "operator:…", "operator" (the command line) or "system".
func (s Scope) Actor() string { return s.actor }

// ActorName says who that is for people: an e-mail address, the name of an API
// key. It is kept in the audit log, where it outlives its owner.
func (s Scope) ActorName() string { return s.name }

// Role is what the one who acts may do: a member's role, or an API key's. "" may
// do nothing.
func (s Scope) Role() MemberRole { return s.role }

// ChannelName is a channel's name as it is known inside: what a caller wrote,
// without the @TENANT_ID that clients may know it by.
func (s Scope) ChannelName(channel string) string { return withoutTenant(channel, s.tenant) }

// OperatorScope is the scope of somebody with the machine's own authority: the
// command line. It must not be reachable from a request.
func OperatorScope(id ID) Scope {
	return Scope{tenant: id, actor: "operator", name: "command line", role: Owner}
}

// SystemScope is the scope of what the platform does for a tenant by itself, such
// as an end that was set long before. It must not be reachable from a request.
func SystemScope(id ID) Scope { return Scope{tenant: id, actor: "system", name: "Hibari"} }
