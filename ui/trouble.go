package ui

import (
	"net/http"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/webhooks"
)

// lookForTrouble reads what every page of the tenant says until it is mended. A page
// is not refused for want of it.
func (c *Console) lookForTrouble(r *http.Request, v *visit) {
	if v.partial || !v.may(watchers) || strings.HasPrefix(v.path, exportPrefix) {
		return
	}
	list, err := c.Hooks.Troubles(r.Context(), v.login.Scope)
	if err != nil {
		if r.Context().Err() == nil {
			c.Log.Warn("a console page is shown without the troubles there may be", "path", v.path, "error", err)
		}
		return
	}
	v.troubles = list
}

// withoutQuery is a URL as far as everybody who sees a page may read it.
func withoutQuery(text string) string {
	text, _, _ = strings.Cut(text, "?")
	return text
}

// troubleText says what is wrong with an endpoint, before its link.
func troubleText(t webhooks.Trouble) string {
	switch t.Reason {
	case webhooks.DisabledGone:
		return "A webhook endpoint answered 410 and is disabled: it gets no events."
	case webhooks.DisabledFailing:
		return "A webhook endpoint has failed for five days and is disabled: it gets no events."
	}
	return "A webhook endpoint fails, and its events wait."
}

// disabledText says why an endpoint is disabled.
func disabledText(e webhooks.Endpoint) string {
	switch e.DisabledReason {
	case webhooks.DisabledGone:
		return "Disabled by us: it answered 410, which asks never to be called again."
	case webhooks.DisabledFailing:
		return "Disabled by us: it had answered nothing with success for five days."
	}
	return "Disabled by your organisation."
}

// disabledOn is when an endpoint that goes on failing will be disabled; zero: it does
// not fail.
func disabledOn(e webhooks.Endpoint) time.Time {
	if e.FailingSince == nil {
		return time.Time{}
	}
	return e.FailingSince.Add(webhooks.DisableAfter)
}
