package ui

import (
	"errors"
	"net/http"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// demoTTL is how long the demo's token is good for: long enough to look around,
// too short to be worth stealing.
const demoTTL = 10 * time.Minute

// demo publishes and watches in the page.
func (c *Console) demo(w http.ResponseWriter, r *http.Request, v *visit) error {
	return v.page(w, r, http.StatusOK, demoPage(v, param(r, "channel")))
}

// demoToken signs a short access token for the channel, for either role. The
// page keeps it as long as it stands, so that a bar holds.
func (c *Console) demoToken(w http.ResponseWriter, r *http.Request, v *visit) error {
	token, err := c.Tenants.SignToken(r.Context(), v.login.Scope, tenant.TokenRequest{Channel: param(r, "channel"), TTL: demoTTL})
	var field *tenant.FieldError
	switch {
	case errors.Is(err, tenant.ErrNoSigningKey):
		writeJSON(w, http.StatusConflict, said{"Your organisation has no active signing key. Create one under Keys, then reload."})
	case errors.As(err, &field):
		writeJSON(w, http.StatusUnprocessableEntity, said{"This channel name cannot be used. " + field.Problem})
	case err != nil:
		return err
	default:
		writeJSON(w, http.StatusOK, struct {
			Token     string    `json:"token"`
			ExpiresAt time.Time `json:"expires_at"`
		}{token, time.Now().Add(demoTTL)})
	}
	return nil
}
