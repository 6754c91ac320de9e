package ui

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// rotateData is the page that puts a new signing key in an old one's place.
type rotateData struct {
	key     tenant.SigningKey
	public  string // in the form
	retire  string // in the form, one of retireSpans
	problem string // with the public key
}

// lately reports whether tokens of the key have come in the last day.
func (d rotateData) lately(now time.Time) bool {
	return d.key.LastUsedAt != nil && now.Sub(*d.key.LastUsedAt) < 24*time.Hour
}

// retireSpans are how long a replaced key may be kept.
var retireSpans = []option{{"", "Until it is revoked"}, {"1h", "1 hour more"}, {"24h", "1 day more"}, {"168h", "7 days more"}, {"720h", "30 days more"}}

// keyInPath is the active signing key that a path names.
func (c *Console) keyInPath(r *http.Request, v *visit) (tenant.SigningKey, error) {
	keys, err := c.Tenants.SigningKeys(r.Context(), v.login.Scope)
	for _, key := range keys {
		if key.ID == param(r, "key") && key.Active(v.now) {
			return key, nil
		}
	}
	if err == nil {
		err = tenant.ErrNotFound
	}
	return tenant.SigningKey{}, err
}

// askRotate shows what a rotation is, and whether the key is still in use.
func (c *Console) askRotate(w http.ResponseWriter, r *http.Request, v *visit) error {
	key, err := c.keyInPath(r, v)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, rotatePage(v, rotateData{key: key}))
}

// rotate makes a new key; the old one stays as long as was chosen.
func (c *Console) rotate(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	key, err := c.keyInPath(r, v)
	if err != nil {
		return err
	}
	d := rotateData{key: key, public: strings.TrimSpace(r.PostForm.Get("public_key")), retire: r.PostForm.Get("retire")}
	if key.Algorithm != "HS256" && d.public == "" {
		d.problem = "Paste the public half of the new key."
		return v.page(w, r, http.StatusUnprocessableEntity, rotatePage(v, d))
	}
	secret, made, err := c.Tenants.AddSigningKey(r.Context(), v.login.Scope, tenant.NewSigningKey{
		PublicKey: d.public, Replaces: key.ID, RetireAt: retireTime(d.retire)})
	var field *tenant.FieldError
	switch {
	case errors.As(err, &field):
		d.public, d.problem = "", "It "+field.Problem+"."
	case errors.Is(err, tenant.ErrTooManyKeys):
		d.problem = tooManyKeys
	case err != nil:
		return err
	default:
		return c.handSigningKey(w, r, v, secret, made)
	}
	return v.page(w, r, http.StatusUnprocessableEntity, rotatePage(v, d))
}

// retire changes when a key stops by itself.
func (c *Console) retire(w http.ResponseWriter, r *http.Request, v *visit) error {
	if err := readForm(w, r); err != nil {
		return err
	}
	if err := c.Tenants.RetireSigningKey(r.Context(), v.login.Scope, param(r, "key"), retireTime(r.PostForm.Get("retire"))); err != nil {
		return err
	}
	return v.finish(w, r, "/console/keys", "retire")
}

// retireTime reads one of retireSpans; zero: never.
func retireTime(span string) time.Time {
	for _, o := range retireSpans {
		if d, err := time.ParseDuration(o.Value); o.Value == span && err == nil {
			return time.Now().Add(d)
		}
	}
	return time.Time{}
}

const tooManyKeys = "You have as many active keys as there may be. Revoke one first."

// handSigningKey leads back to the page of keys, which shows the new one's id, and
// its secret if it has one, once.
func (c *Console) handSigningKey(w http.ResponseWriter, r *http.Request, v *visit, secret string, key tenant.SigningKey) error {
	if secret == "" {
		return c.handOver(w, r, v, secrets{
			Title:  "Your public key is in use",
			Hint:   "Sign access tokens with its private half as " + key.Algorithm + ", and put this id into the token's header as kid.",
			Values: []secretValue{{"Signing key id", key.ID}},
		})
	}
	return c.handOver(w, r, v, secrets{
		Title:  "Your new signing key",
		Hint:   "The secret is shown only now. Sign access tokens with it as HS256, its text as it stands being the key, and put the id into the token's header as kid.",
		Values: []secretValue{{"Signing key", secret}, {"Signing key id", key.ID}},
	})
}
