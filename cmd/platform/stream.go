package main

import (
	"context"
	"net/http"
	"time"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
)

// stream serves the Stream API to keys that may see what happens, as long as they
// may.
func (p *platform) stream(w http.ResponseWriter, r *http.Request, scope tenant.Scope) {
	err := api.Allow(scope, tenant.Watchers)
	if err == nil {
		err = p.hooks.Stream(w, r, scope, func(ctx context.Context) error {
			scope, err := api.Authenticate(ctx, p.tenants, r)
			if err != nil {
				return err
			}
			return api.Allow(scope, tenant.Watchers)
		})
	}
	if err != nil {
		p.fail(w, r, err)
	}
}

// moveStreams sends the streams elsewhere when the node is drained, until ctx ends.
func (p *platform) moveStreams(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for was := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		draining := p.node.Draining()
		if draining && !was {
			p.hooks.MoveStreams()
		}
		was = draining
	}
}
