package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hibari/hibari/migrations/dbtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"platform": main})
}

// TestScripts drives the command line as an operator does: each file in
// testdata is one session, with ports of its own. $DATABASE_URL is an empty,
// migrated database that a script may use; without it the platform runs its
// private Postgres.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts found: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			url := dbtest.URL(t)
			testscript.Run(t, testscript.Params{
				Files: []string{file},
				Setup: func(env *testscript.Env) error {
					http, media := freePort(t), freePort(t)
					env.Setenv("DATABASE_URL", url)
					env.Setenv("HIBARI_DATA_DIR", filepath.Join(env.WorkDir, "data"))
					env.Setenv("HIBARI_HTTP_ADDR", fmt.Sprintf("127.0.0.1:%d", http))
					env.Setenv("HIBARI_MEDIA_ADDR", fmt.Sprintf("127.0.0.1:%d", media))
					env.Setenv("HIBARI_MEDIA_IPS", "127.0.0.1")
					env.Setenv("URL", fmt.Sprintf("http://127.0.0.1:%d", http))
					env.Setenv("PATH", os.Getenv("PATH")+string(os.PathListSeparator)+env.Getenv("PATH"))
					return nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){"ready": ready, "fetch": fetch, "head": head, "nopostgres": noPostgres},
			})
		})
	}
}

// ready waits until the server at a URL says that it is.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready URL")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0]+"/readyz", nil)
		ts.Check(err)
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("%s was not ready in time: %v", args[0], err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// fetch gets a URL, or posts to it what is in a file, and writes the answer's
// status and body to standard output.
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: fetch URL [FILE]")
	}
	var response *http.Response
	var err error
	if len(args) == 1 {
		response, err = http.Get(args[0])
	} else {
		response, err = http.Post(args[0], "application/json", strings.NewReader(ts.ReadFile(args[1])))
	}
	ts.Check(err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%s\n%s\n", response.Status, body)
}

// head asks a URL with HEAD, as load balancers do, and writes the answer's
// status to standard output.
func head(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: head URL")
	}
	response, err := http.Head(args[0])
	ts.Check(err)
	defer response.Body.Close()
	fmt.Fprintln(ts.Stdout(), response.Status)
}

// noPostgres checks that no Postgres runs on a private data directory.
func noPostgres(ts *testscript.TestScript, neg bool, args []string) {
	_, err := os.Stat(filepath.Join(ts.MkAbs(args[0]), "postgres", "data", "postmaster.pid"))
	if running := err == nil; running != neg {
		ts.Fatalf("Postgres runs: %v", running)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}
