package signaling

import "github.com/hibari/hibari/internal/tenant"

// errTooManyKnocks refuses a client because its tenant's come faster than a node
// lets in. That is several times what a licence's whole crowd needs: so clients
// come back in a loop.
var errTooManyKnocks = tenant.Refuse(tenant.RateLimited,
	"the clients of this tenant connect too often; wait for some seconds, and twice as long after each refusal")

// knocksOf bounds how often the clients of each tenant may come to this node, so
// that those who are refused and try again in a loop cost the database, which all
// tenants share, only so much.
func knocksOf(l Limits) *tenant.Paces {
	return tenant.NewPaces(float64(l.ConnectRate), l.ConnectBurst)
}
