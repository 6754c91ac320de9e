package ui

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// deliveryData is one delivery: what was sent and how each try went.
type deliveryData struct {
	delivery webhooks.Delivery
	attempts []webhooks.Attempt
	event    string // the envelope, indented; "": no longer kept
}

func (c *Console) delivery(w http.ResponseWriter, r *http.Request, v *visit) error {
	ctx, scope, id := r.Context(), v.login.Scope, param(r, "delivery")
	found, err := c.Hooks.Deliveries(ctx, scope, webhooks.DeliveryQuery{ID: id, Limit: 1})
	if err != nil {
		return err
	}
	if len(found) == 0 || id == "" {
		return tenant.ErrNotFound
	}
	d := deliveryData{delivery: found[0]}
	if d.attempts, err = c.Hooks.Attempts(ctx, scope, id); err != nil {
		return err
	}
	events, err := c.Hooks.Events(ctx, scope, d.delivery.EventSeq-1, 1)
	if err != nil {
		return err
	}
	if len(events) == 1 && events[0].ID == d.delivery.EventID {
		text, err := json.MarshalIndent(events[0], "", "  ")
		if err != nil {
			return fmt.Errorf("couldn't write event %s as JSON: %w", events[0].ID, err)
		}
		d.event = string(text)
	}
	return v.page(w, r, http.StatusOK, deliveryPage(v, d))
}
