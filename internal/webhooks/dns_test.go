package webhooks_test

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// dnsServer answers over UDP what a test says.
type dnsServer struct {
	t      *testing.T
	socket net.PacketConn
	// answer fills the response in; false: it says nothing to this question.
	answer func(question dnsmessage.Question, response *dnsmessage.Message) bool
	// raw, if set, is sent instead of a response.
	raw []byte
}

// startDNS starts a server and returns a resolver that asks it alone.
func startDNS(t *testing.T, s *dnsServer) *net.Resolver {
	t.Helper()
	var err error
	s.t = t
	if s.socket, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.socket.Close() })
	go s.run()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp4", s.socket.LocalAddr().String())
	}}
}

func (s *dnsServer) run() {
	buffer := make([]byte, 1500)
	for {
		n, from, err := s.socket.ReadFrom(buffer)
		if err != nil {
			return
		}
		if s.raw != nil {
			s.socket.WriteTo(s.raw, from)
			continue
		}
		var m dnsmessage.Message
		if m.Unpack(buffer[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
		if !s.answer(m.Questions[0], &m) {
			continue
		}
		if answer, err := m.Pack(); err == nil {
			s.socket.WriteTo(answer, from)
		}
	}
}

// addresses puts into a response those of the addresses that are of the family
// asked for.
func addresses(q dnsmessage.Question, name dnsmessage.Name, m *dnsmessage.Message, list ...string) {
	for _, text := range list {
		addr := netip.MustParseAddr(text)
		head := dnsmessage.ResourceHeader{Name: name, Type: q.Type, Class: dnsmessage.ClassINET}
		switch {
		case q.Type == dnsmessage.TypeA && addr.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: addr.As4()}})
		case q.Type == dnsmessage.TypeAAAA && addr.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
}

// nameServer is one whose answer for every name is what next says.
func nameServer(t *testing.T, next func(name string) netip.Addr) *net.Resolver {
	t.Helper()
	return startDNS(t, &dnsServer{answer: func(q dnsmessage.Question, m *dnsmessage.Message) bool {
		if q.Type == dnsmessage.TypeA {
			addresses(q, q.Name, m, next(q.Name.String()).String())
		}
		return true
	}})
}

// chain answers with aliases from the name asked for to the last, and that one's
// addresses.
func chain(q dnsmessage.Question, m *dnsmessage.Message, last []string, links ...string) {
	from := q.Name
	for _, link := range links {
		to := dnsmessage.MustNewName(link)
		m.Answers = append(m.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: from, Type: dnsmessage.TypeCNAME, Class: dnsmessage.ClassINET},
			Body:   &dnsmessage.CNAMEResource{CNAME: to},
		})
		from = to
	}
	addresses(q, from, m, last...)
}

// isFor reports whether a question is about a name, whatever a search list did to it.
func isFor(q dnsmessage.Question, name string) bool {
	return strings.HasPrefix(strings.ToLower(q.Name.String()), name)
}
