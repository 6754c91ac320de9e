package webhooks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"syscall"

	"github.com/hibari/hibari/internal/tenant"
)

// ErrorClass is the kind of failure of a request to a tenant's server: for
// filters and counters, while words are for people. "" is no failure.
type ErrorClass string

// The classes, in the order in which a request can meet them.
const (
	FailedInternal   ErrorClass = "internal"          // we could not make the request
	FailedURL        ErrorClass = "bad_url"           // the URL may not be called
	FailedDNS        ErrorClass = "dns"               // its host name leads nowhere
	FailedAddress    ErrorClass = "forbidden_address" // its host name leads where no tenant may send us
	FailedConnect    ErrorClass = "connect"           // nobody takes the connection
	FailedTLS        ErrorClass = "tls"               // no TLS, or a certificate that is not trusted
	FailedTimeout    ErrorClass = "timeout"           // no whole answer in time
	FailedReset      ErrorClass = "reset"             // the connection was reset
	FailedClosed     ErrorClass = "closed"            // the connection was closed before the answer was whole
	FailedProtocol   ErrorClass = "protocol"          // what came is not HTTP
	FailedTooLarge   ErrorClass = "too_large"         // the answer's head or body is too long
	FailedRedirect   ErrorClass = "redirect"          // 3xx
	FailedHTTPStatus ErrorClass = "http_status"       // any other status that is no success
)

// ErrorClasses lists every class.
var ErrorClasses = [...]ErrorClass{FailedInternal, FailedURL, FailedDNS, FailedAddress, FailedConnect, FailedTLS, FailedTimeout,
	FailedReset, FailedClosed, FailedProtocol, FailedTooLarge, FailedRedirect, FailedHTTPStatus}

// index returns a class's place in ErrorClasses; that of FailedInternal for one
// that is not there.
func (c ErrorClass) index() int {
	for i, known := range ErrorClasses {
		if c == known {
			return i
		}
	}
	return 0
}

// failure is why there was no answer, or no good one.
type failure struct {
	class ErrorClass
	words string // for the person who reads the console

	connecting bool // a timeout before there was a connection
}

// explain says why a request through the egress had no whole answer. It tells
// nothing about our network but the address refused.
func (e *Egress) explain(err error) failure {
	var (
		address *AddressError
		field   *tenant.FieldError
		dns     *net.DNSError
		op      *net.OpError
		verify  *tls.CertificateVerificationError
		host    x509.HostnameError
		record  tls.RecordHeaderError
		mime    textproto.ProtocolError
	)
	text := err.Error()
	has := func(part string) bool { return strings.Contains(text, part) } // net/http and crypto/tls have no sentinels for these
	switch {
	case errors.As(err, &address):
		return failure{class: FailedAddress, words: address.Error()}
	case errors.As(err, &field):
		return failure{class: FailedURL, words: field.Problem}
	case errors.As(err, &dns) && dns.IsNotFound:
		return failure{class: FailedDNS, words: fmt.Sprintf("the host name %s does not exist", dns.Name)}
	case errors.As(err, &dns):
		return failure{class: FailedDNS, words: fmt.Sprintf("the host name %s could not be looked up", dns.Name)}
	case errors.Is(err, syscall.ECONNREFUSED):
		return failure{class: FailedConnect, words: "connection refused"}
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return failure{class: FailedConnect, words: "host unreachable"}
	case errors.Is(err, errBody):
		return failure{class: FailedTooLarge, words: errBody.Error()}
	case has("response headers exceeded"), has("response header list larger"), has("too many 1xx"):
		return failure{class: FailedTooLarge, words: "the header of the answer is longer than 64 KiB"}
	case errors.As(err, &host):
		return failure{class: FailedTLS, words: "TLS certificate is not for this host name"}
	case errors.As(err, &verify):
		return failure{class: FailedTLS, words: "TLS certificate not trusted: " + verify.Err.Error()}
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return failure{class: FailedTLS, words: "the server does not speak TLS on this port"}
	case isTimeout(err) && has("TLS handshake"):
		return failure{FailedTimeout, "no TLS handshake after " + seconds(e.connect()), true}
	case isTimeout(err) && errors.As(err, &op) && op.Op == "dial":
		return failure{FailedTimeout, "no connection after " + seconds(e.connect()), true}
	case isTimeout(err):
		return failure{class: FailedTimeout, words: "timed out after " + seconds(e.timeout())}
	case errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error"): // crypto/tls's alerts
		return failure{class: FailedTLS, words: "TLS failed: " + op.Err.Error()}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNABORTED), has("stream error: "):
		return failure{class: FailedReset, words: "connection reset"}
	case has("tls: "):
		return failure{class: FailedTLS, words: "TLS failed: " + text[strings.Index(text, "tls: ")+len("tls: "):]}
	case errors.As(err, &mime), has("malformed"), has("http2: "), has("bad Content-Length"), has("invalid "), has("unsupported transfer"), has("unexpected 101"):
		return notHTTP(text)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), has("server closed idle connection"):
		return failure{class: FailedClosed, words: "the connection was closed without a whole answer"}
	case errors.As(err, &op) && op.Op == "dial":
		return failure{class: FailedConnect, words: "no connection"}
	}
	return notHTTP(text)
}

// notHTTP repeats what net/http found wrong with an answer.
func notHTTP(text string) failure {
	for _, before := range []string{`": `, "transport connection broken: "} { // url.Error's, and net/http's own
		if i := strings.LastIndex(text, before); i >= 0 && !strings.Contains(text[:i], "malformed") {
			text = text[i+len(before):]
		}
	}
	text = strings.TrimPrefix(strings.TrimPrefix(text, "net/"), "http: ")
	return failure{class: FailedProtocol, words: "the answer is not HTTP as it should be: " + tenant.Printable(strings.TrimPrefix(text, "http "), maxWords)}
}

// maxWords bounds, in bytes, the words of others that we repeat.
const maxWords = 200

// judge says whether a status is a success; nil: it is.
func judge(status int) *failure {
	switch {
	case status/100 == 2:
		return nil
	case status/100 == 3:
		return &failure{class: FailedRedirect, words: fmt.Sprintf("answered %s: redirects are not followed", statusText(status))}
	}
	return &failure{class: FailedHTTPStatus, words: "answered " + statusText(status)}
}

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}
