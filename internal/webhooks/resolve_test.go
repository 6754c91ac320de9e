package webhooks_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/hibari/hibari/internal/webhooks"
)

// everywhere is a server on every address of this machine; it notes which of them
// each connection came to.
type everywhere struct {
	port int
	mu   sync.Mutex
	came []string // Guarded by mu
}

func newEverywhere(t *testing.T) *everywhere {
	t.Helper()
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	e := &everywhere{port: listener.Addr().(*net.TCPAddr).Port}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }),
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateNew {
				at, _ := netip.ParseAddrPort(c.LocalAddr().String())
				e.mu.Lock()
				defer e.mu.Unlock()
				e.came = append(e.came, at.Addr().Unmap().String())
			}
		},
	}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	return e
}

func (e *everywhere) connections() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.came)
}

// get asks and reads the answer whole.
func get(client *http.Client, url string) error {
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.ReadAll(answer.Body)
	return err
}

// onlySecond lets a client reach 127.0.0.2 and nothing else of this machine, as if
// that were a public address.
var onlySecond = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}

// A name whose answer changes after the first look is refused when it leads to the
// inside, whatever that is, and never connected to; a connection that is kept goes
// on to where it was made.
func TestNameThatChangesItsAnswer(t *testing.T) {
	server := newEverywhere(t)
	for _, bad := range []string{"127.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1", "10.0.0.1", "0.0.0.0", "::"} {
		var mu sync.Mutex
		now := []string{"127.0.0.2"}
		turn := func(to string) { mu.Lock(); defer mu.Unlock(); now = []string{to} }
		client := webhooks.NewGuardedClient(webhooks.Egress{Allow: onlySecond, Resolver: startDNS(t, &dnsServer{
			answer: func(q dnsmessage.Question, m *dnsmessage.Message) bool {
				mu.Lock()
				defer mu.Unlock()
				addresses(q, q.Name, m, now...)
				return true
			}})})
		url := fmt.Sprintf("http://flip.example:%d/", server.port)
		if err := get(client, url); err != nil {
			t.Fatalf("the first answer is allowed: %v", err)
		}
		turn(bad)
		if err := get(client, url); err != nil {
			t.Errorf("a kept connection to the allowed address: %v", err)
		}
		client.CloseIdleConnections()
		err := get(client, url)
		if err == nil || webhooks.ClassOf(err) != webhooks.FailedAddress {
			t.Errorf("flipped to %s: %v", bad, err)
		}
		turn("127.0.0.2")
		if err := get(client, url); err != nil {
			t.Errorf("turned back: %v", err)
		}
	}
	for _, at := range server.connections() {
		if at != "127.0.0.2" {
			t.Errorf("connected to %s", at)
		}
	}
}

// Of several addresses each is judged by itself: those that are forbidden are not
// tried, wherever they stand, and also at the end of a chain of aliases.
func TestNamesWithSeveralAddresses(t *testing.T) {
	server := newEverywhere(t)
	for _, test := range []struct {
		name, class string // "": it is reached
		list, links []string
	}{
		{name: "the good one first", list: []string{"127.0.0.2", "127.0.0.1"}},
		{name: "the bad one first", list: []string{"127.0.0.1", "127.0.0.2"}},
		{name: "a bad one of each family first", list: []string{"::1", "10.1.2.3", "127.0.0.2"}},
		{name: "many bad ones", list: []string{"127.0.0.1", "169.254.169.254", "10.0.0.1", "192.168.0.1", "127.0.0.2"}},
		{name: "only bad ones", class: "forbidden_address", list: []string{"127.0.0.1", "::1", "169.254.169.254"}},
		{name: "a chain to a good one", list: []string{"127.0.0.2"}, links: []string{"a.example.", "b.example.", "c.example."}},
		{name: "a chain to a bad one", class: "forbidden_address", list: []string{"127.0.0.1"}, links: []string{"a.example.", "b.example.", "public.example."}},
		{name: "a chain that ends nowhere", class: "dns", links: []string{"a.example.", "b.example."}},
		{name: "a chain that bites its tail", class: "dns", links: []string{"a.example.", "b.example.", "a.example."}},
		{name: "no address at all", class: "dns"},
	} {
		t.Run(test.name, func(t *testing.T) {
			client := webhooks.NewGuardedClient(webhooks.Egress{Allow: onlySecond, Timeout: 5 * time.Second, Resolver: startDNS(t, &dnsServer{
				answer: func(q dnsmessage.Question, m *dnsmessage.Message) bool {
					chain(q, m, test.list, test.links...)
					return true
				}})})
			err := get(client, fmt.Sprintf("http://many.example:%d/", server.port))
			if test.class == "" && err != nil || test.class != "" && (err == nil || string(webhooks.ClassOf(err)) != test.class) {
				t.Errorf("%v (%s), want %q", err, webhooks.ClassOf(err), test.class)
			}
		})
	}
	for _, at := range server.connections() {
		if at != "127.0.0.2" {
			t.Errorf("connected to %s", at)
		}
	}
}

// A name server that is slow, silent or mad costs no more than the time to connect,
// and ends as what it is.
func TestHostileNameServers(t *testing.T) {
	const connect = 500 * time.Millisecond
	for _, test := range []struct {
		name, words string
		server      *dnsServer
	}{
		{"there is no such name", "does not exist", &dnsServer{answer: func(_ dnsmessage.Question, m *dnsmessage.Message) bool {
			m.RCode = dnsmessage.RCodeNameError
			return true
		}}},
		{"the server fails", "could not be looked up", &dnsServer{answer: func(_ dnsmessage.Question, m *dnsmessage.Message) bool {
			m.RCode = dnsmessage.RCodeServerFailure
			return true
		}}},
		{"the server refuses", "could not be looked up", &dnsServer{answer: func(_ dnsmessage.Question, m *dnsmessage.Message) bool {
			m.RCode = dnsmessage.RCodeRefused
			return true
		}}},
		{"it says nothing", "could not be looked up", &dnsServer{answer: func(dnsmessage.Question, *dnsmessage.Message) bool { return false }}},
		{"it sends garbage", "could not be looked up", &dnsServer{raw: []byte(strings.Repeat("\xff\x00garbage", 100))}},
		{"it answers another question", "could not be looked up", &dnsServer{answer: func(q dnsmessage.Question, m *dnsmessage.Message) bool {
			m.ID++
			addresses(q, q.Name, m, "127.0.0.2")
			return true
		}}},
		{"it answers about another name", "", &dnsServer{answer: func(q dnsmessage.Question, m *dnsmessage.Message) bool {
			addresses(q, dnsmessage.MustNewName("elsewhere.example."), m, "127.0.0.1")
			return true
		}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			client := webhooks.NewGuardedClient(webhooks.Egress{Allow: onlySecond, Connect: connect, Resolver: startDNS(t, test.server)})
			began := time.Now()
			err := get(client, "http://lost.example:9/")
			if err == nil || webhooks.ClassOf(err) != webhooks.FailedDNS && test.words != "" {
				t.Fatalf("%v (%s)", err, webhooks.ClassOf(err))
			}
			if words := webhooks.WordsOf(err); !strings.Contains(words, test.words) {
				t.Errorf("said %q", words)
			}
			if took := time.Since(began); took > 4*connect {
				t.Errorf("it took %s", took)
			}
		})
	}
}

// A look-up that is late, but in time, is used.
func TestLateNameServer(t *testing.T) {
	server := newEverywhere(t)
	client := webhooks.NewGuardedClient(webhooks.Egress{Allow: onlySecond, Resolver: startDNS(t, &dnsServer{
		answer: func(q dnsmessage.Question, m *dnsmessage.Message) bool {
			time.Sleep(300 * time.Millisecond) // the network's delay, which is what is tested
			if isFor(q, "late.example") {
				addresses(q, q.Name, m, "127.0.0.2")
			}
			return true
		}})})
	if err := get(client, fmt.Sprintf("http://late.example:%d/", server.port)); err != nil {
		t.Error(err)
	}
}
