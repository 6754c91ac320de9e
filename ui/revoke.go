package ui

import (
	"net/http"

	"github.com/hibari/hibari/internal/tenant"
)

// askRevokeAPIKey asks once whether to revoke an API key.
func (c *Console) askRevokeAPIKey(w http.ResponseWriter, r *http.Request, v *visit) error {
	keys, err := c.Tenants.APIKeys(r.Context(), v.login.Scope)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if key.ID == param(r, "key") && key.RevokedAt == nil {
			return v.ask(w, r, question{
				Title: "Revoke this API key?", Text: "Requests with it are refused from then on. This cannot be undone.",
				Facts:   [][2]string{{"Name", keyName(key.Name)}, {"Key", key.ID + " … " + key.Last4}},
				Confirm: "Revoke", Action: "/console/keys/api/" + key.ID + "/revoke", Back: "/console/keys",
			})
		}
	}
	return tenant.ErrNotFound
}

func (c *Console) revokeAPIKey(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Tenants.RevokeAPIKey(r.Context(), v.login.Scope, param(r, "key")); err != nil {
		return err
	}
	return v.finish(w, r, "/console/keys", "revoke-api")
}

// askRevokeSigningKey asks once whether to revoke a signing key.
func (c *Console) askRevokeSigningKey(w http.ResponseWriter, r *http.Request, v *visit) error {
	keys, err := c.Tenants.SigningKeys(r.Context(), v.login.Scope)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if key.ID == param(r, "key") && key.Active(v.now) {
			return v.ask(w, r, question{
				Title: "Revoke this signing key?", Text: "Every token signed with it is refused from then on. Who is connected stays connected. This cannot be undone.",
				Facts:   [][2]string{{"Name", keyName(key.Name)}, {"Key", key.ID}},
				Confirm: "Revoke", Action: "/console/keys/signing/" + key.ID + "/revoke", Back: "/console/keys",
			})
		}
	}
	return tenant.ErrNotFound
}

func (c *Console) revokeSigningKey(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := c.Tenants.RevokeSigningKey(r.Context(), v.login.Scope, param(r, "key")); err != nil {
		return err
	}
	return v.finish(w, r, "/console/keys", "revoke-signing")
}
