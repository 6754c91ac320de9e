package main

import (
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

var proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}

// Who is behind the trusted proxies is who the last of them says; what a client
// writes into the headers itself changes nothing.
func TestClientAddress(t *testing.T) {
	for _, c := range []struct{ name, peer, header, value, want string }{
		{"no proxy", "192.0.2.1:5000", "", "", "192.0.2.1"},
		{"a stranger's word", "192.0.2.1:5000", "X-Forwarded-For", "203.0.113.9", "192.0.2.1"},
		{"a stranger's word, RFC 7239", "192.0.2.1:5000", "Forwarded", "for=203.0.113.9", "192.0.2.1"},
		{"a proxy that says nothing", "10.0.0.1:5000", "", "", "10.0.0.1"},
		{"one proxy", "10.0.0.1:5000", "X-Forwarded-For", "203.0.113.9", "203.0.113.9"},
		{"two proxies", "10.0.0.1:5000", "X-Forwarded-For", "203.0.113.9, 10.0.0.2", "203.0.113.9"},
		{"forged on the left", "10.0.0.1:5000", "X-Forwarded-For", "198.51.100.1, 203.0.113.9", "203.0.113.9"},
		{"a trusted address forged on the left", "10.0.0.1:5000", "X-Forwarded-For", "10.9.9.9, 203.0.113.9", "203.0.113.9"},
		{"only proxies", "10.0.0.1:5000", "X-Forwarded-For", "10.0.0.7, 10.0.0.2", "10.0.0.7"},
		{"several lines", "10.0.0.1:5000", "X-Forwarded-For", "203.0.113.9\n10.0.0.2", "203.0.113.9"},
		{"with a port", "10.0.0.1:5000", "X-Forwarded-For", "203.0.113.9:4711", "203.0.113.9"},
		{"IPv6", "[fd00::1]:5000", "X-Forwarded-For", "2001:db8::9", "2001:db8::9"},
		{"IPv6 with a port", "[fd00::1]:5000", "X-Forwarded-For", "[2001:db8::9]:4711", "2001:db8::9"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:5000", "X-Forwarded-For", "::ffff:203.0.113.9", "203.0.113.9"},
		{"no address", "10.0.0.1:5000", "X-Forwarded-For", "203.0.113.9, unknown", "10.0.0.1"},
		{"no address further left", "10.0.0.1:5000", "X-Forwarded-For", "'; drop table, 203.0.113.9", "203.0.113.9"},
		{"RFC 7239", "10.0.0.1:5000", "Forwarded", `for=203.0.113.9;proto=https;by=10.0.0.1`, "203.0.113.9"},
		{"RFC 7239, quoted", "10.0.0.1:5000", "Forwarded", `For="[2001:db8::9]:4711"`, "2001:db8::9"},
		{"RFC 7239, two proxies", "10.0.0.1:5000", "Forwarded", `for=203.0.113.9, for=10.0.0.2`, "203.0.113.9"},
		{"RFC 7239, forged on the left", "10.0.0.1:5000", "Forwarded", `for=198.51.100.1, for=203.0.113.9`, "203.0.113.9"},
		{"RFC 7239, an obfuscated node", "10.0.0.1:5000", "Forwarded", `for=203.0.113.9, for=_hidden`, "10.0.0.1"},
		{"RFC 7239, broken", "10.0.0.1:5000", "Forwarded", `for="203.0.113.9`, "10.0.0.1"},
		{"RFC 7239, a comma in quotes", "10.0.0.1:5000", "Forwarded", `for="203.0.113.9, for=198.51.100.1"`, "10.0.0.1"},
		{"too many", "10.0.0.1:5000", "X-Forwarded-For", "203.0.113.9" + strings.Repeat(",10.0.0.2", 100), "10.0.0.2"},
	} {
		header := http.Header{}
		for line := range strings.SplitSeq(c.value, "\n") {
			if c.header != "" {
				header.Add(c.header, line)
			}
		}
		if got := clientAddress(c.peer, header, proxies); got.String() != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	both := http.Header{"Forwarded": {"for=203.0.113.9"}, "X-Forwarded-For": {"198.51.100.1"}}
	if got := clientAddress("10.0.0.1:5000", both, proxies); got.String() != "203.0.113.9" {
		t.Errorf("both headers: %s", got)
	}
	if got := clientAddress("10.0.0.1:5000", http.Header{"X-Forwarded-For": {"203.0.113.9"}}, nil); got.String() != "10.0.0.1" {
		t.Errorf("no proxy is trusted: %s", got)
	}
	if got := clientAddress("@", nil, proxies); got.IsValid() {
		t.Errorf("a peer without address: %s", got)
	}
}

// Whatever the headers are, the address is one that the peer, if it is trusted,
// wrote into them, or the peer's own.
func FuzzClientAddress(f *testing.F) {
	f.Add("10.0.0.1:1", "203.0.113.9, 10.0.0.2", "")
	f.Add("10.0.0.1:1", "", `for="[2001:db8::9]:4711";proto=http, for=10.0.0.2`)
	f.Add("192.0.2.1:1", "a,,b", `for=;=;"`)
	f.Fuzz(func(t *testing.T, peer, forwardedFor, forwarded string) {
		header := http.Header{}
		if forwardedFor != "" {
			header.Set("X-Forwarded-For", forwardedFor)
		}
		if forwarded != "" {
			header.Set("Forwarded", forwarded)
		}
		own := hop(peer)
		got := clientAddress(peer, header, proxies)
		switch {
		case !own.IsValid() && got.IsValid():
			t.Errorf("%s of a peer without address", got)
		case own.IsValid() && !isTrusted(own, proxies) && got != own:
			t.Errorf("%s by the word of %s", got, own)
		case own.IsValid() && !got.IsValid():
			t.Errorf("the address of %s is lost", own)
		}
		if got.Zone() != "" || got.Is4In6() {
			t.Errorf("%s is not plain", got)
		}
		if client := got.String(); own.IsValid() && got != own {
			// The client's own additions, left of what the proxies wrote, change nothing.
			for name, more := range map[string]string{"X-Forwarded-For": "198.51.100.1, ", "Forwarded": "for=198.51.100.1, "} {
				if header.Get(name) != "" {
					header.Set(name, more+header.Get(name))
				}
			}
			if again := clientAddress(peer, header, proxies); !isTrusted(got, proxies) && again.String() != client {
				t.Errorf("%s became %s", client, again)
			}
		}
	})
}

// Everything behind the router sees the client, and the answer names the request.
func TestRequestsHaveACaller(t *testing.T) {
	p := &platform{log: slog.New(slog.DiscardHandler), config: &config{trustedProxies: proxies}}
	var seen tenant.Caller
	var remote string
	handler := p.withCaller(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen, remote = tenant.CallerOf(r.Context()), r.RemoteAddr
	}))
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "10.0.0.1:4711"
	r.Header.Set("X-Forwarded-For", "203.0.113.9")
	r.Header.Set("X-Request-Id", "forged")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if seen.Address != "203.0.113.9" || remote != "203.0.113.9:4711" {
		t.Errorf("seen is %+v, %s", seen, remote)
	}
	if id := w.Header().Get("X-Request-Id"); id != seen.RequestID || len(id) != 26 {
		t.Errorf("the request's id is %q, answered %q", seen.RequestID, id)
	}
}

// The setting takes networks and single addresses, and says what is wrong.
func TestTrustedProxiesSetting(t *testing.T) {
	var c config
	if err := setTrustedProxies(&c, " 10.0.0.0/8, 2001:db8::1,192.0.2.7 "); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(c.trustedProxies); got != "[10.0.0.0/8 2001:db8::1/128 192.0.2.7/32]" {
		t.Errorf("read as %s", got)
	}
	for _, wrong := range []string{"proxy.example.com", "10.0.0.0/33", "10.0.0.0/8,x", "0.0.0.0/0", "::/0"} {
		if err := setTrustedProxies(new(config), wrong); err == nil {
			t.Errorf("%s is taken", wrong)
		}
	}
}
