package ui

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/go-chi/chi/v5"
)

// start is when this process began: the modification time of what is embedded.
var start = time.Now()

// errBadForm is a form that cannot be read: too large, or not a form.
var errBadForm = errors.New("the form could not be read")

// maxForm is the most bytes a form of ours needs.
const maxForm = 64 << 10

// render sends a page. It is rendered whole before the first byte, so that a
// page that breaks becomes an error page and not half a page.
func (c *Console) render(w http.ResponseWriter, r *http.Request, status int, page templ.Component) {
	var html bytes.Buffer
	if err := page.Render(context.WithoutCancel(r.Context()), &html); err != nil { // also when its time is up
		c.Log.Error("a console page could not be rendered", "path", r.URL.Path, "error", err)
		http.Error(w, "Something broke on our side. Try again in a moment.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	w.Write(html.Bytes()) // the client may be gone; nothing to do about it
}

// page sends a member's page.
func (v *visit) page(w http.ResponseWriter, r *http.Request, status int, page templ.Component) error {
	v.console.render(w, r, status, page)
	return nil
}

// ask sends a question: only the form to our scripts, else a page.
func (v *visit) ask(w http.ResponseWriter, r *http.Request, q question) error {
	if v.partial {
		return v.page(w, r, http.StatusOK, askForm(q))
	}
	return v.page(w, r, http.StatusOK, askPage(v, q))
}

// under reports whether the page asked for belongs to the menu entry path.
func (v *visit) under(path string) bool {
	switch path {
	case "/console", operatorPrefix:
		return v.path == path
	case "/demo/hello":
		return strings.HasPrefix(v.path, "/demo/")
	case "/operator/invoices":
		return v.path == path || strings.HasPrefix(v.path, path+"/") || v.path == "/operator/issuer"
	case "/console/invoices":
		return v.path == path || strings.HasPrefix(v.path, path+"/") || v.path == "/console/billing-details"
	case "/console/webhooks":
		return strings.HasPrefix(v.path, path) || strings.HasPrefix(v.path, "/console/deliveries/")
	}
	return v.path == path || strings.HasPrefix(v.path, path+"/")
}

// readForm reads a posted form of ours.
func readForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return fmt.Errorf("%w: %w", errBadForm, err)
	}
	return nil
}

// param returns a part of the path as the person meant it: a channel may have
// a slash or a percent sign in its name.
func param(r *http.Request, name string) string {
	value := chi.URLParam(r, name)
	if r.URL.RawPath == "" {
		return value
	}
	if plain, err := url.PathUnescape(value); err == nil {
		return plain
	}
	return value
}

// finish answers a form that was obeyed: with a sentence for our scripts, else
// by leading to the page at path, which says it.
func (v *visit) finish(w http.ResponseWriter, r *http.Request, path, done string) error {
	if v.partial {
		writeJSON(w, http.StatusOK, said{v.doneText(done)})
		return nil
	}
	http.Redirect(w, r, path+"?done="+done, http.StatusSeeOther)
	return nil
}

// doneText is what a page says of a form, by its short name in the query.
func (v *visit) doneText(done string) string {
	if v.operator != nil {
		return operatorTexts[done]
	}
	return doneTexts[done]
}

// doneTexts are what a page says about the form that led to it. The query
// names one; it cannot bring a text of its own.
var doneTexts = map[string]string{
	"disconnect":       "Disconnecting. The connection leaves within a second.",
	"disconnect-ban":   "Disconnecting. The access token is barred until it expires.",
	"end-channel":      "Disconnecting everybody in the channel.",
	"ban":              "Barred. Whoever is in and named by it leaves within a second.",
	"lift":             "The ban is lifted.",
	"retire":           "Saved: when the key stops.",
	"cap":              "The cap is set. It counts at once.",
	"cap-none":         "There is no cap any longer.",
	"duplicates":       "Saved. It counts for whoever comes from now on.",
	"revoke-api":       "The API key is revoked.",
	"revoke-signing":   "The signing key is revoked. Tokens signed with it are refused from now on.",
	"endpoint":         "The endpoint is set up. Send a test to see it work.",
	"rotate":           "The endpoint has a new secret. The old one signs nothing any longer.",
	"rotate-overlap":   "The endpoint has a new secret. For 24 hours the old one signs too.",
	"overlap-ended":    "The old secret signs nothing any longer.",
	"endpoint-changed": "Saved. It counts for events from now on.",
	"delete":           "The endpoint is deleted.",
	"enable":           "The endpoint is enabled again.",
	"test":             "A test event is on its way.",
	"replay":           "The event is on its way again.",
	"replay-range":     "The range is on its way again.",
	"replay-cancel":    "The replay is cancelled.",
	"auth-url":         "Your server is asked about each client from now on.",
	"auth-none":        "Nobody else is asked any longer.",
	"auth-rotate":      "The auth webhook has a new secret.",
	"secret-on":        "Saved. Accept only tokens again when you are done.",
	"secret-off":       "Only tokens are accepted.",
	"licence-now":      "The licence is changed, and holds from now on.",
	"licence-later":    "Noted. Until then everything stays as it is.",
	"billing-details":  "Saved. Invoices from now on say so.",
	"licence-kept":     "Called off. The licence is renewed as it is.",
	"welcome":          "Welcome to Hibari. This is your console.",
	"bye":              "You are logged out.",
	"everywhere":       "You are logged out on all devices.",
	"forgot":           "If the address has an account, a link is on its way to it.",
	"reset":            "Your new password is saved. Log in with it.",
	"email":            "Your new address is confirmed. Log in with it from now on.",
	"late":             "That took too long. Enter your password again.",
	"joined":           "Welcome. This is your organisation's console.",
	"email-asked":      "We have written to the new address. Open the link there to confirm it.",
	"password":         "Your password is changed. All other log-ins have ended.",
	"second-on":        "Your log-in asks for a code from now on.",
	"second-off":       "Your log-in asks for no code any longer.",
	"codes":            "Your old recovery codes no longer work.",
	"session":          "That log-in has ended.",
	"invited":          "The invitation is on its way.",
	"invited-link":     "The invitation is made. Give its link to whom you invite.",
	"uninvited":        "The invitation is cancelled. Its link no longer works.",
	"role":             "The role is changed. It holds with the member's next log-in.",
	"removed":          "The member is removed, and logged out everywhere.",
	"second-reset":     "The member logs in without a code, and is logged out everywhere.",
}
