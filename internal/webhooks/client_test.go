package webhooks_test

import (
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/webhooks"
)

// No proxy of the environment is asked, by any of its names.
func TestClientIgnoresProxies(t *testing.T) {
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(proxy.Close)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY"} {
		t.Setenv(name, proxy.URL)
		t.Setenv(strings.ToLower(name), proxy.URL)
	}
	t.Setenv("NO_PROXY", "")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "direct") }))
	t.Cleanup(server.Close)
	// By name, since net/http never asks a proxy for a loopback address.
	resolver := nameServer(t, func(string) netip.Addr { return netip.MustParseAddr("127.0.0.1") })
	client := webhooks.NewGuardedClient(webhooks.Egress{Allow: []netip.Prefix{loopback}, Resolver: resolver})
	if err := get(client, strings.Replace(server.URL, "127.0.0.1", "receiver.example", 1)); err != nil || asked.Load() != 0 {
		t.Errorf("%v, the proxy was asked %d times", err, asked.Load())
	}
}

// No redirect is followed, of any kind and wherever it leads, and no offer of
// another way to the same server is taken.
func TestClientFollowsNobody(t *testing.T) {
	inside := newEverywhere(t)
	host := "http://127.0.0.1:" + strconv.Itoa(inside.port)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Alt-Svc", `h2="127.0.0.1:`+strconv.Itoa(inside.port)+`"; ma=86400, h3=":`+strconv.Itoa(inside.port)+`"`)
		w.Header().Set("Refresh", "0; url="+host)
		w.Header().Set("Location", host+"/inside")
		status, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		w.WriteHeader(status)
	}))
	t.Cleanup(server.Close)
	client := webhooks.NewGuardedClient(webhooks.Egress{Allow: []netip.Prefix{loopback}})
	for _, method := range []string{http.MethodPost, http.MethodGet} {
		for _, status := range []int{200, 201, 300, 301, 302, 303, 304, 305, 307, 308, 421} {
			r, err := http.NewRequest(method, server.URL+"/"+strconv.Itoa(status), strings.NewReader("{}"))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := client.Do(r)
			if err != nil {
				t.Errorf("%s %d: %v", method, status, err)
				continue
			}
			answer.Body.Close()
			if answer.StatusCode != status {
				t.Errorf("%s %d is answered %d", method, status, answer.StatusCode)
			}
		}
	}
	if n := len(inside.connections()); n != 0 {
		t.Errorf("%d connections to where redirects lead", n)
	}
}

// Over HTTP/2 the same bounds hold as over HTTP/1, and a body that nobody reads
// stays at the server.
func TestClientBoundsHTTP2(t *testing.T) {
	var wrote atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/head", "/longer":
			for i := range map[string]int{"/head": 800, "/longer": 3000}[r.URL.Path] {
				w.Header().Set("X-"+strconv.Itoa(i), strings.Repeat("x", 50))
			}
		case "/endless":
			for {
				n, err := w.Write(make([]byte, 16<<10))
				wrote.Add(int64(n))
				if err != nil {
					return
				}
			}
		}
		io.WriteString(w, r.Proto)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	client := webhooks.NewGuardedClient(webhooks.Egress{Allow: []netip.Prefix{loopback}, RootCAs: roots})
	answer, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if string(body) != "HTTP/2.0" || err != nil {
		t.Fatalf("spoke %q, %v", body, err)
	}
	if err := get(client, server.URL+"/head"); err == nil || webhooks.ClassOf(err) != webhooks.FailedTooLarge {
		t.Errorf("a head of 70 kB: %v (%s)", err, webhooks.ClassOf(err))
	}
	// Far beyond it Go ends the whole connection.
	if err := get(client, server.URL+"/longer"); err == nil || webhooks.ClassOf(err) != webhooks.FailedProtocol {
		t.Errorf("a head of 260 kB: %v (%s)", err, webhooks.ClassOf(err))
	}
	if err := get(client, server.URL+"/endless"); err == nil || webhooks.ClassOf(err) != webhooks.FailedTooLarge {
		t.Errorf("an endless body: %v", err)
	}
	wrote.Store(0)
	unread, err := client.Get(server.URL + "/endless")
	if err != nil {
		t.Fatal(err)
	}
	defer unread.Body.Close()
	// It has written all it may once it has not for a while.
	for last, since := int64(-1), time.Now(); time.Since(since) < 200*time.Millisecond; runtime.Gosched() {
		if now := wrote.Load(); now != last {
			last, since = now, time.Now()
		}
	}
	if n := wrote.Load(); n > 256<<10 {
		t.Errorf("the server could send %d bytes that nobody read", n)
	}
}

// What is sent compressed stays so: a few bytes cannot become many.
func TestClientDecompressesNothing(t *testing.T) {
	var accepted atomic.Pointer[string]
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		accepted.Store(new(r.Header.Get("Accept-Encoding")))
		w.Header().Set("Content-Encoding", "gzip")
		w.Write([]byte("\x1f\x8b\x08 not even gzip"))
	}))
	t.Cleanup(server.Close)
	client := webhooks.NewGuardedClient(webhooks.Egress{Allow: []netip.Prefix{loopback}})
	answer, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || !strings.HasPrefix(string(body), "\x1f\x8b") || *accepted.Load() != "" {
		t.Errorf("read %q, %v; asked for %q", body, err, *accepted.Load())
	}
}
