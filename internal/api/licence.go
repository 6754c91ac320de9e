package api

import (
	"context"

	"github.com/hibari/hibari/internal/tenant"
)

// licence is how many connections the tenant has and may have at once.
type licence struct {
	Connections    int `json:"connections" doc:"Now."`
	MaxConnections int `json:"max_connections"`
	MaxPerChannel  int `json:"max_connections_per_channel"`
}

func (a *API) getLicence(ctx context.Context, scope tenant.Scope, _ *none) (licence, error) {
	l, err := a.Ledger.Licence(ctx, scope)
	return licence{l.Connections, l.MaxConnections, l.MaxPerChannel}, err
}
