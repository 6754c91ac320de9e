package tenant

import (
	"crypto/subtle"
	"sync"
	"time"
)

// knownKeys are API keys that were found good a moment ago, so that a server
// that asks a thousand times a second asks the database once. Only good ones are
// kept: there is one of each id.
type knownKeys struct {
	mu sync.Mutex
	// Guarded by mu.
	byID map[string]knownKey
}

// knownKey is what an API key opens.
type knownKey struct {
	hash  [32]byte // SHA-256 of the whole key
	scope Scope
	until time.Time // not looked up again before this
	last  time.Time // while the database is away, taken for good until this
}

// find returns what the key opens, if that is known at now.
func (k *knownKeys) find(id string, hash [32]byte, now time.Time) (Scope, bool) {
	k.mu.Lock()
	known, ok := k.byID[id]
	k.mu.Unlock()
	if !ok || !now.Before(known.until) || subtle.ConstantTimeCompare(known.hash[:], hash[:]) != 1 {
		return Scope{}, false
	}
	return known.scope, true
}

// findAway is find while the database is away.
func (k *knownKeys) findAway(id string, hash [32]byte, now time.Time) (Scope, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	known, ok := k.byID[id]
	if !ok || !now.Before(known.last) || subtle.ConstantTimeCompare(known.hash[:], hash[:]) != 1 {
		return Scope{}, false
	}
	known.until = now.Add(APIKeyMemory) // whoever comes next does not wait for the database
	k.byID[id] = known
	return known.scope, true
}

// add remembers a key. When there are too many it forgets all: they come back
// with one look-up each.
func (k *knownKeys) add(id string, known knownKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.byID) >= maxKnownKeys {
		clear(k.byID)
	}
	k.byID[id] = known
}

// forget is for a key that was revoked on this node.
func (k *knownKeys) forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.byID, id)
}
