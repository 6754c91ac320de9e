package dbtest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hibari/hibari/migrations/privatepg"
)

// Nothing tells a package when its test process ends, so the process starts
// itself once more as a keeper. The keeper holds on to the cluster until the
// pipe to the tests breaks, and then a while longer, for the next package.

// keeperEnv makes a test binary a keeper.
const keeperEnv = "HIBARI_DBTEST_KEEPER"

// linger is how long the server waits for the next test process.
const linger = 15 * time.Second

// server is where this process's tests make their databases.
type server struct {
	url string
	// input is the keeper's and never written to. The kernel closes it with the
	// process; here it is only kept from the garbage collector, which would do
	// so earlier.
	input io.WriteCloser
}

// theServer returns the server for this process's tests.
var theServer = sync.OnceValues(func() (server, error) {
	if url := os.Getenv("HIBARI_TEST_DATABASE_URL"); url != "" {
		return server{url: url}, nil
	}
	return startKeeper()
})

func init() {
	if os.Getenv(keeperEnv) != "" {
		runKeeper(os.Getenv(keeperEnv))
		os.Exit(0)
	}
}

// startKeeper returns when the cluster takes connections.
func startKeeper() (server, error) {
	dir := filepath.Join(os.TempDir(), "hibari-test-"+strconv.Itoa(os.Geteuid()))
	if err := claim(dir); err != nil {
		return server{}, err
	}
	program, err := os.Executable()
	if err != nil {
		return server{}, err
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), keeperEnv+"="+dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // Ctrl-C ends the tests, and so the keeper
	input, err := cmd.StdinPipe()
	if err != nil {
		return server{}, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return server{}, err
	}
	if err := cmd.Start(); err != nil {
		return server{}, fmt.Errorf("couldn't start the keeper of the test Postgres: %w", err)
	}
	defer stdout.Close()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return server{}, fmt.Errorf("couldn't hear from the keeper of the test Postgres: %w", err)
	}
	line = strings.TrimSpace(line)
	if !strings.HasPrefix(line, "postgres://") {
		return server{}, fmt.Errorf("%s (test cluster: %s)", line, dir)
	}
	return server{onDatabase(line, "postgres"), input}, nil
}

// claim makes dir, or finds it to be ours: the temporary folder is everybody's.
func claim(dir string) error {
	if err := os.Mkdir(dir, 0o711); err == nil || !os.IsExist(err) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to somebody else; remove it", dir)
	}
	return nil
}

// runKeeper is the whole life of a keeper.
func runKeeper(dir string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := privatepg.Open(ctx, filepath.Join(dir, "postgres"), slog.New(slog.DiscardHandler),
		privatepg.Volatile(), privatepg.MaxConnections(300))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(c.URL())
	io.Copy(io.Discard, os.Stdin)
	time.Sleep(linger)
	c.Close() // nobody is left to be told
}
