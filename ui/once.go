package ui

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// secrets are new secrets on their way from the form that made them to the
// page that shows them once.
type secrets struct {
	Member  string        `json:"m"` // who may see them
	Path    string        `json:"p"` // on which page
	Expires int64         `json:"x"` // Unix seconds
	Done    string        `json:"d"` // which of doneTexts that page says with them, "": none of its own
	Title   string        `json:"t"`
	Hint    string        `json:"h"`
	Values  []secretValue `json:"v"`
}

type secretValue struct {
	Name  string `json:"n"`
	Value string `json:"s"`
}

// onceAge is how long a secret waits to be shown.
const onceAge = 2 * time.Minute

// handSecrets hands s to the person's next visit of the page at path. They
// travel in a cookie that only this platform can open, so that no process keeps
// them and the answer to the form can still be a redirect: a reload must not
// make a second key.
func (c *Console) handSecrets(w http.ResponseWriter, personID, path string, s secrets) error {
	s.Member, s.Path, s.Expires = personID, path, time.Now().Add(onceAge).Unix()
	plain, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("couldn't write down new secrets: %w", err)
	}
	sealed, err := c.Tenants.Seal(plain)
	if err != nil {
		return fmt.Errorf("couldn't seal new secrets: %w", err)
	}
	c.setCookie(w, c.onceName(), base64.RawURLEncoding.EncodeToString(sealed), onceAge)
	return nil
}

// takeSecrets returns what handSecrets left for this member, and takes it away
// from the browser. nil: nothing.
func (c *Console) takeSecrets(w http.ResponseWriter, r *http.Request, v *visit) *secrets {
	cookie, err := r.Cookie(c.onceName())
	if err != nil {
		return nil
	}
	sealed, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		return nil
	}
	plain, err := c.Tenants.Open(sealed)
	if err != nil {
		return nil
	}
	var s secrets
	if json.Unmarshal(plain, &s) != nil || s.Member != v.who() || s.Path != r.URL.Path {
		return nil
	}
	c.setCookie(w, c.onceName(), "", -1)
	if time.Now().Unix() > s.Expires {
		return nil
	}
	return &s
}

func (c *Console) onceName() string { return c.cookieName() + "-once" }
