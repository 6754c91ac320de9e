package ui

import (
	"errors"
	"net/http"
	"strings"

	"github.com/hibari/hibari/internal/tenant"
)

// keysData is the page of keys; at most one form carries a problem.
type keysData struct {
	api                        []tenant.APIKey
	signing                    []tenant.SigningKey
	bans                       []tenant.Ban
	apiProblem, signingProblem string
}

func (c *Console) keys(w http.ResponseWriter, r *http.Request, v *visit) error {
	return c.showKeys(w, r, v, http.StatusOK, keysData{})
}

func (c *Console) showKeys(w http.ResponseWriter, r *http.Request, v *visit, status int, d keysData) (err error) {
	ctx, scope := r.Context(), v.login.Scope
	if d.api, err = c.Tenants.APIKeys(ctx, scope); err != nil {
		return err
	}
	if d.signing, err = c.Tenants.SigningKeys(ctx, scope); err != nil {
		return err
	}
	if d.bans, _, err = c.Tenants.Bans(ctx, scope, tenant.BanQuery{Kind: tenant.TokenBan}); err != nil {
		return err
	}
	return v.page(w, r, status, keysPage(v, d))
}

// createAPIKey makes an API key and shows its secret once.
func (c *Console) createAPIKey(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	name := strings.TrimSpace(r.PostForm.Get("name"))
	secret, key, err := c.Tenants.CreateAPIKey(r.Context(), v.login.Scope, name, tenant.Developer)
	if errors.Is(err, tenant.ErrTooManyKeys) {
		return c.showKeys(w, r, v, http.StatusUnprocessableEntity, keysData{apiProblem: "You have as many active keys as there may be. Revoke one first."})
	}
	if err != nil {
		return err
	}
	return c.handOver(w, r, v, secrets{
		Title:  "Your new API key",
		Hint:   "It is shown only now. Your server sends it as “Authorization: Bearer …”; never put it into a page or an app.",
		Values: []secretValue{{"API key", secret}, {"API key id", key.ID}},
	})
}

// createSigningKey makes a signing key and shows its secret once.
func (c *Console) createSigningKey(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	name := strings.TrimSpace(r.PostForm.Get("name"))
	secret, key, err := c.Tenants.CreateSigningKey(r.Context(), v.login.Scope, name)
	if errors.Is(err, tenant.ErrTooManyKeys) {
		return c.showKeys(w, r, v, http.StatusUnprocessableEntity, keysData{signingProblem: "You have as many active keys as there may be. Revoke one first."})
	}
	if err != nil {
		return err
	}
	return c.handOver(w, r, v, secrets{
		Title:  "Your new signing key",
		Hint:   "The secret is shown only now. Sign access tokens with it as HS256, its text as it stands being the key, and put the id into the token's header as kid.",
		Values: []secretValue{{"Signing key", secret}, {"Signing key id", key.ID}},
	})
}

// handOver leads back to the page of keys, which shows s once.
func (c *Console) handOver(w http.ResponseWriter, r *http.Request, v *visit, s secrets) error {
	if err := c.handSecrets(w, v.login.Member.ID, "/console/keys", s); err != nil {
		return err
	}
	http.Redirect(w, r, "/console/keys", http.StatusSeeOther)
	return nil
}

func keyName(name string) string {
	if name == "" {
		return "unnamed"
	}
	return name
}

// apiName is the name field of a new API key; two fields called name stand on
// the page, and each label must find its own.
func apiName(problem string) input {
	return input{Name: "name", ID: "field-api-name", Label: "Name of a new API key", Placeholder: "production server", Problem: problem}
}
