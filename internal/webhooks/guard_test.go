package webhooks_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// forbidden are addresses no tenant may make us call.
var forbidden = []string{
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255", "100.100.100.200", "127.0.0.1", "127.255.0.1",
	"169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.88.99.1", "192.168.0.1",
	"198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.2.3", "240.0.0.1", "255.255.255.255",
	"168.63.129.16", "::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1",
	"64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:10::1", "2001:20::1", "2001:db8::1", "2002:7f00:1::", "2002:a00:1::1",
	"3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "4000::1", "2620:4f:8000::1",
}

// allowed are addresses of the public Internet, beside the edges of the above.
var allowed = []string{
	"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255",
	"198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:1.1.1.1", "2001:200::1", "2003::1", "2606:4700::1111", "2a00:1450:4001::1", "3ffe::1",
}

func literal(address string) string {
	if strings.Contains(address, ":") {
		address = "[" + address + "]"
	}
	return "https://" + address + "/"
}

func TestForbiddenAddresses(t *testing.T) {
	e := webhooks.Egress{}
	client := webhooks.NewGuardedClient(e)
	for _, address := range forbidden {
		var field *tenant.FieldError
		if err := e.CheckURL(literal(address)); !errors.As(err, &field) || field.Field != "url" {
			t.Errorf("%s may be entered: %v", address, err)
		}
		// The client itself must refuse too: rows may be older than the rule.
		_, err := client.Post(literal(address), "", nil)
		if err == nil || !strings.Contains(err.Error(), "is not public") {
			t.Errorf("%s may be called: %v", address, err)
		}
	}
	for _, address := range allowed {
		if err := e.CheckURL(literal(address)); err != nil {
			t.Errorf("%s is refused: %v", address, err)
		}
	}
}

// server is a small DNS server whose answer for every name is what next says.
func nameServer(t *testing.T, next func(name string) netip.Addr) *net.Resolver {
	t.Helper()
	socket, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			n, from, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			var query dnsmessage.Message
			if err := query.Unpack(buffer[:n]); err != nil {
				continue
			}
			query.Response, query.RecursionAvailable, query.Additionals = true, true, nil
			question := query.Questions[0]
			if question.Type == dnsmessage.TypeA {
				query.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: question.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.AResource{A: next(question.Name.String()).As4()},
				}}
			}
			if answer, err := query.Pack(); err == nil {
				socket.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp4", socket.LocalAddr().String())
	}}
}

// TestResolverThatFlips: a name that first leads to an allowed address and then
// to a forbidden one is refused when it flips.
func TestResolverThatFlips(t *testing.T) {
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	reached := atomic.Int32{}
	server := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) })}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	var answers atomic.Int32
	resolver := nameServer(t, func(string) netip.Addr {
		if answers.Add(1) == 1 {
			return netip.MustParseAddr("127.0.0.2")
		}
		return netip.MustParseAddr("127.0.0.1")
	})
	client := webhooks.NewGuardedClient(webhooks.Egress{
		Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}, Resolver: resolver,
	})
	url := fmt.Sprintf("http://flip.example:%d/", listener.Addr().(*net.TCPAddr).Port)
	answer, err := client.Get(url)
	if err != nil {
		t.Fatalf("the first answer is allowed: %v", err)
	}
	answer.Body.Close()
	client.CloseIdleConnections()
	if _, err = client.Get(url); err == nil || !strings.Contains(err.Error(), "address 127.0.0.1 is not public") {
		t.Errorf("the flipped answer: %v", err)
	}
	if reached.Load() != 1 {
		t.Errorf("the server was reached %d times, want 1", reached.Load())
	}
}

func TestClientIgnoresProxiesAndRedirects(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	server := httptest.NewServer(http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound))
	t.Cleanup(server.Close)
	// By name, since net/http never asks a proxy for a loopback address.
	resolver := nameServer(t, func(string) netip.Addr { return netip.MustParseAddr("127.0.0.1") })
	client := webhooks.NewGuardedClient(webhooks.Egress{Allow: []netip.Prefix{loopback}, Resolver: resolver})
	answer, err := client.Get(strings.Replace(server.URL, "127.0.0.1", "receiver.example", 1))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusFound {
		t.Errorf("status %d", answer.StatusCode)
	}
}

func TestClientBoundsTheAnswer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/endless" {
			for {
				if _, err := rw.Write(make([]byte, 1<<15)); err != nil {
					return
				}
			}
		}
		rw.(http.Flusher).Flush()
		<-r.Context().Done() // header only, the body never comes
	}))
	t.Cleanup(server.Close)
	client := webhooks.NewGuardedClient(webhooks.Egress{Allow: []netip.Prefix{loopback}, Timeout: 2 * time.Second})
	endless, err := client.Get(server.URL + "/endless")
	if err != nil {
		t.Fatal(err)
	}
	defer endless.Body.Close()
	body, err := io.ReadAll(endless.Body)
	if err == nil || len(body) != 64<<10 {
		t.Errorf("read %d bytes, %v", len(body), err)
	}
	slow, err := client.Get(server.URL + "/slow")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close()
	if _, err := io.ReadAll(slow.Body); err == nil {
		t.Error("a body that never comes was waited for")
	}
}

func TestProductionURLs(t *testing.T) {
	production := webhooks.Egress{Production: true}
	development := webhooks.Egress{Allow: []netip.Prefix{loopback}}
	for _, c := range []struct {
		url                     string
		production, development bool
	}{
		{"https://example.com/hooks", true, true},
		{"https://example.com:443/hooks?x=1", true, true},
		{"https://example.com:80/", true, true},
		{"https://日本.example/", true, true},
		{"http://example.com/", false, true},
		{"https://example.com:8443/", false, true},
		{"http://127.0.0.1:9/", false, true},
		{"https://127.0.0.1/", false, true},
		{"http://10.0.0.1/", false, false},
		{"", false, false},
		{" https://example.com/", false, false},
		{"example.com", false, false},
		{"ftp://example.com/", false, false},
		{"javascript:alert(1)", false, false},
		{"https:example.com", false, false},
		{"https://", false, false},
		{"https:///path", false, false},
		{"https://user:secret@example.com/", false, false},
		{"https://user@example.com/", false, false},
		{"https://example.com/#part", false, false},
		{"https://example.com:/", false, false},
		{"https://example.com:0/", false, false},
		{"https://example.com:65536/", false, false},
		{"https://[fe80::1%25eth0]/", false, false},
		{"https://[::ffff:10.0.0.1]/", false, false},
		{"https://exa mple.com/", false, false},
		{"https://example.com/" + strings.Repeat("x", 2048), false, false},
	} {
		for e, want := range map[*webhooks.Egress]bool{&production: c.production, &development: c.development} {
			err := e.CheckURL(c.url)
			var field *tenant.FieldError
			if err != nil && !errors.As(err, &field) {
				t.Errorf("%q: %v is no FieldError", c.url, err)
			}
			if (err == nil) != want {
				t.Errorf("%q, production %v: %v", c.url, e.Production, err)
			}
		}
	}
	// A plain URL that got into the database is refused by the client as well.
	client := webhooks.NewGuardedClient(production)
	if _, err := client.Get("http://1.1.1.1/"); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("http in production: %v", err)
	}
}

// TestProductionIgnoresPrefixesWithoutTheSecondWord: a forgotten setting of
// development must not open the inside of a production network.
func TestProductionIgnoresPrefixesWithoutTheSecondWord(t *testing.T) {
	w := newWorld(t, webhooks.Config{Production: true})
	s := w.tenant()
	var field *tenant.FieldError
	if _, _, err := w.hooks.CreateEndpoint(t.Context(), s, "https://127.0.0.1/", nil); !errors.As(err, &field) {
		t.Errorf("error is %v", err)
	}
	w.stop()
	w.start(webhooks.Config{Production: true, AllowPrivate: true})
	if _, _, err := w.hooks.CreateEndpoint(t.Context(), s, "https://127.0.0.1/", nil); err != nil {
		t.Error(err)
	}
}
