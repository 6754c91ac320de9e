package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a headless Chromium with a clean profile, gone when the test
// ends. Cameras and microphones are Chromium's own fakes.
type browser struct {
	t   *testing.T
	ctx context.Context
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium", "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Fatal("no Chromium found: make test installs it; or put chromium on PATH")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.NoSandbox, // the tests run as root in containers; only our own pages are opened
		chromedp.DisableGPU,
		chromedp.WindowSize(1280, 800),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("use-fake-ui-for-media-stream", true),
		chromedp.Flag("use-fake-device-for-media-stream", true),
		chromedp.Flag("autoplay-policy", "no-user-gesture-required"),
		chromedp.Flag("disable-backgrounding-occluded-windows", true),
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, closeBrowser := chromedp.NewContext(allocator)
	t.Cleanup(func() { closeBrowser(); stop() })
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("couldn't start Chromium: %v", err)
	}
	return &browser{t: t, ctx: ctx}
}

// tab is one page of a browser.
type tab struct {
	t     *testing.T
	ctx   context.Context
	close func() // before the test ends, if need be: Chromium keeps at most six streams to one host
}

// open opens a URL in a new tab.
func (b *browser) open(url string) *tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	p := &tab{t: b.t, ctx: ctx, close: cancel}
	if err := chromedp.Do(ctx); err != nil { // allocates the tab, without a time limit
		b.t.Fatalf("couldn't open a tab: %v", err)
	}
	p.do("open "+url, chromedp.Navigate(url))
	return p
}

// do runs actions, which must end in time.
func (p *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.t.Fatalf("couldn't %s: %v\n%s", what, err, p.shows())
	}
}

// shows describes the page for a failure's message.
func (p *tab) shows() string {
	ctx, cancel := context.WithTimeout(p.ctx, 2*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
	if err != nil {
		return "the page does not say what it shows: " + err.Error()
	}
	return "the page shows " + text
}

// eval runs JavaScript, awaits a promise and returns its value. Arguments are
// put in as JSON for each %s.
func eval[T any](p *tab, format string, args ...any) T {
	p.t.Helper()
	for i, a := range args {
		encoded, err := json.Marshal(a)
		if err != nil {
			p.t.Fatal(err)
		}
		args[i] = string(encoded)
	}
	script := format
	if len(args) > 0 {
		script = fmt.Sprintf(format, args...)
	}
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise, userGesture))
	if err != nil {
		p.t.Fatalf("couldn't run %s: %v\n%s", script, err, p.shows())
	}
	return value
}

// userGesture lets the script do what a click may, such as start sound.
func userGesture(e *runtime.EvaluateParams) {
	yes := true
	e.UserGesture = &yes
}

// until waits for a JavaScript condition. A page that is just leaving answers
// nothing or throws, which counts as not yet.
func (p *tab) until(what, condition string, args ...any) {
	p.t.Helper()
	for i, a := range args {
		encoded, err := json.Marshal(a)
		if err != nil {
			p.t.Fatal(err)
		}
		args[i] = string(encoded)
	}
	if len(args) > 0 {
		condition = fmt.Sprintf(condition, args...)
	}
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](condition, chromedp.EvalAwaitPromise))
		cancel()
		if ok && err == nil {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("not in %s: %s (%v)\n%s", patience, what, err, p.shows())
		}
		time.Sleep(50 * time.Millisecond) // between two looks at the page
	}
}
