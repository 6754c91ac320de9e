//go:build linux && (amd64 || arm64)

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hibari/hibari/migrations/privatepg"
)

var (
	hourFor    = flag.Duration("hour.for", 16*time.Minute, "how much virtual time people come and go in, in TestHour")
	hourRate   = flag.Int("hour.rate", 40, "how many times as fast as real time its clock goes at most")
	hourPeople = flag.Int("hour.people", 60, "how many people come and go at once")
	hourSeed   = flag.Uint64("hour.seed", 1, "what their moods come from")
)

// monthEnd is when a month ends in Tokyo: a leap day.
var monthEnd = time.Date(2028, 2, 29, 15, 0, 0, 0, time.UTC)

// TestHour is an hour, or what -hour.for says, of people who come and go by a real
// server, which is killed once, over the end of a month. Then what they noted, the
// ledger, the usage on every surface and the invoice are held against each other.
func TestHour(t *testing.T) {
	h := newHour(t)
	h.run()
	h.checkLog()
	h.checkUsage()
	h.closeMonths()
	h.checkInvoices()
}

// hour is all that takes part.
type hour struct {
	// Static.
	t       *testing.T
	clock   *clock
	pool    *pgxpool.Pool // as the owner of everything
	server  *server
	account account
	start   time.Time

	log    []stay       // owned by the test, after run
	killed [2]time.Time // before and after the server was killed; owned by the test
	ledger []segment    // owned by checkLog, then by the test
}

// stay is what a visitor noted of one: see visitors/visit.go.
type stay struct {
	ConnectionID  string `json:"connection_id"`
	Channel, Role string
	Answered      time.Time
	Told          *time.Time
	Left, Gone    time.Time
	Lost          bool
	Trouble       string
}

func newHour(t *testing.T) *hour {
	t.Helper()
	h := &hour{t: t, start: monthEnd.Add(-*hourFor / 2)}
	h.clock = newClock(t, h.start)
	ctx := t.Context()
	cluster, err := privatepg.Open(ctx, filepath.Join(t.TempDir(), "postgres"), slog.New(slog.NewTextHandler(io.Discard, nil)),
		privatepg.Volatile(), privatepg.Environment(h.clock.postgres()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cluster.Close() })
	h.server = newServerOf(t, h.clock.build("platform", "../"), "HIBARI_DATABASE_URL="+cluster.URL(), h.clock.variable())
	if h.pool, err = pgxpool.New(ctx, cluster.URL()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.pool.Close)
	h.account = h.server.tenant("Lark", "--licence", "300")
	h.server.run("", "plan", "set", "--tenant", h.account.Tenant, "--plan", "metered")
	if _, err := h.pool.Exec(ctx, `update issuer set name = 'Hibari', registration = 'T1234567890123', set_at = clock_timestamp()`); err != nil {
		t.Fatal(err)
	}
	return h
}

// run lets the people come and go, and ends when they have all left.
func (h *hour) run() {
	t := h.t
	t.Helper()
	answer := fmt.Sprintf("127.0.0.1:%d", freePort(t, "tcp"))
	people := exec.Command(h.clock.build("visitors", "./visitors"), "-url", "ws"+strings.TrimPrefix(h.server.url, "http")+"/signaling",
		"-token", h.token(), "-people", fmt.Sprint(*hourPeople), "-channels", fmt.Sprint(max(1, *hourPeople/6)), "-seed", fmt.Sprint(*hourSeed), "-answer", answer)
	people.Env = append(os.Environ(), h.clock.variable())
	people.Stderr = os.Stderr
	door, err := people.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := people.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := people.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { people.Process.Kill() })
	begun := time.Now()
	h.clock.wind(*hourRate, answers(h.server.url+"/livez"), answers("http://"+answer), func() error {
		return h.pool.QueryRow(context.Background(), `select 1`).Scan(new(int))
	})
	t.Cleanup(h.clock.rest)
	lines := make(chan []stay, 1)
	go func() { lines <- readStays(out) }()
	h.clock.until(h.start.Add(*hourFor * 3 / 5))
	h.killed[0] = h.clock.now()
	h.server.kill()
	h.killed[1] = h.clock.now()
	h.server.start()
	h.clock.until(h.start.Add(*hourFor))
	door.Close()
	h.log = <-lines
	if err := people.Wait(); err != nil {
		t.Errorf("the visitors ended with %v", err)
	}
	within(t, patience, "the ledger has ended every connection", func() bool {
		var open int
		err := h.pool.QueryRow(t.Context(), `select count(*) from connection where ended_at is null`).Scan(&open)
		return err == nil && open == 0
	})
	h.clock.rest()
	t.Logf("%d visits in %s of virtual time, which took %s", len(h.log), h.clock.now().Sub(h.start).Round(time.Second), time.Since(begun).Round(time.Second))
}

// token is good for all channels, on the virtual clock.
func (h *hour) token() string {
	signed := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"exp": h.clock.now().Add(20 * time.Hour).Unix(), "channel_id": "room-*"})
	signed.Header["kid"] = h.account.SigningKeyID
	text, err := signed.SignedString([]byte(h.account.SigningKey))
	if err != nil {
		h.t.Fatal(err)
	}
	return text
}

// answers asks whether a program is awake.
func answers(url string) func() error {
	client := &http.Client{Timeout: patience}
	return func() error {
		response, err := client.Get(url)
		if err == nil {
			_, err = io.Copy(io.Discard, response.Body)
			response.Body.Close()
		}
		return err
	}
}

func readStays(r io.Reader) (all []stay) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		var v stay
		if json.Unmarshal(lines.Bytes(), &v) == nil {
			all = append(all, v)
		}
	}
	return all
}
