package browsertest

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Chromium starts a Chromium or Chrome. More flags may be given, each without
// its dashes, with a string or bool.
func Chromium(t testing.TB, flags map[string]any) *Browser {
	t.Helper()
	takeTurn(t)
	path := find("chromium", "chromium-browser", "google-chrome",
		"/Applications/Chromium.app/Contents/MacOS/Chromium",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
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
	)
	for name, value := range flags {
		options = append(options, chromedp.Flag(name, value))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	browser, closeBrowser := chromedp.NewContext(allocator)
	t.Cleanup(func() { closeBrowser(); stop() })
	if err := chromedp.Do(browser); err != nil {
		t.Fatalf("couldn't start Chromium: %v", err)
	}
	open := func(context.Context) (engine, error) {
		tab, cancel := chromedp.NewContext(browser)
		// This allocates the tab; its life is tab's, so it gets no time limit.
		if err := chromedp.Do(tab); err != nil {
			cancel()
			return nil, err
		}
		return chromiumTab{tab, cancel}, nil
	}
	return &Browser{Name: "Chromium", t: t, open: open}
}

// DevTools is chromedp's context of a page in Chromium, for what a script in the
// page can't do: pictures of it, its size.
func (p *Page) DevTools() context.Context { return p.engine.(chromiumTab).ctx }

// chromiumTab is a tab by the DevTools protocol.
type chromiumTab struct {
	ctx    context.Context // chromedp's
	cancel context.CancelFunc
}

// within is the tab's context with the time limit of another.
func (c chromiumTab) within(limit context.Context) (context.Context, context.CancelFunc) {
	if deadline, ok := limit.Deadline(); ok {
		return context.WithDeadline(c.ctx, deadline)
	}
	return context.WithCancel(c.ctx)
}

func (c chromiumTab) evaluate(limit context.Context, expression string) (json.RawMessage, error) {
	ctx, cancel := c.within(limit)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[[]byte](expression, chromedp.EvalAwaitPromise, chromedp.EvalAsValue, asClicked))
}

// asClicked lets the script do what a click may, such as start sound.
func asClicked(e *runtime.EvaluateParams) {
	yes := true
	e.UserGesture = &yes
}

func (c chromiumTab) navigate(limit context.Context, url string) error {
	ctx, cancel := c.within(limit)
	defer cancel()
	return chromedp.Do(ctx, chromedp.Navigate(url))
}

func (c chromiumTab) close() { c.cancel() }
