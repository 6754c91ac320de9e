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
	apiProblem, signingProblem string
	public, publicProblem      string // the form for a public key
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
	return v.page(w, r, status, keysPage(v, d))
}

// createAPIKey makes an API key and shows its secret once.
func (c *Console) createAPIKey(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	name := strings.TrimSpace(r.PostForm.Get("name"))
	role := tenant.MemberRole(r.PostForm.Get("role"))
	if role == "" {
		role = tenant.Developer
	}
	secret, key, err := c.Tenants.CreateAPIKey(r.Context(), v.login.Scope, name, role)
	if field := (*tenant.FieldError)(nil); errors.As(err, &field) {
		return c.showKeys(w, r, v, http.StatusUnprocessableEntity, keysData{apiProblem: field.Problem})
	}
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
	return c.handSigningKey(w, r, v, secret, key)
}

// uploadPublicKey takes the public half of a tenant's own key.
func (c *Console) uploadPublicKey(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	text := strings.TrimSpace(r.PostForm.Get("public_key"))
	if text == "" {
		return c.showKeys(w, r, v, http.StatusUnprocessableEntity, keysData{publicProblem: "Paste a public key."})
	}
	_, key, err := c.Tenants.AddSigningKey(r.Context(), v.login.Scope, tenant.NewSigningKey{
		Name: strings.TrimSpace(r.PostForm.Get("name")), PublicKey: text})
	var field *tenant.FieldError
	switch {
	case errors.As(err, &field): // what it was is not shown again: it may be a private key
		return c.showKeys(w, r, v, http.StatusUnprocessableEntity, keysData{publicProblem: "It " + field.Problem + "."})
	case errors.Is(err, tenant.ErrTooManyKeys):
		return c.showKeys(w, r, v, http.StatusUnprocessableEntity, keysData{publicProblem: tooManyKeys})
	case err != nil:
		return err
	}
	return c.handSigningKey(w, r, v, "", key)
}

// handOver leads back to the page of keys, which shows s once.
func (c *Console) handOver(w http.ResponseWriter, r *http.Request, v *visit, s secrets) error {
	if err := c.handSecrets(w, v.login.Member.ID, "/console/keys", s); err != nil {
		return err
	}
	http.Redirect(w, r, "/console/keys", http.StatusSeeOther)
	return nil
}

// keyRoles are the roles that a new API key may have, the usual one first.
func (v *visit) keyRoles() []tenant.MemberRole {
	var roles []tenant.MemberRole
	for _, role := range []tenant.MemberRole{tenant.Developer, tenant.Viewer, tenant.Billing, tenant.Admin} {
		if v.login.Member.Role.MayGrant(role) {
			roles = append(roles, role)
		}
	}
	return roles
}

// keyRoleWord says what a key of a role may do.
func keyRoleWord(role tenant.MemberRole) string {
	switch role {
	case tenant.Developer:
		return "developer: build and operate"
	case tenant.Viewer:
		return "viewer: look only"
	case tenant.Billing:
		return "billing: usage and licence"
	case tenant.Admin:
		return "admin: everything, members too"
	}
	return string(role)
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
