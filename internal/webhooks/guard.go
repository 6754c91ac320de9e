package webhooks

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Egress says where tenant-supplied URLs may lead.
type Egress struct {
	// Production allows only https and only the ports 80 and 443.
	Production bool
	// Allow lists prefixes that may be reached besides public addresses.
	Allow []netip.Prefix
	// Timeout bounds one request from dialling to the last byte of the answer; 0: 15 s.
	Timeout time.Duration
	// Connect bounds of it the look-up of the name with the dialling, and then the
	// TLS handshake; 0: 5 s.
	Connect time.Duration
	// Idle is how many connections are kept, and IdlePerHost how many to one host;
	// 0: 256 and 2. Less than 0: none, each request has one of its own.
	Idle, IdlePerHost int
	// RootCAs are who is trusted to say whose server it is; nil: the system's.
	RootCAs *x509.CertPool
	// Resolver looks up host names; nil: the system's.
	Resolver *net.Resolver
}

func (e *Egress) timeout() time.Duration { return cmp.Or(e.Timeout, defaultTimeout) }

func (e *Egress) connect() time.Duration { return cmp.Or(e.Connect, dialTimeout) }

// Limits on what a stranger's server may send us.
const (
	dialTimeout    = 5 * time.Second
	maxAnswerHead  = 64 << 10 // bytes of response header
	maxAnswerBody  = 64 << 10 // bytes of response body
	defaultTimeout = 15 * time.Second

	// What an HTTP/2 server may send before we have read it. Go would take 4 MiB a
	// request.
	streamWindow = 64 << 10
	serverWindow = 256 << 10
	// An HTTP/2 connection that is silent for so long is asked, so that one whose
	// other side has vanished does not cost every later request its time.
	silenceTime = 5 * time.Second
)

// NewGuardedClient returns the only kind of HTTP client that may follow a URL
// a tenant gave us. The address of every connection is checked when it is
// dialled, after name resolution, so a name that changes its answer gains
// nothing. Redirects are not followed, the environment's proxies are ignored,
// answers are not decompressed, and header, body and time are bounded.
func NewGuardedClient(e Egress) *http.Client {
	dialer := &net.Dialer{
		Timeout:  e.connect(),
		Resolver: e.Resolver,
		ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
			return e.checkDial(network, address)
		},
	}
	return &http.Client{
		Timeout: e.timeout(),
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
		Transport: &guardedTransport{egress: e, next: &http.Transport{
			Proxy:               nil,
			DialContext:         dialer.DialContext,
			ForceAttemptHTTP2:   true,
			DisableCompression:  true,
			TLSHandshakeTimeout: e.connect(),
			TLSClientConfig:     &tls.Config{RootCAs: e.RootCAs, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:   e.Idle < 0,
			MaxIdleConns:        cmp.Or(max(e.Idle, 0), 256),
			MaxIdleConnsPerHost: cmp.Or(e.IdlePerHost, 2),
			HTTP2: &http.HTTP2Config{
				MaxReceiveBufferPerStream: streamWindow, MaxReceiveBufferPerConnection: serverWindow,
				SendPingTimeout: silenceTime, PingTimeout: silenceTime,
			},
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: maxAnswerHead,
		}},
	}
}

// guardedTransport refuses a URL that should never have been stored and bounds
// the body of every answer.
type guardedTransport struct {
	egress Egress
	next   *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (t *guardedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.egress.checkURL(r.URL); err != nil {
		return nil, err
	}
	answer, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = &boundedBody{ReadCloser: answer.Body, left: maxAnswerBody}
	return answer, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the pool.
func (t *guardedTransport) CloseIdleConnections() { t.next.CloseIdleConnections() }

// errBody ends the reading of an answer that is too long.
var errBody = errors.New("the answer is longer than 64 KiB")

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errBody
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// AddressError is the refusal to connect to an address that a tenant's URL may
// not lead to.
type AddressError struct {
	Address netip.Addr
	Port    uint16
	problem string
}

// Error says which address, and why not.
func (e *AddressError) Error() string { return e.problem }

// checkDial judges one resolved address; the dialler calls it before connect.
func (e *Egress) checkDial(network, address string) error {
	if network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("network %s is not allowed", network)
	}
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("couldn't read the address %q: %w", address, err)
	}
	return e.checkAddress(at.Addr(), at.Port())
}

func (e *Egress) checkAddress(addr netip.Addr, port uint16) error {
	if e.Production && port != 80 && port != 443 {
		return &AddressError{addr, port, fmt.Sprintf("port %d is not allowed: use 443", port)}
	}
	if addr.Zone() == "" {
		addr = addr.Unmap()
		for _, p := range e.Allow {
			if p.Contains(addr) {
				return nil
			}
		}
		if isPublic(addr) {
			return nil
		}
	}
	return &AddressError{addr, port, fmt.Sprintf("address %s is not public", addr)}
}

// guarded is the egress of a configuration: in production private prefixes
// need the operator's second word.
func (c *Config) guarded(log *slog.Logger) Egress {
	e := Egress{Production: c.Production, Allow: c.EgressAllow, Timeout: cmp.Or(c.AttemptTimeout, attemptTimeout), Resolver: c.Resolver, RootCAs: c.RootCAs}
	if c.Production && !c.AllowPrivate && len(e.Allow) > 0 {
		log.Error("egress prefixes ignored: in production they need AllowPrivate", "prefixes", e.Allow)
		e.Allow = nil
	}
	return e
}
