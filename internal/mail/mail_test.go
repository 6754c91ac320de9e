package mail_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	hibari "github.com/hibari/hibari/internal/mail"
	"github.com/hibari/hibari/internal/tenant"
)

// server is a mail server on this machine, and what it was given.
type server struct {
	addr   string
	refuse *smtp.SMTPError // its answer to a recipient; nil: welcome

	mu sync.Mutex
	// Guarded by mu
	users []string // who logged in
	from  string
	to    []string
	texts []string
	tls   []bool // whether each text came encrypted
}

// session is one client's.
type session struct {
	server *server
	conn   *smtp.Conn
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "geheim!" {
			return errors.New("wrong password")
		}
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		s.server.users = append(s.server.users, user)
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.server.refuse != nil {
		return s.server.refuse
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.to = append(s.server.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	text, err := io.ReadAll(r)
	_, encrypted := s.conn.TLSConnectionState()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.texts, s.server.tls = append(s.server.texts, string(text)), append(s.server.tls, encrypted)
	return err
}

func (*session) Reset()        {}
func (*session) Logout() error { return nil }

// newServer starts one. With a certificate it offers STARTTLS, or with
// implicit speaks TLS from the first byte.
func newServer(t *testing.T, certificate *tls.Certificate, implicit bool) *server {
	t.Helper()
	s := &server{}
	backend := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{s, c}, nil }))
	backend.Domain, backend.AllowInsecureAuth = "localhost", true
	backend.ErrorLog = silence{}
	listener, err := net.Listen("tcp", "0.0.0.0:0") // also under 127.0.0.2
	if err != nil {
		t.Fatal(err)
	}
	s.addr = fmt.Sprintf("127.0.0.1:%d", listener.Addr().(*net.TCPAddr).Port)
	if certificate != nil {
		backend.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*certificate}}
		if implicit {
			listener = tls.NewListener(listener, backend.TLSConfig)
		}
	}
	var serving sync.WaitGroup
	serving.Go(func() { backend.Serve(listener) })
	t.Cleanup(func() { backend.Close(); serving.Wait() })
	return s
}

// silence drops what the server says about clients that hang up.
type silence struct{}

func (silence) Printf(string, ...any) {}
func (silence) Println(...any)        {}

// newCertificate is for localhost, and signed by nobody else.
func newCertificate(t *testing.T) (*tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

var (
	public  = &url.URL{Scheme: "https", Host: "live.example.com"}
	message = tenant.Message{To: "mika@example.com", Subject: "Choose a new password – 雲雀", Text: "Hello,\n\nhttps://live.example.com/reset?t=abc\n.\nnot the end\n"}
)

func parse(t *testing.T, text string) *hibari.SMTP {
	t.Helper()
	client, err := hibari.ParseURL(text, public)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// trust makes the process trust a certificate. It must come before the first
// TLS connection of the process: Go reads the roots once.
func trust(t *testing.T, certificate []byte) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(file, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", file)
	t.Setenv("SSL_CERT_DIR", t.TempDir())
}

func TestSend(t *testing.T) {
	certificate, root := newCertificate(t)
	trust(t, root)
	stranger, _ := newCertificate(t)
	for name, test := range map[string]struct {
		scheme, user string
		certificate  *tls.Certificate
		implicit     bool
		fails        bool
	}{
		"in clear on this machine": {"smtp", "", nil, false, false},
		"STARTTLS and a password":  {"smtp", "hibari:geheim!@", certificate, false, false},
		"STARTTLS by nobody, here": {"smtp", "hibari:geheim!@", stranger, false, false},
		"TLS and a password":       {"smtps", "hibari:geheim!@", certificate, true, false},
		"a wrong password":         {"smtp", "hibari:falsch@", certificate, false, true},
		"a stranger's certificate": {"smtps", "", stranger, true, true},
		"TLS that is none":         {"smtps", "", nil, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, test.certificate, test.implicit)
			client := parse(t, test.scheme+"://"+test.user+s.addr+"?from="+url.QueryEscape("Hibari <post@example.com>"))
			err := client.Send(t.Context(), message)
			if test.fails {
				if err == nil || errors.Is(err, tenant.ErrMailRefused) || strings.Contains(err.Error(), "falsch") {
					t.Errorf("Send = %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			s.check(t, test.certificate != nil, test.user != "")
		})
	}
}

func (s *server) check(t *testing.T, encrypted, user bool) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.from != "post@example.com" || len(s.to) != 1 || s.to[0] != message.To || len(s.texts) != 1 {
		t.Fatalf("from %s to %q, %d texts", s.from, s.to, len(s.texts))
	}
	if s.tls[0] != encrypted || user && (len(s.users) != 1 || s.users[0] != "hibari") {
		t.Errorf("encrypted %v, users %q", s.tls[0], s.users)
	}
	got, err := mail.ReadMessage(strings.NewReader(s.texts[0]))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
	if err != nil || subject != message.Subject || got.Header.Get("To") != "<mika@example.com>" || !strings.Contains(got.Header.Get("From"), "post@example.com") ||
		got.Header.Get("Message-Id") == "" || got.Header.Get("Date") == "" || got.Header.Get("Auto-Submitted") != "auto-generated" ||
		!strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain; charset=UTF-8") {
		t.Errorf("headers %v, subject %q, %v", got.Header, subject, err)
	}
	if got.Header.Get("Content-Transfer-Encoding") != "quoted-printable" {
		t.Fatalf("encoded as %q", got.Header.Get("Content-Transfer-Encoding"))
	}
	body, err := io.ReadAll(quotedprintable.NewReader(got.Body))
	if err != nil || strings.ReplaceAll(string(body), "\r\n", "\n") != message.Text {
		t.Errorf("text %q, %v, want %q", body, err, message.Text)
	}
}

// A server's no to the recipient is final, its "later" is not.
func TestRefused(t *testing.T) {
	for code, final := range map[int]bool{550: true, 553: true, 451: false} {
		s := newServer(t, nil, false)
		s.refuse = &smtp.SMTPError{Code: code, EnhancedCode: smtp.EnhancedCode{code / 100, 1, 1}, Message: "mika@example.com is not here"}
		err := parse(t, "smtp://"+s.addr).Send(t.Context(), message)
		if err == nil || errors.Is(err, tenant.ErrMailRefused) != final {
			t.Errorf("%d: Send = %v, final %v", code, err, final)
		}
		if err != nil && strings.Contains(err.Error(), "mika") {
			t.Errorf("%d: the error names the person: %v", code, err)
		}
	}
}

// A server that is away, or says nothing, costs no more than the time given.
func TestAway(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := parse(t, "smtp://"+listener.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if err := silent.Send(ctx, message); err == nil || errors.Is(err, tenant.ErrMailRefused) {
		t.Errorf("a silent server: %v", err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	listener.Close()
	if err := silent.Send(t.Context(), message); err == nil || errors.Is(err, tenant.ErrMailRefused) {
		t.Errorf("no server: %v", err)
	}
}

// Mail over a network is never sent in clear.
func TestNetworkNeedsTLS(t *testing.T) {
	s := newServer(t, nil, false)
	_, port, _ := net.SplitHostPort(s.addr)
	host := "127.0.0.2:" + port // this machine under a name that is not taken for it
	err := parse(t, "smtp://"+host).Send(t.Context(), message)
	if err == nil || len(s.texts) != 0 {
		t.Errorf("sent in clear: %v", err)
	}
	stranger, _ := newCertificate(t)
	s = newServer(t, stranger, false)
	_, port, _ = net.SplitHostPort(s.addr)
	err = parse(t, "smtp://127.0.0.2:"+port).Send(t.Context(), message)
	if err == nil || len(s.texts) != 0 {
		t.Errorf("sent to whom nobody vouches for: %v", err)
	}
}

func TestParseURL(t *testing.T) {
	for _, bad := range []string{"", "smtp://", "http://a", "smtp://u:geheim@a/b", "smtp://a:0", "smtp://a:99999", "smtp://u:geheim@a?from=", "smtp://a?from=x&from=y",
		"smtp://u:geheim@a?to=b", "smtp://u:geheim@a?from=nobody", "smtp://u:geheim@a%zz", "smtp://a#b"} {
		if _, err := hibari.ParseURL(bad, public); err == nil || strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "\n") {
			t.Errorf("ParseURL(%q) = %v", bad, err)
		}
	}
	for _, good := range []string{"smtp://mail.example.com", "smtps://u:p@mail.example.com", "smtp://[::1]:2525/?from=a@b.example"} {
		parse(t, good)
	}
}

// Without from, mail comes from the host that people know.
func TestSenderByDefault(t *testing.T) {
	s := newServer(t, nil, false)
	if err := parse(t, "smtp://"+s.addr).Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	if s.from != "hibari@live.example.com" {
		t.Errorf("from %s", s.from)
	}
}

func TestLog(t *testing.T) {
	var text bytes.Buffer
	log := hibari.Log{Log: slog.New(slog.NewTextHandler(&text, nil))}
	if err := log.Send(t.Context(), message); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "reset?t=abc") || !strings.Contains(text.String(), message.To) {
		t.Errorf("log %s", text.String())
	}
}
