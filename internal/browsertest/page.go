// Package browsertest drives headless browsers for tests: Chromium over the
// DevTools protocol, Firefox over WebDriver BiDi, both behind the same [Page].
// Cameras and microphones are the browsers' own fakes: a moving picture and a
// tone. A browser that is missing fails the test.
package browsertest

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"testing"
	"time"
)

// Patience is how long a page may take for anything on a busy machine.
const Patience = 30 * time.Second

// Browser is one running browser with a clean profile, gone when its test ends.
type Browser struct {
	Name string // "Chromium", "Firefox"
	t    testing.TB
	open func(context.Context) (engine, error)
}

// engine is a tab as its browser's protocol shows it.
type engine interface {
	// evaluate runs an expression as if a person had clicked, awaits the promise
	// if it is one, and returns its value as JSON; nil is undefined.
	evaluate(ctx context.Context, expression string) (json.RawMessage, error)
	// navigate opens a URL and returns when the page is loaded.
	navigate(ctx context.Context, url string) error
	close()
}

// Page is one tab of a browser. It may be used from any goroutine; but for Try
// its methods fail the test when the page does not do as it is told.
type Page struct {
	t      testing.TB
	engine engine
}

// Open opens a URL in a new tab, which is closed when the test ends.
func (b *Browser) Open(url string) *Page {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	e, err := b.open(ctx)
	if err != nil {
		b.t.Fatalf("couldn't open a tab in %s: %v", b.Name, err)
	}
	b.t.Cleanup(e.close)
	p := &Page{t: b.t, engine: e}
	p.Navigate(url)
	return p
}

// For is the same page, whose failures are another test's: a subtest's.
func (p *Page) For(t testing.TB) *Page { return &Page{t: t, engine: p.engine} }

// Navigate opens a URL in the tab and waits until it is loaded.
func (p *Page) Navigate(url string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := p.engine.navigate(ctx, url); err != nil {
		p.t.Fatalf("couldn't open %s: %v\n%s", url, err, p.Shows())
	}
}

// Close closes the tab before the test ends. Closing twice does nothing.
func (p *Page) Close() { p.engine.close() }

// Shows describes the page for a failure's message.
func (p *Page) Shows() string {
	text, err := within[string](glance, p, "location.href + '\\n' + document.body.innerText")
	if err != nil {
		return "the page does not say what it shows: " + err.Error()
	}
	return "the page shows " + text
}

// Try runs a JavaScript expression, awaits its promise and returns its value.
// Arguments are put in as JSON for each %s; without any, the expression is taken
// as it is.
func Try[T any](p *Page, expression string, args ...any) (T, error) {
	return within[T](Patience, p, expression, args...)
}

// glance is how long one look at a page may take: one that is just leaving may
// never answer.
const glance = 5 * time.Second

func within[T any](limit time.Duration, p *Page, expression string, args ...any) (value T, err error) {
	script, err := fill(expression, args)
	if err != nil {
		return value, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	raw, err := p.engine.evaluate(ctx, script)
	if err == nil && len(raw) > 0 {
		err = json.Unmarshal(raw, &value)
	}
	if err != nil {
		err = fmt.Errorf("couldn't run %.2000s: %w", script, err)
	}
	return value, err
}

// Eval is Try for what must succeed.
func Eval[T any](p *Page, expression string, args ...any) T {
	p.t.Helper()
	value, err := Try[T](p, expression, args...)
	if err != nil {
		p.t.Fatalf("%v\n%s", err, p.Shows())
	}
	return value
}

// Until waits for a JavaScript condition. A page that is just leaving answers
// nothing or throws, which counts as not yet.
func (p *Page) Until(what, condition string, args ...any) {
	p.t.Helper()
	deadline := time.Now().Add(Patience)
	for {
		ok, err := within[bool](glance, p, condition, args...)
		if ok && err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("not in %s: %s (%v)\n%s", Patience, what, err, p.Shows())
		}
		time.Sleep(50 * time.Millisecond) // between two looks at the page
	}
}

// fill puts arguments into a script.
func fill(format string, args []any) (string, error) {
	if len(args) == 0 {
		return format, nil
	}
	encoded := make([]any, len(args))
	for i, a := range args {
		text, err := json.Marshal(a)
		if err != nil {
			return "", err
		}
		encoded[i] = string(text)
	}
	return fmt.Sprintf(format, encoded...), nil
}

// find returns the first program that is on this machine; "" if none is.
func find(names ...string) string {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}
