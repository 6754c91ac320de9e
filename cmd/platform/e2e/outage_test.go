package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
)

// setting returns the last value of a setting the server was given.
func (s *server) setting(name string) (value string) {
	for _, e := range s.env {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = v
		}
	}
	return value
}

// privatePostgres connects to the server's private Postgres and returns the
// process number of its postmaster.
func (s *server) privatePostgres() (*pgx.Conn, int) {
	s.t.Helper()
	dir := filepath.Join(s.setting("HIBARI_DATA_DIR"), "postgres")
	password, err := os.ReadFile(filepath.Join(dir, "password"))
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		s.t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	pid, err := strconv.Atoi(lines[0])
	if err != nil {
		s.t.Fatal(err)
	}
	conn, err := pgx.Connect(s.t.Context(), "postgres:///hibari?"+url.Values{"host": {lines[4]}, "port": {lines[3]},
		"user": {"hibari"}, "password": {strings.TrimSpace(string(password))}}.Encode())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close(s.t.Context()) })
	return conn, pid
}

// ready waits until the server may take new channels: it has its database.
func (s *server) ready() {
	s.t.Helper()
	eventually(s.t, "the server is ready", func() bool {
		w, err := http.Get(s.url + "/readyz")
		if err != nil {
			return false
		}
		w.Body.Close()
		return w.StatusCode == http.StatusOK
	})
}

// wantEnd waits for the event that c was destroyed and checks when.
func (s *server) wantEnd(a account, c *client2015, at time.Time) {
	s.t.Helper()
	all := s.events(a, "?after=0", func(e tenant.Event) bool {
		return e.Type == tenant.ConnectionDestroyed && e.ConnectionID == c.id
	})
	created := 0
	for i, e := range all {
		if e.Seq != int64(i+1) {
			s.t.Errorf("event %d has seq %d", i+1, e.Seq)
		}
		if e.Type == tenant.ConnectionCreated && e.ConnectionID == c.id {
			created++
		}
	}
	end := all[len(all)-1]
	if off := end.Timestamp.Sub(at).Abs(); created != 1 || off > 2*time.Second {
		s.t.Errorf("%d times created, and the end is %s off: %s", created, off, end.Data)
	}
}

// TestPostgresHangsAndDies takes the database away under live calls, in both
// ways a database can go. Calls go on, newcomers are let into live channels, others
// and the tenant's server are told soon, and what came and went meanwhile is written
// with its true time.
func TestPostgresHangsAndDies(t *testing.T) {
	s := newServer(t, "HIBARI_DATABASE_URL=")
	a := s.tenant("Lark")
	mustDial2015(t, s, "upstream", "hello", s.token(a, "hello", "sendonly"))
	var viewers []*client2015
	for range 3 {
		viewers = append(viewers, mustDial2015(t, s, "downstream", "hello", s.token(a, "hello", "recvonly")))
	}
	created := 0
	s.events(a, "?after=0", func(e tenant.Event) bool {
		if e.Type == tenant.ConnectionCreated {
			created++
		}
		return created == 4
	})
	token, elsewhere := s.token(a, "hello", "recvonly"), s.token(a, "hall", "recvonly")
	db, postmaster := s.privatePostgres()

	// It hangs: nothing is refused, and nothing is answered.
	hang, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hang.Exec(t.Context(), `lock table tenant_live, connection, live_connection, api_key`); err != nil {
		t.Fatal(err)
	}
	hung := time.Now()
	asked := make(chan string, 1)
	go func() { // s.action would fail the test from here
		r, err := http.NewRequest(http.MethodPost, s.url+"/", strings.NewReader("{}"))
		if err != nil {
			panic(err)
		}
		r.Header.Set("Authorization", "Bearer "+a.APIKey)
		r.Header.Set("x-sora-target", "Sora_20151104.ListConnections")
		w, err := http.DefaultClient.Do(r)
		if err != nil {
			asked <- err.Error()
			return
		}
		defer w.Body.Close()
		var doc struct{ Code string }
		json.NewDecoder(w.Body).Decode(&doc)
		asked <- doc.Code
	}()
	viewers[0].close()
	ended := time.Now()
	if _, err := dial2015(t, s, "downstream", "hall", elsewhere); err == nil || !strings.HasPrefix(err.Error(), "unavailable") {
		t.Errorf("who came to a new channel was told %v", err)
	}
	late := mustDial2015(t, s, "downstream", "hello", token)
	if code := <-asked; code != "unavailable" {
		t.Errorf("the tenant's server was told %s", code)
	}
	if took := time.Since(hung); took > 20*time.Second { // 5 and 10, and what a busy machine adds
		t.Errorf("they were told after %s", took)
	}
	before := viewers[1].video.Load()
	eventually(t, "media goes on", func() bool { return viewers[1].video.Load() > before+10 && late.video.Load() > 10 })
	late.close()
	gone := time.Now()
	if err := hang.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.wantEnd(a, viewers[0], ended)
	s.wantEnd(a, late, gone)

	// It dies: the platform brings its own back.
	if err := syscall.Kill(postmaster, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	viewers[1].close()
	ended = time.Now()
	eventually(t, "newcomers are let in again", func() bool {
		_, err := dial2015(t, s, "downstream", "hello", token)
		return err == nil
	})
	s.ready()
	s.wantEnd(a, viewers[1], ended)
	before = viewers[2].video.Load()
	eventually(t, "media goes on", func() bool { return viewers[2].video.Load() > before+10 })
}

// twoNodes runs two platforms on one database, each with its own URL.
func twoNodes(t *testing.T) (first, second *server) {
	t.Helper()
	first = newServer(t)
	second = newServer(t, "HIBARI_DATABASE_URL="+first.setting("HIBARI_DATABASE_URL"), "HIBARI_MASTER_KEY="+masterKeyOf(t, first))
	return first, second
}

// TestTwoNodes runs two platforms on one database: one licence, one set of
// connections to command, and one set of books when a node dies.
func TestTwoNodes(t *testing.T) {
	first, second := twoNodes(t)
	a := first.tenant("Lark", "--licence", "2")
	token := first.token(a, "hello", "recvonly")
	var there *client2015
	eventually(t, "the second node knows the new tenant", func() bool {
		var err error
		there, err = dial2015(t, second, "downstream", "hello", token)
		return err == nil
	})
	mustDial2015(t, first, "downstream", "hall", first.token(a, "hall", "recvonly")) // a channel lives on one node
	for _, s := range []*server{first, second} {
		if _, err := dial2015(t, s, "downstream", "hello", token); err == nil || !strings.HasPrefix(err.Error(), "tenant_full") {
			t.Errorf("one too many was told %v", err)
		}
	}
	clicked := time.Now()
	status, body := first.action(a, "Sora_20151104.Disconnect", map[string]string{"channelId": "hello", "clientId": there.id})
	if status != http.StatusOK {
		t.Fatalf("Disconnect answered %d %s", status, body)
	}
	<-there.ended
	if took := time.Since(clicked); took > 3*time.Second || there.endText != "DISCONNECTED-API" { // a second, and what a busy machine adds
		t.Errorf("the other node's connection ended after %s with %q", took, there.endText)
	}
	eventually(t, "its place is free", func() bool { return len(second.connections(a)) == 1 })
}

// masterKeyOf reads the key that a server made on its first run.
func masterKeyOf(t *testing.T, s *server) string {
	t.Helper()
	key, err := os.ReadFile(filepath.Join(s.setting("HIBARI_DATA_DIR"), "master.key"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(key))
}
