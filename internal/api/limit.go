package api

import (
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/hibari/hibari/internal/tenant"
)

// How many requests a tenant may make at a process: so many at once after a
// pause, and then so many each second. All keys of a tenant share them.
const (
	RequestsPerSecond = 50
	RequestBurst      = 200
)

// limiter counts the requests of each tenant. Its methods may be called from any
// goroutine.
type limiter struct {
	// Static.
	perSecond rate.Limit
	burst     int

	refused atomic.Int64

	mu sync.Mutex
	// Guarded by mu. At most one per tenant that showed a live key.
	byTenant map[tenant.ID]*rate.Limiter
}

func newLimiter(perSecond float64, burst int) *limiter {
	if burst == 0 {
		perSecond, burst = RequestsPerSecond, RequestBurst
	}
	return &limiter{perSecond: rate.Limit(perSecond), burst: burst, byTenant: map[tenant.ID]*rate.Limiter{}}
}

func (l *limiter) of(id tenant.ID) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := l.byTenant[id]
	if own == nil {
		own = rate.NewLimiter(l.perSecond, l.burst)
		l.byTenant[id] = own
	}
	return own
}

// take counts one request. The headers say what is left
// (draft-ietf-httpapi-ratelimit-headers). The error is a *Problem that says when
// to come again.
func (l *limiter) take(id tenant.ID, h http.Header, now time.Time) error {
	own := l.of(id)
	allowed := own.AllowN(now, 1)
	left := own.TokensAt(now)
	full := math.Ceil((float64(l.burst) - left) / float64(l.perSecond))
	h.Set("RateLimit-Policy", fmt.Sprintf(`"tenant";q=%d;w=%d`, l.burst, int(math.Ceil(float64(l.burst)/float64(l.perSecond)))))
	h.Set("RateLimit", fmt.Sprintf(`"tenant";r=%d;t=%d`, max(0, int(left)), max(0, int(full))))
	if allowed {
		return nil
	}
	l.refused.Add(1)
	p := newProblem(tenant.RateLimited, fmt.Sprintf("a tenant may make %d requests at once and then %v each second; slow down", l.burst, l.perSecond))
	p.retryAfter = max(1, int(math.Ceil((1-left)/float64(l.perSecond))))
	return p
}

// RateLimited returns how many requests were refused because their tenant made
// too many.
func (a *API) RateLimited() int64 { return a.limiter.refused.Load() }
