package suite

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hibari/hibari/cmd/platform/load"
	"github.com/hibari/hibari/migrations/privatepg"
)

const (
	account      = "bench@example.com"
	startTimeout = 60 * time.Second // the first start makes a database
	stopTimeout  = 30 * time.Second
)

// bench runs the platform's binary in its different roles.
type bench struct {
	Config
	dir      string // of the data directory
	cores    cores
	database *privatepg.Cluster // held for the servers
	token    string             // for all channels
}

// server is a running server of either kind.
type server struct {
	cmd            *exec.Cmd
	done           chan struct{} // closed when the process is gone
	signaling      string
	metrics, token string
}

// sharedLog lets several processes and the suite write to one log.
type sharedLog struct {
	mu  sync.Mutex // guards out
	out io.Writer
}

func (l *sharedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.out.Write(b)
}

// close lets go of the database, which stops, and removes the data directory.
func (b *bench) close() error {
	var err error
	if b.database != nil {
		err = b.database.Close()
	}
	return errors.Join(err, os.RemoveAll(b.dir))
}

// dataDir is the servers' HIBARI_DATA_DIR.
func (b *bench) dataDir() string { return filepath.Join(b.dir, "data") }

// command is the binary with settings of its own and no others.
func (b *bench) command(ctx context.Context, settings []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.Binary, args...)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "HIBARI_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HIBARI_DATA_DIR="+b.dataDir(), "HIBARI_LOG=warn")
	cmd.Env = append(cmd.Env, settings...)
	cmd.Stderr = b.Log
	return cmd
}

// newBench makes a data directory; close removes it.
func newBench(c Config) (*bench, error) {
	dir, err := os.MkdirTemp("", "hibari-bench-")
	if err != nil {
		return nil, err
	}
	// As root, Postgres runs as somebody else, who must get through.
	if err := os.Chmod(dir, 0o711); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	c.Log = &sharedLog{out: c.Log}
	return &bench{Config: c, dir: dir, cores: shareCores()}, nil
}

// prepare starts the database, and makes a tenant with a token for all channels.
// The suite holds the private Postgres from before the first server to after the
// last, so that no server starts one as its child, on its own core: where a
// platform serves many, Postgres is on another machine.
func (b *bench) prepare(ctx context.Context) error {
	fmt.Fprintln(b.Log, "preparing a database")
	err := b.cores.on(b.cores.tool, func() (err error) {
		b.database, err = privatepg.Open(ctx, filepath.Join(b.dataDir(), "postgres"), slog.New(slog.DiscardHandler))
		return err
	})
	if err != nil {
		return err
	}
	for _, args := range [][]string{
		{"tenant", "create", "-name", "Bench", "-email", account},
		{"licence", "set", "-tenant", account, "-connections", "10000", "-per-channel", "10000"},
	} {
		if err := b.command(ctx, nil, args...).Run(); err != nil {
			return fmt.Errorf("couldn't prepare (%s): %w", strings.Join(args[:2], " "), err)
		}
	}
	token, err := b.command(ctx, nil, "token", "-tenant", account, "-channel", "bench*", "-ttl", "2h").Output()
	if err != nil {
		return fmt.Errorf("couldn't sign a token: %w", err)
	}
	b.token = strings.TrimSpace(string(token))
	return nil
}

// startHibari starts a platform on the data directory.
func (b *bench) startHibari(ctx context.Context) (*server, error) {
	http, err := freePort("tcp")
	if err != nil {
		return nil, err
	}
	media, err := freePort("udp")
	if err != nil {
		return nil, err
	}
	s := &server{
		cmd: b.command(ctx, []string{
			"HIBARI_HTTP_ADDR=" + http, "HIBARI_MEDIA_ADDR=" + media, "HIBARI_MEDIA_IPS=127.0.0.1", "HIBARI_PUBLIC_URL=http://" + http,
		}, "serve"),
		signaling: "ws://" + http + "/signaling",
		metrics:   "http://" + http + "/metrics",
		token:     b.token,
	}
	return s, b.start(s, "http://")
}

// startNaive starts a yardstick.
func (b *bench) startNaive(ctx context.Context) (*server, error) {
	http, err := freePort("tcp")
	if err != nil {
		return nil, err
	}
	media, err := freePort("udp")
	if err != nil {
		return nil, err
	}
	s := &server{
		cmd:       b.command(ctx, nil, "bench", "naive", "-signaling", http, "-media", media),
		signaling: "ws://" + http + "/signaling",
	}
	return s, b.start(s, "ws://")
}

// start starts a server on its cores and waits for the line that says it is
// ready, which has the mark in it.
func (b *bench) start(s *server, mark string) error {
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	s.done = make(chan struct{})
	// A Ctrl-C reaches the whole group; the servers end when they are told.
	s.cmd.SysProcAttr = ownGroup()
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = stopTimeout
	if err := b.cores.start(s.cmd, b.cores.server); err != nil {
		return fmt.Errorf("couldn't start: %w", err)
	}
	ready := make(chan struct{})
	go func() {
		defer close(s.done)
		lines := bufio.NewScanner(out)
		for once := ready; lines.Scan(); {
			if once != nil && strings.Contains(lines.Text(), mark) {
				close(once)
				once = nil
			}
		}
		_ = s.cmd.Wait() // its log says why
	}()
	select {
	case <-ready:
		return nil
	case <-s.done:
		return errors.New("the server ended before it was ready")
	case <-time.After(startTimeout):
		s.stop()
		return errors.New("the server was not ready in time")
	}
}

// stop ends a server and returns when it is gone.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may be gone
	select {
	case <-s.done:
	case <-time.After(stopTimeout):
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// load runs platform bench against a server.
func (b *bench) load(ctx context.Context, s *server, l Load) (load.Report, error) {
	args := append([]string{"bench", "-json", "-url", s.signaling, "-pid", fmt.Sprint(s.cmd.Process.Pid),
		"-warmup", "500ms", "-duration", cmp.Or(l.duration, b.Duration).String()}, l.args...)
	if s.metrics != "" {
		args = append(args, "-metrics", s.metrics, "-token", s.token)
	}
	cmd := b.command(ctx, nil, args...)
	var problem strings.Builder
	cmd.Stderr = &problem
	out, err := cmd.StdoutPipe()
	if err != nil {
		return load.Report{}, err
	}
	if err := b.cores.start(cmd, b.cores.tool); err != nil {
		return load.Report{}, fmt.Errorf("couldn't start the load: %w", err)
	}
	var report load.Report
	decoding := json.NewDecoder(out).Decode(&report)
	if err := cmd.Wait(); err != nil {
		lines := strings.Split(strings.TrimSpace(problem.String()), "\n")
		if len(lines) > 1 { // it broke: where says more than that
			fmt.Fprintln(b.Log, problem.String())
		}
		return load.Report{}, fmt.Errorf("%w: %s", err, lines[len(lines)-1])
	}
	return report, decoding
}

// freePort is a loopback address that is free now.
func freePort(network string) (string, error) {
	if network == "udp" {
		c, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		defer c.Close()
		return c.LocalAddr().String(), nil
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
