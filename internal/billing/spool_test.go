package billing_test

import (
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// successor is the process after one that was killed: it writes what is in its spool,
// and then ends its node. The killed one's line stays cut.
func (b *bookBench) successor(text []byte) int {
	b.t.Helper()
	path := filepath.Join(b.t.TempDir(), "owed.jsonl")
	b.must(os.WriteFile(path, text, 0o600))
	spool, err := billing.OpenSpool(path, slog.New(slog.NewTextHandler(b.t.Output(), nil)))
	b.must(err)
	n, err := b.Recover(b.t.Context(), spool)
	b.must(err)
	b.must(spool.Close())
	left, err := os.ReadFile(path)
	if b.must(err); len(left) > 0 {
		b.t.Errorf("%d bytes are left in the spool", len(left))
	}
	return n
}

// killed is what the spool has at this moment, as kill -9 leaves it.
func (b *bookBench) killed() []byte {
	b.t.Helper()
	text, err := os.ReadFile(b.spoolAt)
	b.must(err)
	return text
}

// TestKilledWhileAway has a process die while the database is away: the next one
// writes whole lives of those that came meanwhile, and the ends and beginnings of
// those from before.
func TestKilledWhileAway(t *testing.T) {
	b := newBookBench(t)
	scope := b.newTenant(20, 20)
	before := b.entered(scope, "room")
	waits := b.entered(scope, "room")
	stays := b.entered(scope, "room")
	b.must(b.book.Connected(t.Context(), before, 0))
	b.must(b.book.Connected(t.Context(), stays, 0))
	b.knows(scope)
	if text := b.killed(); len(text) > 0 {
		t.Fatalf("a spool has %s though nothing is owed", text)
	}
	b.line.sever()
	came := b.entered(scope, "room")
	up := time.Now()
	b.must(b.book.Connected(t.Context(), came, 0))
	b.must(b.book.Connected(t.Context(), waits, 0))
	passed := b.entered(scope, "room")
	b.must(b.book.Close(t.Context(), passed, tenant.Ending{Reason: tenant.EndClient}))
	b.must(b.book.Close(t.Context(), before, tenant.Ending{Reason: tenant.EndClient, Duration: 3 * time.Second}))
	seen := b.entered(scope, "room")
	b.must(b.book.Connected(t.Context(), seen, 0))
	b.must(b.book.Close(t.Context(), seen, tenant.Ending{Reason: tenant.EndAPI, Duration: 2 * time.Second, BytesIn: 7}))
	b.must(b.book.Beat(t.Context(), nil)) // it is alive
	text := clockSetBeforeLast(t, b.killed())
	// The last line may be half written.
	if n := b.successor(append(text, `{"step":"opened","connection":"HALF`...)); n != 5 {
		t.Errorf("%d connections were in the spool, want 5", n)
	}
	b.lose(b.node)
	b.check(scope)
	for id, want := range map[string]string{before: tenant.EndClient, waits: tenant.EndNodeLost, stays: tenant.EndNodeLost,
		came: tenant.EndNodeLost, passed: tenant.EndClient, seen: tenant.EndAPI} {
		c, err := b.Connection(t.Context(), scope, id)
		if b.must(err); c.EndReason != want || c.ConnectedAt.IsZero() != (id == passed) {
			t.Errorf("%s: %+v, want the end %s", id, c, want)
		}
		if id == came && (c.ConnectedAt.Sub(up).Abs() > time.Second || c.EndedAt.Before(c.ConnectedAt) || c.EndedAt.Sub(c.ConnectedAt) > time.Since(up)) {
			t.Errorf("it was up from %s, in the ledger %s to %s", up, c.ConnectedAt, c.EndedAt)
		}
	}
	story := b.story(scope)
	b.successor(text) // again, as if it had been killed before it emptied the file
	if b.check(scope); b.story(scope) != story {
		t.Errorf("what was recovered twice is told twice:\n%s\n%s", story, b.story(scope))
	}
}

// clockSetBeforeLast is a spool of a process whose machine's clock was set on by an hour
// before it wrote its last line.
func clockSetBeforeLast(t *testing.T, text []byte) []byte {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	var step map[string]any
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &step); err != nil || step["step"] != "alive" {
		t.Fatalf("the last line is %v (%v)", step, err)
	}
	step["at"] = time.Now().Add(time.Hour)
	last, err := json.Marshal(step)
	if err != nil {
		t.Fatal(err)
	}
	lines[len(lines)-1] = string(last)
	return []byte(strings.Join(lines, "\n") + "\n")
}

// TestSpoolIsEmptyWhenNothingIsOwed: what the database has, the file has not.
func TestSpoolIsEmptyWhenNothingIsOwed(t *testing.T) {
	b := newBookBench(t)
	scope := b.newTenant(20, 20)
	b.entered(scope, "room")
	b.knows(scope)
	b.line.sever()
	b.entered(scope, "room")
	if text := string(b.killed()); !strings.Contains(text, `"opened"`) || strings.Count(text, "\n") != 1 {
		t.Errorf("the spool has %s", text)
	}
	b.settled()
	b.eventually("the file is empty", func() bool { return len(b.killed()) == 0 })
	b.check(scope)
}

// TestKilledAtAnyTimeWhileAway: whatever was done, and however much of it the
// database has taken, the ledger of the next process is whole, and knows whoever was
// let in.
func TestKilledAtAnyTimeWhileAway(t *testing.T) {
	for range 6 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			b := newBookBench(t)
			scope := b.newTenant(300, 300)
			var all []string
			began := map[string]time.Time{}
			step := func() {
				switch n := rand.IntN(4); {
				case n < 2 || len(all) == 0:
					all = append(all, b.entered(scope, "room"))
				case n == 2:
					id := all[rand.IntN(len(all))]
					if began[id].IsZero() {
						began[id] = time.Now()
						b.eventually("it is taken, as a door tries until it is", func() bool {
							return b.book.Connected(t.Context(), id, time.Since(began[id])) == nil
						})
					}
				default:
					id := all[rand.IntN(len(all))]
					e := tenant.Ending{Reason: tenant.EndClient}
					if !began[id].IsZero() {
						e.Duration = max(time.Since(began[id]), time.Microsecond)
					}
					if rand.IntN(2) == 0 {
						b.book.Close(t.Context(), id, e) // a second time: it is not there
						began[id] = time.Now()           // never connected again
					}
				}
			}
			keep := b.entered(scope, "room") // the channel lives
			b.knows(scope)
			for range rand.IntN(20) {
				step()
			}
			b.line.sever()
			for range 1 + rand.IntN(40) {
				step()
			}
			text := b.killed()
			if rand.IntN(2) == 0 { // the database had come back, and had some of it
				b.line.mend()
				b.eventually("some is written", func() bool { return b.book.Stats().Entries == 0 })
				b.line.sever()
			}
			b.successor(text)
			b.lose(b.node)
			b.check(scope)
			for _, id := range append(all, keep) {
				if _, err := b.Connection(t.Context(), scope, id); err != nil {
					t.Errorf("%s was let in and is not in the ledger: %v", id, err)
				}
			}
		})
	}
}
