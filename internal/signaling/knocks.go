package signaling

import (
	"sync"

	"golang.org/x/time/rate"

	"github.com/hibari/hibari/internal/tenant"
)

// errTooManyKnocks refuses a client because its tenant's come faster than a node
// lets in. That is several times what a licence's whole crowd needs: so clients
// come back in a loop.
var errTooManyKnocks = tenant.Refuse(tenant.RateLimited,
	"the clients of this tenant connect too often; wait for some seconds, and twice as long after each refusal")

// knocks bound how often the clients of each tenant may come to this node, so
// that those who are refused and try again in a loop cost the database, which
// all tenants share, only so much.
type knocks struct {
	// Static.
	perSecond, burst int

	mu sync.Mutex
	// Guarded by mu.
	byTenant map[tenant.ID]*rate.Limiter // at most one per tenant that had a valid token
}

func newKnocks(l Limits) *knocks {
	return &knocks{perSecond: l.ConnectRate, burst: l.ConnectBurst, byTenant: map[tenant.ID]*rate.Limiter{}}
}

// allow reports whether one more of the tenant's may come now.
func (k *knocks) allow(id tenant.ID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	limit := k.byTenant[id]
	if limit == nil {
		limit = rate.NewLimiter(rate.Limit(k.perSecond), k.burst)
		k.byTenant[id] = limit
	}
	return limit.Allow()
}
