package e2e

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/pion/webrtc/v4"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations/privatepg"
)

// away is how long the database is away in these tests.
const away = time.Minute

// ownPostgres is a server that a test may stop.
type ownPostgres struct {
	t       *testing.T
	dir     string
	cluster *privatepg.Cluster
}

func newPostgres(t *testing.T) *ownPostgres {
	t.Helper()
	p := &ownPostgres{t: t, dir: filepath.Join(t.TempDir(), "postgres")}
	p.start()
	t.Cleanup(func() { p.cluster.Close() })
	return p
}

func (p *ownPostgres) start() {
	p.t.Helper()
	c, err := privatepg.Open(p.t.Context(), p.dir, slog.New(slog.DiscardHandler), privatepg.Volatile())
	if err != nil {
		p.t.Fatal(err)
	}
	p.cluster = c
}

// postmaster is the server's first process.
func (p *ownPostgres) postmaster() int {
	p.t.Helper()
	text, err := os.ReadFile(filepath.Join(p.dir, "data", "postmaster.pid"))
	if err != nil {
		p.t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Split(string(text), "\n")[0])
	if err != nil {
		p.t.Fatal(err)
	}
	return pid
}

// processes are all of the server's.
func (p *ownPostgres) processes() []int {
	p.t.Helper()
	pid := p.postmaster()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		p.t.Fatal(err)
	}
	all := []int{pid}
	for _, word := range strings.Fields(string(text)) {
		child, err := strconv.Atoi(word)
		if err != nil {
			p.t.Fatal(err)
		}
		all = append(all, child)
	}
	return all
}

func (p *ownPostgres) signal(signal syscall.Signal, pids ...int) {
	p.t.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, signal); err != nil && err != syscall.ESRCH {
			p.t.Fatal(err)
		}
	}
}

// visit is one stay of a client in a channel, as the client saw it.
type visit struct {
	id                    string
	came, connected, left time.Time
}

// churn has clients come to a channel and leave it, one after the other, until stop
// is closed.
func churn(t *testing.T, s *server, channel, token string, stop <-chan struct{}) (visits []visit) {
	for {
		select {
		case <-stop:
			return visits
		default:
		}
		begun := time.Now()
		c, err := dial2015(t, s, "downstream", channel, token)
		if err != nil {
			if !atLimit(err.Error()) {
				t.Errorf("after %s a newcomer was told %v", time.Since(begun), err)
				return visits
			}
			continue
		}
		v := visit{id: c.id, came: time.Now()}
		deadline := time.Now().Add(patience)
		for c.video.Load() == 0 && time.Now().Before(deadline) {
			time.Sleep(10 * time.Millisecond)
		}
		v.connected = time.Now()
		for before := c.video.Load(); c.video.Load() < before+20 && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		if time.Now().After(deadline) {
			t.Error("a newcomer got no media")
		}
		v.left = time.Now()
		c.close()
		visits = append(visits, v)
	}
}

// TestPostgresAwayForAMinute takes the database away for a minute, in both ways in
// which it can be, while clients come and go all the time. No call ends, live
// channels let clients in, new ones do not start, and when it is back the ledger has
// what the clients saw.
func TestPostgresAwayForAMinute(t *testing.T) {
	for name, outage := range map[string]func(*ownPostgres) (end func()){
		"stopped": func(p *ownPostgres) func() {
			p.signal(syscall.SIGQUIT, p.postmaster()) // pg_ctl stop -m immediate
			eventually(p.t, "Postgres has stopped", func() bool {
				_, err := os.Stat(filepath.Join(p.dir, "data", "postmaster.pid"))
				return os.IsNotExist(err)
			})
			return func() { p.cluster.Close(); p.start() }
		},
		"frozen": func(p *ownPostgres) func() {
			all := p.processes()
			p.signal(syscall.SIGSTOP, all...)
			return func() { p.signal(syscall.SIGCONT, all...) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testAway(t, outage)
		})
	}
}

func testAway(t *testing.T, outage func(*ownPostgres) (end func())) {
	postgres := newPostgres(t)
	s := newServer(t, "HIBARI_DATABASE_URL="+postgres.cluster.URL())
	a := s.tenant("Lark")
	questions := s.askedFrom(t, a) // also while the database is away
	up := mustDial2015(t, s, "upstream", "hello", s.token(a, "hello", "sendonly"))
	token, elsewhere := s.token(a, "hello", "recvonly"), s.token(a, "hall", "recvonly")
	var steady []*client2015
	for range 2 {
		steady = append(steady, mustDial2015(t, s, "downstream", "hello", token))
	}
	leaver := mustDial2015(t, s, "downstream", "hello", token) // leaves meanwhile
	thrown := mustDial2015(t, s, "downstream", "hello", token) // is ended meanwhile
	s.connections(a)                                           // the tenant's server is known
	stop := make(chan struct{})
	var churners sync.WaitGroup
	visits := make([][]visit, 3)
	for i := range visits {
		churners.Go(func() { visits[i] = churn(t, s, "hello", token, stop) })
	}
	calm := func() { // some come and go with the database there
		from := time.Now()
		eventually(t, "time passes", func() bool { return time.Since(from) > 3*time.Second })
	}
	calm()
	begun, askedBefore := time.Now(), questions.Load()
	back := outage(postgres)
	leaver.close()
	left := time.Now()
	if _, err := dial2015(t, s, "downstream", "hall", elsewhere); err == nil || !strings.HasPrefix(err.Error(), "unavailable") {
		t.Errorf("who came to a new channel was told %v", err)
	}
	if s.metric("hibari_database_away") != "1" {
		t.Error("it is not known to be away")
	}
	asked := time.Now()
	if status, body := s.action(a, "Sora_20151104.Disconnect", map[string]string{"channelId": "hello", "clientId": thrown.id}); status != http.StatusOK {
		t.Errorf("Disconnect was answered %d %s", status, body)
	}
	if <-thrown.ended; thrown.endText != "DISCONNECTED-API" {
		t.Errorf("it ended with %q", thrown.endText)
	}
	gone := time.Now()
	if status, body := s.action(a, "Sora_20151104.ListConnections", struct{}{}); status != http.StatusServiceUnavailable || !strings.Contains(body, `"unavailable"`) {
		t.Errorf("ListConnections was answered %d %s", status, body)
	}
	t.Logf("ended after %s, and the list refused after %s more", gone.Sub(asked), time.Since(gone))
	begunWHEP := time.Now()
	r, err := http.NewRequest(http.MethodPost, s.url+"/whep/hall", strings.NewReader(someOffer(t)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+elsewhere)
	r.Header.Set("Content-Type", "application/sdp")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	w.Body.Close()
	if took := time.Since(begunWHEP); w.StatusCode != http.StatusServiceUnavailable || w.Header.Get("Retry-After") == "" || took > 2*time.Second {
		t.Errorf("WHEP was answered %s, Retry-After %q, after %s", w.Status, w.Header.Get("Retry-After"), took)
	}
	within(t, away+patience, "a minute passes", func() bool { return time.Since(begun) > away })
	askedAway := questions.Load() - askedBefore
	back()
	s.ready()
	calm()
	close(stop)
	churners.Wait()

	want := map[string]visit{leaver.id: {id: leaver.id, left: left}, thrown.id: {id: thrown.id, left: gone}}
	during := 0
	for _, list := range visits {
		for _, v := range list {
			want[v.id] = v
			if v.came.After(begun.Add(5*time.Second)) && v.left.Before(begun.Add(away)) {
				during++
			}
		}
	}
	if during < 20 {
		t.Errorf("only %d clients came and went while the database was away", during)
	}
	if askedAway < int64(during) {
		t.Errorf("the auth webhook was asked %d times while the database was away, and %d clients came", askedAway, during)
	}
	for _, c := range append(steady, up) {
		select {
		case <-c.ended:
			t.Errorf("a call was ended: %d %s", c.endCode, c.endText)
		default:
		}
	}
	before := steady[0].video.Load()
	eventually(t, "media goes on", func() bool { return steady[0].video.Load() > before+10 })
	s.wantVisits(a, want, steady[0], steady[1], up)
	s.wantNoDrift(postgres.cluster.URL(), a, 3)
}

// askedFrom gives a tenant an auth webhook, which lets everybody in, and counts how
// often it is asked.
func (s *server) askedFrom(t *testing.T, a account) *atomic.Int64 {
	t.Helper()
	asked := new(atomic.Int64)
	customer := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(customer.Close)
	r, err := http.NewRequest(http.MethodPatch, s.url+"/v1/settings", strings.NewReader(`{"auth_url":"`+customer.URL+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+a.APIKey)
	r.Header.Set("Content-Type", "application/json")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if w.Body.Close(); w.StatusCode != http.StatusOK {
		t.Fatalf("the auth webhook could not be set: %s", w.Status)
	}
	return asked
}

// someOffer is what a WHEP client brings.
func someOffer(t *testing.T) string {
	t.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	return offer.SDP
}

// wantVisits compares the events with what the clients saw.
func (s *server) wantVisits(a account, want map[string]visit, staying ...*client2015) {
	s.t.Helper()
	ended := map[string]bool{}
	all := s.events(a, "?after=0", func(e tenant.Event) bool {
		if e.Type == tenant.ConnectionDestroyed && want[e.ConnectionID].id != "" {
			ended[e.ConnectionID] = true
		}
		return len(ended) == len(want)
	})
	stays := map[string]bool{}
	for _, c := range staying {
		stays[c.id] = true
	}
	near := func(what, id string, at, seen time.Time) {
		if off := at.Sub(seen); !seen.IsZero() && off.Abs() > time.Second {
			s.t.Errorf("%s was %s %s after its client saw that", id, what, off)
		}
	}
	type count struct{ connecting, created, destroyed int }
	counts := map[string]*count{}
	for i, e := range all {
		if e.Seq != int64(i+1) {
			s.t.Fatalf("event %d has seq %d", i+1, e.Seq)
		}
		if e.ConnectionID == "" {
			continue
		}
		if want[e.ConnectionID].id == "" && !stays[e.ConnectionID] {
			s.t.Errorf("%s: %s of a connection that nobody had: %s", e.ConnectionID, e.Type, e.Data)
			continue
		}
		c := counts[e.ConnectionID]
		if c == nil {
			c = &count{}
			counts[e.ConnectionID] = c
		}
		v := want[e.ConnectionID]
		switch e.Type {
		case tenant.ConnectionConnecting:
			c.connecting++
			near("opened", v.id, e.Timestamp, v.came)
		case tenant.ConnectionCreated:
			c.created++
			near("connected", v.id, e.Timestamp, v.connected)
		case tenant.ConnectionDestroyed:
			c.destroyed++
			near("ended", v.id, e.Timestamp, v.left)
			var data struct {
				Minutes int64
				Seconds int64 `json:"duration_seconds"`
			}
			if err := json.Unmarshal(e.Data, &data); err != nil || data.Minutes != (data.Seconds+60)/60 && data.Seconds%60 != 0 {
				s.t.Errorf("%s was told %s", e.ConnectionID, e.Data)
			}
		}
	}
	for id := range want {
		if c := counts[id]; c == nil || *c != (count{1, 1, 1}) {
			s.t.Errorf("%s has the events %+v", id, c)
		}
	}
	for id := range stays {
		if c := counts[id]; c == nil || *c != (count{1, 1, 0}) {
			s.t.Errorf("%s, which stays, has the events %+v", id, c)
		}
	}
}

// wantNoDrift recounts the tenant's places.
func (s *server) wantNoDrift(url string, a account, live int) {
	s.t.Helper()
	db, err := pgx.Connect(s.t.Context(), url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close(s.t.Context())
	var counted, channels, places, open int
	if err := db.QueryRow(s.t.Context(), `
		select connections, (select coalesce(sum(connections), 0) from channel_live h where h.tenant_id = l.tenant_id),
			(select count(*) from live_connection c where c.tenant_id = l.tenant_id),
			(select count(*) from connection c where c.tenant_id = l.tenant_id and ended_at is null)
		from tenant_live l where tenant_id = $1`, a.Tenant).Scan(&counted, &channels, &places, &open); err != nil {
		s.t.Fatal(err)
	}
	if counted != live || channels != live || places != live || open != live {
		s.t.Errorf("counted %d, in channels %d, places %d, open %d; want %d", counted, channels, places, open, live)
	}
}
