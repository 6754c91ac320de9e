package ui

import (
	"net/http"
	"strings"

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

// disabledText says why an endpoint is disabled, and since when.
func disabledText(v *visit, e webhooks.Endpoint) string {
	text := "Disabled by your organisation"
	switch e.DisabledReason {
	case webhooks.DisabledGone:
		text = "Disabled by us, since it answered 410, which asks never to be called again"
	case webhooks.DisabledFailing:
		text = "Disabled by us, since it had answered nothing with success for five days"
	}
	if e.DisabledAt != nil {
		text += ", at " + v.stamp(*e.DisabledAt)
	}
	return text + "."
}

// probeText says when the next probe of an endpoint whose breaker is open goes out.
func probeText(v *visit, e webhooks.Endpoint) string {
	when := "now"
	if e.Breaker == webhooks.Open && e.NextProbeAt != nil {
		when = "at " + v.stamp(*e.NextProbeAt)
	}
	return "One of them is sent as a probe " + when + "; the first that is answered 2xx lets the others follow. Waiting costs them no tries."
}

// disabledThen says until when an endpoint that fails has time.
func disabledThen(v *visit, e webhooks.Endpoint) string {
	if e.FailingSince == nil {
		return ""
	}
	return " Without one success it is disabled on " + v.stamp(e.FailingSince.Add(webhooks.DisableAfter)) + "."
}
