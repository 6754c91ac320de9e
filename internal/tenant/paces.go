package tenant

import (
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// Paces bound how often each tenant may do something on this node, so that one
// that does it in a loop leaves the processors and the database to the others.
//
// The methods may be called from any goroutine.
type Paces struct {
	// Static.
	perSecond float64
	burst     int

	refused atomic.Int64

	mu sync.Mutex
	// Guarded by mu.
	byTenant map[ID]*rate.Limiter // at most one per tenant that proved to be one
}

// NewPaces returns paces of so many each second in the long run, and burst at
// once.
func NewPaces(perSecond float64, burst int) *Paces {
	return &Paces{perSecond: perSecond, burst: burst, byTenant: map[ID]*rate.Limiter{}}
}

// Allow reports whether the tenant may do it now, and counts it if so.
func (p *Paces) Allow(id ID) bool {
	p.mu.Lock()
	own := p.byTenant[id]
	if own == nil {
		own = rate.NewLimiter(rate.Limit(p.perSecond), p.burst)
		p.byTenant[id] = own
	}
	p.mu.Unlock()
	if own.Allow() {
		return true
	}
	p.refused.Add(1)
	return false
}

// Refused returns how often somebody was too fast since the start, of all
// tenants.
func (p *Paces) Refused() int64 { return p.refused.Load() }
