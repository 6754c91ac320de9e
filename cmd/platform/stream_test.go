package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/hibari/hibari/internal/tenant"
)

// A request that gets no stream is refused as any other: by a problem document.
func TestStreamRefusals(t *testing.T) {
	p, url := newServers(t)
	made, _ := p.made(t, "lark", "room")
	biller, _, err := p.tenants.CreateAPIKey(t.Context(), tenant.OperatorScope(made.Tenant), "bills", tenant.Billing)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		query, key string
		status     int
		code       tenant.Code
	}{
		{"", "hib_live_nothing", http.StatusUnauthorized, "unauthorized"},
		{"", biller, http.StatusForbidden, "forbidden"},
		{"?after=-1", made.APIKey, http.StatusBadRequest, tenant.BadMessage},
		{"?after=99999999999999999999", made.APIKey, http.StatusBadRequest, tenant.BadMessage},
		{"?format=sora2014", made.APIKey, http.StatusBadRequest, tenant.BadMessage},
		{"?types=connection.create", made.APIKey, http.StatusBadRequest, tenant.BadMessage},
		{"?channel_id=" + strings.Repeat("x", 256), made.APIKey, http.StatusBadRequest, tenant.BadMessage},
	} {
		_, answer, err := websocket.Dial(t.Context(), url+"/stream"+c.query, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + c.key}}})
		if err == nil || answer == nil {
			t.Errorf("%s: %v", c.query, err)
			continue
		}
		var problem struct {
			Type, Title, Detail string
			Status              int
			Code                tenant.Code
		}
		if err := json.NewDecoder(answer.Body).Decode(&problem); err != nil || answer.StatusCode != c.status || problem.Status != c.status ||
			problem.Code != c.code || problem.Type != "about:blank" || problem.Detail == "" || answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s, %+v, %v; want %d %s", c.query, answer.Status, problem, err, c.status, c.code)
		}
	}
}

// A stream ends when its API key is revoked, here within five seconds.
func TestStreamOfARevokedKey(t *testing.T) {
	t.Parallel()
	p, url := newServers(t)
	made, _ := p.made(t, "lark", "room")
	scope := tenant.OperatorScope(made.Tenant)
	key, k, err := p.tenants.CreateAPIKey(t.Context(), scope, "leaked", tenant.Developer)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	open := func(key string) *websocket.Conn {
		conn, _, err := websocket.Dial(ctx, url+"/stream", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + key}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.CloseNow() })
		if _, _, err := conn.Read(ctx); err != nil { // hello
			t.Fatal(err)
		}
		return conn
	}
	leaked, other := open(key), open(made.APIKey)
	if err := p.tenants.RevokeAPIKey(ctx, scope, k.ID); err != nil {
		t.Fatal(err)
	}
	_, _, err = leaked.Read(ctx)
	var end websocket.CloseError
	if !errors.As(err, &end) || end.Code != websocket.StatusPolicyViolation || !strings.HasPrefix(end.Reason, "unauthorized: ") {
		t.Errorf("ended with %v", err)
	}
	o := tenant.Opening{ConnectionID: tenant.NewID(), Tenant: made.Tenant, Channel: "room", Role: tenant.RecvOnly, ClientID: "c", Protocol: "sora"}
	if _, err := p.ledger.Open(ctx, p.node.ID(), o); err != nil {
		t.Fatal(err)
	}
	if _, _, err := other.Read(ctx); err != nil {
		t.Errorf("the stream of another key: %v", err)
	}
}

// The example of the documentation loses nothing and tells nothing twice, though it
// is killed, told to go elsewhere, and away for longer than the stream goes back.
func TestStreamExample(t *testing.T) {
	t.Parallel()
	p, url := newServers(t)
	made, _ := p.made(t, "lark", "room")
	dir := t.TempDir()
	program, place := filepath.Join(dir, "follow"), filepath.Join(dir, "position.txt")
	if out, err := exec.Command("go", "build", "-o", program, "../../docs/examples/stream-go").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(place, []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	var told []int64
	start := func() (lines *bufio.Scanner, kill func()) {
		cmd := exec.Command(program, place)
		cmd.Env = append(os.Environ(), "HIBARI_URL="+url, "HIBARI_API_KEY="+made.APIKey)
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		kill = sync.OnceFunc(func() { cmd.Process.Kill(); cmd.Wait() })
		t.Cleanup(kill)
		time.AfterFunc(60*time.Second, kill) // so that nothing below waits forever
		return bufio.NewScanner(out), kill
	}
	happen := func() (last int64) {
		if err := p.join(t.Context(), tenant.OperatorScope(made.Tenant), "room"); err != nil {
			t.Fatal(err)
		}
		last, err := p.hooks.LastSeq(t.Context(), tenant.OperatorScope(made.Tenant))
		if err != nil {
			t.Fatal(err)
		}
		return last
	}
	hear := func(lines *bufio.Scanner, last int64) {
		t.Helper()
		for len(told) == 0 || told[len(told)-1] < last {
			if !lines.Scan() {
				t.Fatalf("it ended, having told %v of %d", told, last)
			}
			var e tenant.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				t.Fatalf("%v: %s", err, lines.Bytes())
			}
			told = append(told, e.Seq)
		}
	}
	saved := func(last int64) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if text, err := os.ReadFile(place); err == nil && string(text) == strconv.FormatInt(last, 10) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("the position is not saved")
			}
		}
	}
	lines, kill := start()
	hear(lines, happen())
	p.hooks.MoveStreams()
	hear(lines, happen())
	saved(told[len(told)-1])
	kill()
	happen()
	if _, err := p.db.Exec(t.Context(), `update event set recorded_at = clock_timestamp() - interval '25 hours' where tenant_id = $1`, made.Tenant); err != nil {
		t.Fatal(err)
	}
	lines, _ = start()
	hear(lines, happen())
	for i, seq := range told {
		if seq != int64(i+1) {
			t.Fatalf("told %v", told)
		}
	}
}
