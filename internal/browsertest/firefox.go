package browsertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// firefoxPrefs are what the tests need to be other than in a fresh profile.
var firefoxPrefs = map[string]any{
	"media.navigator.streams.fake":                               true, // a picture that changes colour, and a tone
	"media.navigator.permission.disabled":                        true,
	"media.autoplay.default":                                     0,
	"media.gmp-manager.updateEnabled":                            false,
	"app.normandy.enabled":                                       false,
	"browser.shell.checkDefaultBrowser":                          false,
	"datareporting.policy.dataSubmissionEnabled":                 false,
	"network.captive-portal-service.enabled":                     false,
	"network.connectivity-service.enabled":                       false,
	"dom.min_background_timeout_value":                           4, // tabs that aren't seen go on drawing
	"dom.min_background_timeout_value_without_budget_throttling": 4,
}

// Firefox starts a Firefox. More preferences may be given by name, each a
// string, bool or int.
func Firefox(t testing.TB, prefs map[string]any) *Browser {
	t.Helper()
	return startFirefox(t, prefs, nil)
}

// startFirefox starts it with more in its environment.
func startFirefox(t testing.TB, prefs map[string]any, env []string) *Browser {
	t.Helper()
	takeTurn(t)
	path := find("firefox-esr", "firefox", "/Applications/Firefox.app/Contents/MacOS/firefox")
	if path == "" {
		t.Fatal("no Firefox found: make test installs it; or put firefox on PATH")
	}
	// Not t.TempDir: a helper process of Firefox may still write for a moment.
	profile, err := os.MkdirTemp("", "hibari-firefox-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(profile) })
	all := maps.Clone(firefoxPrefs)
	maps.Copy(all, prefs)
	if err := writePrefs(filepath.Join(profile, "user.js"), all); err != nil {
		t.Fatal(err)
	}
	f := runFirefox(t, path, profile, env)
	session, err := f.connect()
	if err != nil {
		t.Fatalf("couldn't start Firefox: %v\n%s", err, f.said())
	}
	f.session = session
	open := func(ctx context.Context) (engine, error) { return session.openTab(ctx) }
	return &Browser{Name: "Firefox", t: t, open: open}
}

func writePrefs(file string, prefs map[string]any) error {
	var text strings.Builder
	for name, value := range prefs {
		encoded, err := json.Marshal(value)
		if err != nil {
			return err
		}
		fmt.Fprintf(&text, "user_pref(%q, %s);\n", name, encoded)
	}
	return os.WriteFile(file, []byte(text.String()), 0o600)
}

// firefox is the browser's process.
type firefox struct {
	cmd     *exec.Cmd
	session *session      // nil before it is connected; the test's goroutine's
	address chan string   // of its WebDriver BiDi server
	exited  chan struct{} // closed when the process is gone and exitErr is set
	exitErr error

	mu  sync.Mutex
	log []string // Guarded by mu.
}

// runFirefox runs the process until the test ends.
func runFirefox(t testing.TB, path, profile string, env []string) *firefox {
	f := &firefox{address: make(chan string, 1), exited: make(chan struct{})}
	f.cmd = exec.Command(path, "--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", profile)
	// Firefox as root refuses another user's home.
	f.cmd.Env = append(os.Environ(), "HOME="+profile, "XDG_CACHE_HOME="+profile, "XDG_CONFIG_HOME="+profile, "MOZ_CRASHREPORTER_DISABLE=1")
	f.cmd.Env = append(f.cmd.Env, env...)
	f.cmd.WaitDelay = 5 * time.Second
	out, in := io.Pipe()
	f.cmd.Stderr = in
	if err := f.cmd.Start(); err != nil {
		t.Fatalf("couldn't start Firefox: %v", err)
	}
	go f.read(out)
	go func() {
		f.exitErr = f.cmd.Wait()
		_ = in.Close()
		close(f.exited)
	}()
	t.Cleanup(f.stop)
	return f
}

// read collects what Firefox says and finds its address in it.
func (f *firefox) read(out io.Reader) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "WebDriver BiDi listening on "); ok {
			f.address <- strings.TrimSpace(address)
		}
		f.mu.Lock()
		f.log = append(f.log, lines.Text())
		f.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, out) // a line too long ends the scanner
}

func (f *firefox) said() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.log, "\n")
}

// connect waits for the BiDi server and begins a session.
func (f *firefox) connect() (*session, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	select {
	case address := <-f.address:
		return newSession(ctx, address)
	case <-f.exited:
		return nil, fmt.Errorf("it ended at its start: %w", f.exitErr)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// stop asks the browser to end, and does not ask twice.
func (f *firefox) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if f.session != nil {
		f.session.end(ctx)
	} else {
		_ = f.cmd.Process.Kill()
	}
	select {
	case <-f.exited:
	case <-ctx.Done():
		_ = f.cmd.Process.Kill()
		<-f.exited
	}
}
