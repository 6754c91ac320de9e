package tenant

import (
	"sync"
	"time"
)

// throttle keeps one token bucket per key. Unlike x/time/rate it can give a
// token back: a log-in is charged before the password is checked, so that a
// hundred at once cannot all slip through, and repaid if it was right.
type throttle struct {
	// Static.
	burst  float64
	refill time.Duration // for one token
	most   int           // keys kept; one more forgets another

	// Guarded by mu.
	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// maxBuckets bounds the memory of a throttle: some hundred bytes for each key.
const maxBuckets = 10_000

func newThrottle(burst int, refill time.Duration) *throttle {
	return &throttle{burst: float64(burst), refill: refill, most: maxBuckets, buckets: map[string]bucket{}}
}

// take takes a token, or returns how long it will be until there is one.
func (t *throttle) take(key string, now time.Time) (wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.filledLocked(key, now)
	if b.tokens < 1 {
		return time.Duration((1 - b.tokens) * float64(t.refill))
	}
	if _, known := t.buckets[key]; !known {
		t.makeRoomLocked(now)
	}
	b.tokens--
	t.buckets[key] = b
	return 0
}

// giveBack undoes a take.
func (t *throttle) giveBack(key string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.filledLocked(key, now)
	if b.tokens++; b.tokens >= t.burst {
		delete(t.buckets, key)
		return
	}
	t.buckets[key] = b
}

// filledLocked returns the bucket with what it has gained since it was touched.
func (t *throttle) filledLocked(key string, now time.Time) bucket {
	b, ok := t.buckets[key]
	if !ok {
		return bucket{tokens: t.burst, at: now}
	}
	b.tokens = min(t.burst, b.tokens+float64(now.Sub(b.at))/float64(t.refill))
	b.at = now
	return b
}

// makeRoomLocked forgets the buckets that are full again, and if none is, any
// one: whoever can touch thousands of keys gains nothing by freeing one.
func (t *throttle) makeRoomLocked(now time.Time) {
	if len(t.buckets) < t.most {
		return
	}
	for key := range t.buckets {
		if t.filledLocked(key, now).tokens >= t.burst {
			delete(t.buckets, key)
		}
	}
	for key := range t.buckets {
		if len(t.buckets) < t.most {
			return
		}
		delete(t.buckets, key)
	}
}
