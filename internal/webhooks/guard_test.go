package webhooks_test

import (
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
	// More of each range, its edges, and the forms that carry an IPv4 address.
	"0.255.255.255", "10.128.0.1", "100.127.255.254", "127.255.255.255", "169.254.0.1", "169.254.255.255", "169.254.170.2", "192.0.0.8", "192.0.0.255",
	"192.31.196.1", "192.52.193.1", "192.175.48.1", "192.88.99.255", "192.168.255.255", "233.252.0.1", "239.255.255.255", "240.1.2.3", "255.255.255.254",
	"::ffff:0.0.0.0", "::ffff:100.64.0.1", "::ffff:192.168.1.1", "::ffff:172.16.0.1", "::ffff:224.0.0.1", "::ffff:255.255.255.255", "::ffff:7f00:1",
	"::ffff:0:7f00:1", "::127.0.0.1", "::10.0.0.1", "::a9fe:a9fe", "64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::127.0.0.1", "64:ff9b:1:ffff::1",
	"100:0:0:1::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:2::1", "2001:3::1", "2001:4:112::1", "2001:30::1", "2001:1ff:ffff::1", "2002::1",
	"2002:a9fe:a9fe::1", "2002:c0a8:101::1", "2002:ffff:ffff::1", "2001:db8:ffff::1", "3fff:fff::1", "3fff:0fff:ffff::1", "5f00:1::1", "5f00:ffff::1",
	"fc00::ffff", "fdff::1", "fe80::ffff:1", "febf::1", "fec0:ffff::1", "feff::1", "ff01::1", "ff0e::1", "1fff::1", "4000::", "8000::1", "e000::1",
}

// allowed are addresses of the public Internet, beside the edges of the above.
var allowed = []string{
	"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255",
	"198.17.255.255", "198.20.0.0", "223.255.255.255", "::ffff:1.1.1.1", "2001:200::1", "2003::1", "2606:4700::1111", "2a00:1450:4001::1", "3ffe::1",
	"1.0.0.1", "126.255.255.255", "128.0.0.1", "169.253.255.255", "169.255.0.1", "191.255.255.255", "192.0.1.1", "192.0.3.1", "192.88.98.1", "192.88.100.1",
	"198.51.99.1", "198.51.101.1", "203.0.112.1", "203.0.114.1", "168.63.129.15", "168.63.129.17", "2000::1", "2001:1000::1", "2001:db7::1", "2001:db9::1",
	"2400:cb00::1", "2620:4f:8001::1", "2c0f::1", "3ffd:ffff::1", "3fff:1000::1",
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
		// Forms that some resolvers take for 127.0.0.1.
		{"https://0177.0.0.1/", false, false},
		{"https://0x7f.0.0.1/", false, false},
		{"https://0x7f.1/", false, false},
		{"https://0X7F000001/", false, false},
		{"https://127.1/", false, false},
		{"https://2130706433/", false, false},
		{"https://017700000001/", false, false},
		{"https://127.0.0.1./", false, true},
		{"https://127.0.0.01/", false, false},
		{"https://0/", false, false},
		{"https://0x/", false, false},
		{"https://1.2.3.4.5/", false, false},
		{"https://example.123/", false, false},
		{"https://example.0x7f/", false, false},
		{"https://256.1.1.1/", false, false},
		{"https://１２７.０.０.１/", false, true},
		{"https://127。0。0。1/", false, true},
		{"https://①②⑦.0.0.1/", false, true},
		{"https://[::ffff:7f00:1]/", false, true},
		{"https://[::127.0.0.1]/", false, false},
		{"https://[64:ff9b::7f00:1]/", false, false},
		{"https://[::1]/", false, false},
		{"https://[::1/", false, false},
		{"https://[1.1.1.1]/", false, false},
		{"https://1.1.1.1/", true, true},
		{"https://[2606:4700::1111]:443/", true, true},
		{"https://[2606:4700::1111%25eth0]/", false, false},
		// Names.
		{"https://example.com./", true, true},
		{"https://example.com../", false, false},
		{"https://.example.com/", false, false},
		{"https://a..b/", false, false},
		{"https://xn--wgv71a.example/", true, true},
		{"https://xn--a.example/", true, true}, // broken punycode: the DNS does not know it
		{"https://bücher.example/", true, true},
		{"https://under_score.example.com/", true, true},
		{"https://0x7f.example.com/", true, true},
		{"https://1.example/", true, true},
		{"https://" + strings.Repeat("a", 63) + ".example/", true, true},
		{"https://" + strings.Repeat("a", 64) + ".example/", false, false},
		{"https://" + strings.Repeat("a.", 130) + "example/", false, false},
		// Everything else that has fooled somebody.
		{"https://example.com@127.0.0.1/", false, false},
		{"https://127.0.0.1@example.com/", false, false},
		{"https://example.com\\@127.0.0.1/", false, false},
		{"https://example.com%00.evil.example/", false, false},
		{"https://example.com%2f@127.0.0.1/", false, false},
		{"https://127.0.0.1%2f.example.com/", false, false},
		{"https://example.com:443:80/", false, false},
		{"https://example.com:+443/", false, false},
		{"https://example.com:0443/", true, true},
		{"https://example.com:22/", false, true},
		{"https://example.com/\r\nHost: evil", false, false},
		{"https://example.com/#", false, false},
		{"https://example.com/?x=%0d%0a", true, true},
		{"HTTPS://EXAMPLE.COM/", true, true},
		{"//example.com/", false, false},
		{"https:\\\\example.com", false, false},
		{"gopher://example.com/", false, false},
		{"file:///etc/passwd", false, false},
		{"unix:///run/postgres", false, false},
		{"data:text/plain,x", false, false},
		{"https://\u202eexample.com/", false, false},
		{"https://exa\tmple.com/", false, false},
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
	if _, _, err := w.hooks.CreateEndpoint(t.Context(), s, "https://127.0.0.1/", webhooks.Choice{}); !errors.As(err, &field) {
		t.Errorf("error is %v", err)
	}
	w.stop()
	w.start(webhooks.Config{Production: true, AllowPrivate: true})
	if _, _, err := w.hooks.CreateEndpoint(t.Context(), s, "https://127.0.0.1/", webhooks.Choice{}); err != nil {
		t.Error(err)
	}
}
