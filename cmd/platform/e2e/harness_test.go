// Package e2e tests the built platform as its users meet it: a browser, the
// client SDKs from npm, a tenant's server, an operator at the command line,
// and kill -9.
package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hibari/hibari/migrations/dbtest"
)

// patience is how long a condition may take to come true on a busy machine.
const patience = 30 * time.Second

// binary is the platform, built once for all tests.
var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hibari-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binary = filepath.Join(dir, "platform")
	build := exec.Command("go", "build", "-race", "-o", binary, "../")
	build.Stderr = os.Stderr
	code := 1
	if err := build.Run(); err == nil {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// server is one running platform.
type server struct {
	t       *testing.T
	binary  string
	url     string // http://127.0.0.1:…
	env     []string
	cmd     *exec.Cmd
	exited  chan struct{} // closed when the process is gone
	exitErr error         // valid after exited
	log     *lockedBuffer
}

// lockedBuffer collects the server's output.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// newServer starts a platform with its own database, data directory and
// ports, and stops it when the test ends. More settings may be given as
// NAME=value.
func newServer(t *testing.T, settings ...string) *server {
	t.Helper()
	return newServerOf(t, binary, append([]string{"HIBARI_DATABASE_URL=" + dbtest.URL(t)}, settings...)...)
}

// newServerOf is newServer of another make of the platform, on a database that the
// settings name.
func newServerOf(t *testing.T, binary string, settings ...string) *server {
	t.Helper()
	s := &server{t: t, binary: binary}
	http, media := freePort(t, "tcp"), freePort(t, "udp")
	s.url = fmt.Sprintf("http://127.0.0.1:%d", http)
	s.env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"),
		fmt.Sprintf("HIBARI_HTTP_ADDR=127.0.0.1:%d", http),
		fmt.Sprintf("HIBARI_PUBLIC_URL=%s", s.url),
		fmt.Sprintf("HIBARI_MEDIA_ADDR=:%d", media),
		"HIBARI_MEDIA_IPS=127.0.0.1",
		"HIBARI_DATA_DIR=" + t.TempDir(),
		"HIBARI_EGRESS_ALLOW=127.0.0.0/8",
	}, settings...)
	s.start()
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("server log:\n%s", s.log)
		}
	})
	return s
}

// start runs the process and waits for the line that says it is ready.
func (s *server) start() {
	s.t.Helper()
	if err := s.tryStart(); err != nil {
		s.t.Fatal(err)
	}
}

// tryStart is start where it may fail. Then the process is gone.
func (s *server) tryStart() error {
	s.cmd = exec.Command(s.binary, "serve")
	s.cmd.Env = s.env
	s.log = &lockedBuffer{}
	s.cmd.Stderr = s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	ready := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if strings.Contains(lines.Text(), s.url) {
				ready <- lines.Text()
			}
		}
		s.exitErr = s.cmd.Wait()
		close(s.exited)
	}()
	select {
	case <-ready:
		return nil
	case <-s.exited:
		return fmt.Errorf("the platform ended at its start: %v\n%s", s.exitErr, s.log)
	case <-time.After(patience):
		s.kill()
		return fmt.Errorf("the platform was not ready in %s\n%s", patience, s.log)
	}
}

// stop interrupts the process, as Ctrl-C does, and checks its exit.
func (s *server) stop() {
	s.t.Helper()
	select {
	case <-s.exited:
		return
	default:
	}
	s.cmd.Process.Signal(os.Interrupt)
	select {
	case <-s.exited:
	case <-time.After(patience):
		s.cmd.Process.Signal(syscall.SIGQUIT) // shows where it hangs
		<-s.exited
		s.t.Errorf("the platform did not stop in %s", patience)
	}
	if s.exitErr != nil {
		s.t.Errorf("the platform ended with %v\n%s", s.exitErr, s.log)
	}
	if strings.Contains(s.log.String(), "DATA RACE") {
		s.t.Errorf("the race detector spoke:\n%s", s.log)
	}
}

// kill is kill -9.
func (s *server) kill() {
	s.cmd.Process.Kill()
	<-s.exited
}

// run runs one of the platform's commands against the server's database and
// returns its standard output.
func (s *server) run(input string, args ...string) string {
	s.t.Helper()
	cmd := exec.Command(s.binary, args...)
	cmd.Env = s.env
	cmd.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("platform %s: %v\n%s", strings.Join(args, " "), err, stderr.String())
	}
	return strings.TrimSpace(string(out))
}

// account is a tenant with its secrets.
type account struct {
	Tenant       string `json:"tenant_id"`
	APIKey       string `json:"api_key"`
	SigningKeyID string `json:"signing_key_id"`
	SigningKey   string `json:"signing_key"`
	Email        string `json:"email"`
}

const password = "correct horse battery"

// tenant makes a tenant with the command line.
func (s *server) tenant(name string, args ...string) account {
	s.t.Helper()
	email := strings.ToLower(name) + "@example.com"
	out := s.run(password+"\n", append([]string{"tenant", "create", "--name", name, "--email", email, "--password-stdin", "--json"}, args...)...)
	var a account
	if err := json.Unmarshal([]byte(out), &a); err != nil {
		s.t.Fatalf("tenant create printed %q: %v", out, err)
	}
	return a
}

// token signs an access token with the command line.
func (s *server) token(a account, channel, role string) string {
	s.t.Helper()
	return s.run("", "token", "--tenant", a.Tenant, "--channel", channel, "--role", role)
}

// action calls the Action API and returns the status and the body.
func (s *server) action(a account, target string, body any) (int, string) {
	s.t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, s.url+"/", bytes.NewReader(encoded))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+a.APIKey)
	r.Header.Set("x-sora-target", target)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

// metric returns the value of one of the server's figures, as /metrics has it.
func (s *server) metric(name string) string {
	s.t.Helper()
	response, err := http.Get(s.url + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return value
		}
	}
	s.t.Fatalf("there is no figure %s", name)
	return ""
}

// connections lists a tenant's live connections by the Action API.
func (s *server) connections(a account) (list []struct{ ConnectionID, ChannelID, Role string }) {
	s.t.Helper()
	status, body := s.action(a, "Sora_20151104.ListConnections", struct{}{})
	var rows []struct {
		ConnectionID string `json:"connection_id"`
		ChannelID    string `json:"channel_id"`
		Role         string `json:"role"`
	}
	if err := json.Unmarshal([]byte(body), &rows); err != nil || status != http.StatusOK {
		s.t.Fatalf("ListConnections answered %d %s", status, body)
	}
	for _, row := range rows {
		list = append(list, struct{ ConnectionID, ChannelID, Role string }{row.ConnectionID, row.ChannelID, row.Role})
	}
	return list
}

// eventually fails the test unless the condition comes true in time.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	within(t, patience, what, condition)
}

// within is eventually with a time of its own.
func within(t *testing.T, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("not in %s: %s", limit, what)
		}
		time.Sleep(50 * time.Millisecond) // between two looks at another process
	}
}

// freePort returns a port that was free a moment ago.
func freePort(t *testing.T, network string) int {
	t.Helper()
	if network == "udp" {
		conn, err := net.ListenPacket("udp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.LocalAddr().(*net.UDPAddr).Port
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
