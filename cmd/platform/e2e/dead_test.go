package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations/dbtest"
)

// bridge is a way to Postgres that a test can cut.
type bridge struct {
	url              string
	network, address string // of Postgres

	mu sync.Mutex
	// Guarded by mu
	cut   bool
	conns map[net.Conn]struct{}
}

// newBridge leads to the database behind a URL.
func newBridge(t *testing.T, to string) *bridge {
	t.Helper()
	config, err := pgconn.ParseConfig(to)
	if err != nil {
		t.Fatal(err)
	}
	b := &bridge{conns: map[net.Conn]struct{}{}}
	b.network, b.address = pgconn.NetworkAddress(config.Host, config.Port)
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(dir, fmt.Sprintf(".s.PGSQL.%d", config.Port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close(); b.set(true) })
	b.url = "postgres:///" + config.Database + "?" + url.Values{"host": {dir}, "port": {fmt.Sprint(config.Port)},
		"user": {config.User}, "password": {config.Password}}.Encode()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go b.carry(conn)
		}
	}()
	return b
}

// set cuts the bridge, or mends it.
func (b *bridge) set(cut bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.cut = cut
	if cut {
		for c := range b.conns {
			c.Close()
		}
		clear(b.conns)
	}
}

func (b *bridge) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial(b.network, b.address)
	if err != nil {
		return
	}
	defer server.Close()
	b.mu.Lock()
	cut := b.cut
	if !cut {
		b.conns[client], b.conns[server] = struct{}{}, struct{}{}
	}
	b.mu.Unlock()
	if cut {
		return
	}
	go func() { io.Copy(server, client); server.Close() }()
	io.Copy(client, server)
}

// TestNodeTakenForDead cuts a node off for longer than its lease, from the database
// alone or by stopping its process, while another one takes some of its places. When
// it is back its calls go on as connections of their own, but for the newest, for
// which there is no place.
func TestNodeTakenForDead(t *testing.T) {
	t.Run("cut off", func(t *testing.T) { t.Parallel(); testTakenForDead(t, false) })
	t.Run("frozen", func(t *testing.T) { t.Parallel(); testTakenForDead(t, true) })
}

func testTakenForDead(t *testing.T, frozen bool) {
	direct := dbtest.URL(t)
	way := newBridge(t, direct)
	first := newServer(t, "HIBARI_DATABASE_URL="+way.url)
	second := newServer(t, "HIBARI_DATABASE_URL="+direct, "HIBARI_MASTER_KEY="+masterKeyOf(t, first))
	a := first.tenant("Lark", "--licence", "6")
	token, hall := first.token(a, "hello", "recvonly"), first.token(a, "hall", "recvonly")
	calls := []*client2015{mustDial2015(t, first, "upstream", "hello", first.token(a, "hello", "sendonly"))}
	for range 3 {
		v := mustDial2015(t, first, "downstream", "hello", token)
		eventually(t, "media flows", func() bool { return v.video.Load() > 10 })
		calls = append(calls, v)
	}
	created := 0
	first.events(a, "?after=0", func(e tenant.Event) bool {
		if e.Type == tenant.ConnectionCreated {
			created++
		}
		return created == len(calls)
	})

	cutAt := time.Now()
	if frozen {
		first.cmd.Process.Signal(syscall.SIGSTOP)
		defer first.cmd.Process.Signal(syscall.SIGCONT)
	} else {
		way.set(true)
		eventually(t, "the first node knows", func() bool { return first.metric("hibari_database_away") == "1" })
		calls = append(calls, mustDial2015(t, first, "downstream", "hello", token))
	}
	taken := 0
	within(t, 2*time.Minute, "the first node's places are free", func() bool {
		if _, err := dial2015(t, second, "downstream", "hall", hall); err == nil {
			taken++
		}
		return taken == 3
	})
	endedAt := time.Now()
	if frozen {
		first.cmd.Process.Signal(syscall.SIGCONT)
	} else {
		before := calls[1].video.Load()
		eventually(t, "media goes on", func() bool { return calls[1].video.Load() > before+10 })
		way.set(false)
	}

	stay, go_ := calls[:3], calls[3:]
	for _, c := range go_ {
		select {
		case <-c.ended:
		case <-time.After(patience):
			t.Fatal("who has no place is not ended")
		}
		if !strings.HasPrefix(c.endText, "unavailable") {
			t.Errorf("who has no place was told %d %s", c.endCode, c.endText)
		}
	}
	eventually(t, "the others are entered anew", func() bool { return len(second.connections(a)) == 6 })
	before := stay[2].video.Load()
	eventually(t, "media goes on", func() bool { return stay[2].video.Load() > before+10 })
	for _, c := range stay {
		select {
		case <-c.ended:
			t.Errorf("a call that has a place was ended: %d %s", c.endCode, c.endText)
		default:
		}
	}
	first.ready()

	// What was, and what continues it.
	anew := map[string]string{} // by the earlier id
	all := first.events(a, "?after=0", func(e tenant.Event) bool {
		if e.Type == tenant.ConnectionCreated {
			var data struct {
				Previous string `json:"previous_connection_id"`
			}
			if err := json.Unmarshal(e.Data, &data); err != nil {
				t.Fatal(err)
			}
			if data.Previous != "" {
				anew[data.Previous] = e.ConnectionID
			}
		}
		return len(anew) == 3
	})
	lost := map[string]time.Time{}
	for _, e := range all {
		if e.Type == tenant.ConnectionDestroyed && strings.Contains(string(e.Data), tenant.EndNodeLost) {
			if !lost[e.ConnectionID].IsZero() {
				t.Errorf("%s was destroyed twice", e.ConnectionID)
			}
			lost[e.ConnectionID] = e.Timestamp
		}
	}
	if len(lost) != 4 {
		t.Errorf("lost were %v", lost)
	}
	for _, c := range stay {
		if lost[c.id].IsZero() || lost[c.id].After(cutAt.Add(time.Second)) {
			t.Errorf("%s was lost at %s, cut off at %s", c.id, lost[c.id], cutAt)
		}
		if anew[c.id] == "" {
			t.Fatalf("%s is not continued: %v", c.id, anew)
		}
	}
	for _, e := range all {
		if e.ConnectionID == anew[stay[0].id] && e.Timestamp.Before(endedAt.Add(-time.Second)) {
			t.Errorf("%s of what was entered anew is of %s, before %s", e.Type, e.Timestamp, endedAt)
		}
	}

	// Each of the ids finds it, from either node.
	for i, end := range []struct {
		s      *server
		id     string
		client *client2015
	}{{second, stay[1].id, stay[1]}, {second, anew[stay[2].id], stay[2]}, {first, anew[stay[0].id], stay[0]}} {
		status, body := end.s.action(a, "Sora_20151104.Disconnect", map[string]string{"channelId": "hello", "clientId": end.id})
		if status != http.StatusOK {
			t.Fatalf("Disconnect %d answered %d %s", i, status, body)
		}
		select {
		case <-end.client.ended:
		case <-time.After(patience):
			t.Fatalf("Disconnect %d did nothing", i)
		}
	}
	eventually(t, "they are gone", func() bool { return len(second.connections(a)) == 3 })
	mustDial2015(t, first, "downstream", "hello", token)
	first.wantNoDrift(direct, a, 4)
}
