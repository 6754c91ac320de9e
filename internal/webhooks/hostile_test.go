package webhooks_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// startTCP serves raw connections, and returns where.
func startTCP(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { close(done); listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				go func() { <-done; c.Close() }()
				serve(c)
			}()
		}
	}()
	return listener.Addr().String()
}

// readRequest reads a request, whole.
func readRequest(c net.Conn) {
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err == nil {
		buffer := make([]byte, r.ContentLength)
		for n := 0; n < len(buffer); {
			m, err := r.Body.Read(buffer[n:])
			if n += m; err != nil {
				return
			}
		}
	}
}

// say reads a request and answers with a text.
func say(text string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		c.Write([]byte(text))
	}
}

// drip answers with a text and then a byte of another now and then, for ever.
func drip(first, then string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		c.Write([]byte(first))
		for i := 0; ; i++ {
			if _, err := c.Write([]byte{then[i%len(then)]}); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond) // the receiver's own slowness
		}
	}
}

// pour answers with a text and then another as often as it is taken.
func pour(first, then string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		c.Write([]byte(first))
		for {
			if _, err := c.Write([]byte(then)); err != nil {
				return
			}
		}
	}
}

// reset answers with a text and then resets the connection.
func reset(text string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		c.Write([]byte(text))
		c.(*net.TCPConn).SetLinger(0)
	}
}

// hang takes the connection and does nothing with it.
func hang(c net.Conn) { c.Read(nil); select {} }

// certificate makes one for TLS, signed by itself.
func certificate(t *testing.T, host string, until time.Time) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		DNSNames: []string{host}, IPAddresses: []net.IP{net.ParseIP(host)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	if template.IPAddresses[0] == nil {
		template.IPAddresses = nil
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// overTLS serves with a certificate.
func overTLS(config *tls.Config, serve func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		if s := tls.Server(c, config); s.Handshake() == nil {
			serve(s)
		}
	}
}

// hostile are receivers that mean harm, or are broken, and what is said of each;
// class "": it is delivered all the same.
type hostile struct {
	name, class, words string
	status             int
	tls                bool
	serve              func(net.Conn)
}

func receivers(t *testing.T) []hostile {
	const ok = "HTTP/1.1 200 OK\r\n"
	good := certificate(t, "127.0.0.1", time.Now().Add(24*time.Hour))
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	zip.Write(make([]byte, 50<<20))
	zip.Close()
	long := strings.Repeat("x", 64<<10)
	return []hostile{
		{name: "a byte at a time, status line", class: "timeout", words: "timed out after 2 s", serve: drip("", "HTTP/1.1 200 OK and more ")},
		{name: "a byte at a time, head", class: "timeout", words: "timed out after 2 s", serve: drip(ok, "X-Slow: y\r\n")},
		{name: "a byte at a time, body", class: "timeout", words: "timed out after 2 s", status: 200, serve: drip(ok+"\r\n", "x")},
		{name: "a byte at a time, chunks", class: "timeout", words: "timed out after 2 s", status: 200, serve: drip(ok+"Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n")},
		{name: "a length and no body", class: "timeout", words: "timed out after 2 s", status: 200, serve: drip(ok+"Content-Length: 100000000\r\n\r\n", " ")},
		{name: "accepts and says nothing", class: "timeout", words: "timed out after 2 s", serve: hang},
		{name: "an endless head", class: "too_large", words: "header of the answer", serve: pour(ok, "X-More: "+long[:1000]+"\r\n")},
		{name: "an endless line", class: "too_large", words: "header of the answer", serve: pour(ok+"X: ", long)},
		{name: "an endless status", class: "too_large", words: "header of the answer", serve: pour("HTTP/1.1 200 ", long)},
		{name: "100,000 lines of head", class: "too_large", words: "header of the answer", serve: say(ok + strings.Repeat("A: b\r\n", 100_000) + "\r\n")},
		{name: "an endless body", class: "too_large", words: "longer than 64 KiB", status: 200, serve: pour(ok+"\r\n", long)},
		{name: "endless chunks", class: "too_large", words: "longer than 64 KiB", status: 200, serve: pour(ok+"Transfer-Encoding: chunked\r\n\r\n", "10000\r\n"+long+"\r\n")},
		{name: "100 MB, as said", class: "too_large", words: "longer than 64 KiB", status: 200, serve: pour(ok+"Content-Length: 100000000\r\n\r\n", long)},
		{name: "100 MB with an error", class: "http_status", words: "answered 500", status: 500, serve: pour("HTTP/1.1 500 No\r\nContent-Length: 100000000\r\n\r\n", long)},
		{name: "a chunk of 2^64", class: "protocol", words: "not HTTP", status: 200, serve: say(ok + "Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nx")},
		{name: "a chunk of nonsense", class: "protocol", words: "not HTTP", status: 200, serve: say(ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\nx")},
		{name: "endless hints", class: "too_large", words: "header of the answer", serve: pour("", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")},
		{name: "another protocol", class: "protocol", words: "not HTTP", serve: say("SSH-2.0-OpenSSH_9.9\r\n")},
		{name: "no protocol", class: "protocol", words: "not HTTP", serve: say("\x00\x01\x02\xff\xfe\r\n\r\n")},
		{name: "a page and no head", class: "protocol", words: "not HTTP", serve: say("<html>hello</html>\r\n\r\n")},
		{name: "a status of letters", class: "protocol", words: "not HTTP", serve: say("HTTP/1.1 abc OK\r\n\r\n")},
		{name: "a head without colons", class: "protocol", words: "not HTTP", serve: say(ok + "hello\r\n\r\n")},
		{name: "two lengths", class: "protocol", words: "not HTTP", serve: say(ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx")},
		{name: "a length below nothing", class: "protocol", words: "not HTTP", serve: say(ok + "Content-Length: -1\r\n\r\n")},
		{name: "HTTP/2 where none was agreed on", class: "protocol", words: "not HTTP", serve: say("\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x64")},
		{name: "switches protocols", class: "http_status", words: "answered 101", status: 101, serve: say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n")},
		{name: "closed after the request", class: "closed", words: "closed without a whole answer", serve: say("")},
		{name: "closed in the head", class: "closed", words: "closed without a whole answer", serve: say(ok + "X: ")},
		{name: "closed in the body", class: "closed", words: "closed without a whole answer", status: 200, serve: say(ok + "Content-Length: 10\r\n\r\nhalf")},
		{name: "closed in a chunk", class: "closed", words: "closed without a whole answer", status: 200, serve: say(ok + "Transfer-Encoding: chunked\r\n\r\n10\r\nhalf")},
		{name: "reset after the request", class: "reset", words: "connection reset", serve: reset("")},
		{name: "reset in the head", class: "closed", words: "closed without a whole answer", // net/http does not tell which
			serve: reset(ok + "X: ")},
		{name: "reset in the body", class: "reset", words: "connection reset", status: 200, serve: reset(ok + "Content-Length: 10\r\n\r\nhalf")},
		{name: "a gzip bomb", class: "", status: 200, serve: say(ok + fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n", bomb.Len()) + bomb.String())},
		{name: "no JSON", class: "", status: 200, serve: say(ok + "Content-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>")},
		{name: "lies about JSON", class: "", status: 200, serve: say(ok + "Content-Type: application/json\r\nContent-Length: 6\r\n\r\n\x00\xff{{{{")},
		// After a byte of it: an answer before that may be taken for one to nothing, as it comes.
		{name: "answers before it has read the question", class: "", status: 200, serve: func(c net.Conn) {
			c.Read(make([]byte, 1))
			c.Write([]byte(ok + "Content-Length: 0\r\n\r\n"))
			readRequest(c)
		}},

		{name: "expired", class: "tls", words: "expired", tls: true, serve: overTLS(&tls.Config{Certificates: []tls.Certificate{certificate(t, "127.0.0.1", time.Now().Add(-time.Hour))}}, say(ok+"\r\n"))},
		{name: "another's certificate", class: "tls", words: "not for this host name", tls: true, serve: overTLS(&tls.Config{Certificates: []tls.Certificate{certificate(t, "example.com", time.Now().Add(time.Hour))}}, say(ok+"\r\n"))},
		{name: "signed by itself", class: "tls", words: "not trusted", tls: true, serve: overTLS(&tls.Config{Certificates: []tls.Certificate{good}}, say(ok+"\r\n"))},
		{name: "no TLS on the port", class: "tls", words: "does not speak TLS", tls: true, serve: func(c net.Conn) { c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); c.Read(make([]byte, 1000)) }},
		{name: "garbage for TLS", class: "tls", words: "does not speak TLS", tls: true, serve: func(c net.Conn) { c.Write(bytes.Repeat([]byte("garbage "), 100)); c.Read(make([]byte, 1000)) }},
		{name: "old TLS alone", class: "tls", words: "TLS failed", tls: true, serve: overTLS(&tls.Config{Certificates: []tls.Certificate{good}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, say(ok+"\r\n"))},
		{name: "a handshake that hangs", class: "timeout", words: "timed out after 2 s", tls: true, serve: hang},
		{name: "a handshake that is closed", class: "closed", words: "closed without a whole answer", tls: true, serve: func(c net.Conn) { c.Read(make([]byte, 16<<10)) }},
		{name: "a handshake that is reset", class: "reset", words: "connection reset", tls: true, serve: func(c net.Conn) { c.Read(make([]byte, 10)); c.(*net.TCPConn).SetLinger(0) }},
	}
}

// Whatever a receiver does ends as a failure of that delivery, of a class and in
// words, and nobody else's waits for it.
func TestHostileReceivers(t *testing.T) {
	w := newWorld(t, webhooks.Config{AttemptTimeout: 2 * time.Second})
	bad, neighbour := w.tenant(), w.tenant()
	quick := newReceiver(t, nil)
	w.endpoint(neighbour, quick.URL)
	list := receivers(t)
	ids, want := make([]string, len(list)), map[webhooks.ErrorClass]int64{}
	for i, r := range list {
		scheme := "http://"
		if r.tls {
			scheme = "https://"
		}
		ids[i], _ = w.endpoint(bad, scheme+startTCP(t, r.serve)+"/hook")
		if r.class != "" {
			want[webhooks.ErrorClass(r.class)]++
		}
	}
	for _, id := range ids {
		if _, err := w.hooks.SendTest(t.Context(), bad, id); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 { // while those are at it
		began := time.Now()
		w.tell(neighbour, event(tenant.ConnectionCreated, fmt.Sprint("C", i)))
		quick.wait(t, i+1)
		if took := time.Since(began); took > time.Second {
			t.Errorf("the neighbour's event took %s", took)
		}
	}
	for i, r := range list {
		t.Run(r.name, func(t *testing.T) {
			var d webhooks.Delivery
			eventually(t, "an attempt", func() bool { d = w.only(bad, ids[i]); return d.Attempts == 1 })
			if r.class == "" {
				if d.State != webhooks.Delivered || d.LastStatus != r.status {
					t.Errorf("state %s, status %d, error %q", d.State, d.LastStatus, d.LastError)
				}
				return
			}
			if d.State != webhooks.Pending || d.LastStatus != r.status || !strings.Contains(d.LastError, r.words) {
				t.Errorf("state %s, status %d, error %q; want %d, %q", d.State, d.LastStatus, d.LastError, r.status, r.words)
			}
			if len(d.LastError) > 300 {
				t.Errorf("said %q", d.LastError)
			}
		})
	}
	eventually(t, "all to be counted", func() bool {
		var sum int64
		for _, n := range w.hooks.Stats().FailedBy {
			sum += n
		}
		var expected int64
		for _, n := range want {
			expected += n
		}
		return sum >= expected
	})
	for i, class := range webhooks.ErrorClasses {
		if n := w.hooks.Stats().FailedBy[i]; n != want[class] {
			t.Errorf("%d failures of class %s, want %d", n, class, want[class])
		}
	}
}

// A hundred answers of 100 MB at once, and heads without end, leave memory as it is.
func TestHostileAnswersLeaveMemoryAlone(t *testing.T) {
	w := newWorld(t, webhooks.Config{AttemptTimeout: 5 * time.Second})
	var sent atomic.Int64
	long := strings.Repeat("x", 1<<20)
	flood := func(first string) func(net.Conn) {
		return func(c net.Conn) {
			readRequest(c)
			c.Write([]byte(first))
			for {
				n, err := c.Write([]byte(long))
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
		}
	}
	var heap runtime.MemStats
	measure := func() uint64 { runtime.ReadMemStats(&heap); return heap.HeapInuse }
	runtime.GC()
	before, most := measure(), uint64(0)
	at := []string{
		startTCP(t, flood("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")),
		startTCP(t, flood("HTTP/1.1 200 OK\r\nX: ")),
		startTCP(t, flood("HTTP/1.1 404 No\r\n\r\n")),
	}
	var scopes []tenant.Scope
	var ids []string
	for i := range 24 {
		s := w.tenant()
		id, _ := w.endpoint(s, "http://"+at[i%len(at)]+"/")
		scopes, ids = append(scopes, s), append(ids, id)
		for j := range 4 {
			w.tell(s, event(tenant.ConnectionCreated, fmt.Sprint("C", j)))
		}
	}
	for i, s := range scopes {
		eventually(t, "the attempts", func() bool {
			most = max(most, measure())
			for _, d := range w.deliveries(s, ids[i]) {
				if d.Attempts == 0 {
					return false
				}
			}
			return len(w.deliveries(s, ids[i])) == 4
		})
	}
	if grown := int64(most) - int64(before); grown > 96<<20 {
		t.Errorf("the heap grew by %d MiB", grown>>20)
	}
}
