package e2e

import (
	"testing"

	"github.com/hibari/hibari/internal/browsertest"
)

// browser is a headless browser with a clean profile, gone when the test ends.
// Cameras and microphones are the browser's own fakes.
type browser struct {
	t *testing.T
	*browsertest.Browser
}

// newBrowser starts a Chromium.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	return &browser{t, browsertest.Chromium(t, nil)}
}

// tab is one page of a browser. One that is done with can be closed before the
// test ends: Chromium keeps at most six streams to one host.
type tab struct {
	t       *testing.T
	browser *browser
	*browsertest.Page
}

// open opens a URL in a new tab.
func (b *browser) open(url string) *tab {
	b.t.Helper()
	return &tab{b.t, b, b.Open(url)}
}

// eval runs JavaScript, awaits a promise and returns its value. Arguments are
// put in as JSON for each %s.
func eval[T any](p *tab, expression string, args ...any) T {
	p.t.Helper()
	return browsertest.Eval[T](p.Page, expression, args...)
}

// until waits for a JavaScript condition.
func (p *tab) until(what, condition string, args ...any) {
	p.t.Helper()
	p.Until(what, condition, args...)
}
