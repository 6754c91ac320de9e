package billing_test

import (
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

func TestLifeOfAConnection(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(300, 150)
	publisher := b.openConnected(scope, "room", 125*time.Second)
	viewer := b.open(scope, "room", tenant.RecvOnly)
	b.must(b.Connected(t.Context(), viewer, 0))
	b.must(b.Connected(t.Context(), viewer, 7*time.Second)) // again: nothing
	b.must(b.Close(t.Context(), publisher, tenant.Ending{Reason: tenant.EndAPI, Duration: 125500 * time.Millisecond, BytesIn: 1000, BytesOut: 5}))
	b.must(b.Close(t.Context(), viewer, tenant.Ending{Reason: tenant.EndClient, Duration: time.Second}))
	b.must(b.Connected(t.Context(), viewer, time.Hour)) // after the end: nothing
	b.check(scope)

	const story = "channel.started connection.connecting connection.created connection.connecting connection.created " +
		"connection.destroyed connection.destroyed channel.ended "
	if got := b.story(scope); got != story {
		t.Fatalf("got  %s\nwant %s", got, story)
	}
	events := b.events(scope)
	created, destroyed := events[2], events[5]
	if created.Data.Connections != 1 || created.Data.SendRecv != 1 || created.ConnectionID != publisher {
		t.Fatalf("created is %+v", created)
	}
	if d := destroyed.Data; destroyed.ConnectionID != publisher || d.Connections != 1 || d.RecvOnly != 1 || d.SendRecv != 0 ||
		d.Reason != "api" || d.DurationSeconds != 125 || d.Minutes != 3 || d.BytesIn != 1000 || d.BytesOut != 5 {
		t.Fatalf("destroyed is %+v", destroyed)
	}
	if length := destroyed.At.Sub(created.At); length != 125500*time.Millisecond {
		t.Fatalf("created to destroyed is %v", length)
	}
	if d := events[6].Data; events[6].ConnectionID != viewer || d.Connections != 0 || d.Minutes != 1 || d.DurationSeconds != 1 {
		t.Fatalf("the viewer's destroyed is %+v", events[6])
	}
	h, err := b.Connection(t.Context(), scope, publisher)
	b.must(err)
	if h.Seconds != 125 || h.Minutes != 3 || h.EndReason != "api" || !h.EndedAt.Equal(h.ConnectedAt.Add(125500*time.Millisecond)) ||
		!h.MeteredThrough.Equal(h.EndedAt) || h.BytesIn != 1000 {
		t.Fatalf("the history is %+v", h)
	}
}

func TestCloseIsDoneOnce(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(50, 50)
	for range 10 {
		id := b.openConnected(scope, "room", time.Minute)
		stay := b.open(scope, "room", tenant.RecvOnly)
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				if i == 0 { // a dead node's reaper comes at the same time, for both
					if _, err := b.EndNode(t.Context(), b.node); err != nil {
						t.Error(err)
					}
					return
				}
				if err := b.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient, Duration: time.Minute}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		b.check(scope)
		b.must(b.Close(t.Context(), stay, tenant.Ending{Reason: tenant.EndClient}))
		b.check(scope)
	}
	if licence, err := b.Licence(t.Context(), scope); err != nil || licence.Connections != 0 {
		t.Fatal(licence, err)
	}
	if err := b.Close(t.Context(), "unknown", tenant.Ending{}); !errors.Is(err, billing.ErrNotFound) {
		t.Fatal(err)
	}
	if err := b.Connected(t.Context(), "unknown", 0); !errors.Is(err, billing.ErrNotFound) {
		t.Fatal(err)
	}
}

func TestMediaNeverConnected(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	id := b.open(scope, "room", tenant.SendOnly)
	b.must(b.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndSetupTimeout}))
	b.check(scope)
	const story = "channel.started connection.connecting connection.rejected channel.ended "
	if got := b.story(scope); got != story {
		t.Fatal(got)
	}
	if d := b.events(scope)[2].Data; d.Reason != "setup_timeout" || d.Connections != 0 || d.Minutes != 0 {
		t.Fatalf("rejected is %+v", d)
	}
	rows, err := b.Usage(t.Context(), scope, time.Now().Add(-time.Hour), time.Now().Add(time.Hour), billing.ByRole)
	if err != nil || len(rows) != 0 {
		t.Fatal("it is billed:", rows, err)
	}
}

// The database was away from before the media connected until after it ended.
func TestConnectedWasNeverRecorded(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	id := b.open(scope, "room", tenant.SendRecv)
	b.exec(`update connection set opened_at = opened_at - interval '10 minutes' where connection_id = $1`, id)
	b.must(b.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient, Duration: 61 * time.Second, BytesOut: 9}))
	b.check(scope)
	const story = "channel.started connection.connecting connection.created connection.destroyed channel.ended "
	if got := b.story(scope); got != story {
		t.Fatal(got)
	}
	events := b.events(scope)
	if length := events[3].At.Sub(events[2].At); length != 61*time.Second {
		t.Fatalf("created to destroyed is %v", length)
	}
	if d := events[3].Data; d.Minutes != 2 || d.DurationSeconds != 61 || d.BytesOut != 9 || d.Connections != 0 {
		t.Fatalf("destroyed is %+v", d)
	}
	if d := events[2].Data; d.Connections != 1 {
		t.Fatalf("created is %+v", d)
	}
}

// What the ledger is told late it writes with the times when it happened,
// whatever it was told before.
func TestLateCloseTellsTheTruth(t *testing.T) {
	b := newBench(t)
	for name, test := range map[string]struct {
		recorded bool // its Connected was
		duration time.Duration
		end      tenant.EventType
	}{
		"never connected":             {end: tenant.ConnectionRejected},
		"its Connected was lost, too": {duration: 61 * time.Second, end: tenant.ConnectionDestroyed},
		"connected":                   {recorded: true, duration: 61 * time.Second, end: tenant.ConnectionDestroyed},
	} {
		t.Run(name, func(t *testing.T) {
			scope := b.newTenant(5, 5)
			first, last := b.open(scope, "room", tenant.SendRecv), b.open(scope, "room", tenant.SendRecv)
			b.exec(`update connection set opened_at = opened_at - interval '1 hour' where tenant_id = $1`, scope.Tenant())
			b.exec(`update channel_session set started_at = started_at - interval '1 hour' where tenant_id = $1`, scope.Tenant())
			now := one[time.Time](b, `select clock_timestamp()`)
			if test.recorded {
				b.must(b.Connected(t.Context(), last, 5*time.Minute+test.duration))
				// The beat before the database went away.
				b.exec(`update connection set metered_through = connected_at + interval '10 s' where connection_id = $1`, last)
			}
			// The one that ended later is told first.
			b.must(b.Close(t.Context(), last, tenant.Ending{Reason: tenant.EndClient, Duration: test.duration, Ago: 5 * time.Minute}))
			b.must(b.Close(t.Context(), first, tenant.Ending{Reason: tenant.EndClient, Ago: 6 * time.Minute}))
			b.check(scope)
			near := func(what string, at time.Time, ago time.Duration) {
				if off := now.Sub(at) - ago; off.Abs() > time.Minute/2 {
					t.Errorf("%s is %s off", what, off)
				}
			}
			var told int
			for _, e := range b.events(scope) {
				switch {
				case e.ConnectionID == last && e.Type == tenant.ConnectionCreated:
					near("created", e.At, 5*time.Minute+test.duration)
				case e.ConnectionID == last && e.Type == test.end:
					near("the end", e.At, 5*time.Minute)
					if e.Data.DurationSeconds != int64(test.duration/time.Second) {
						t.Errorf("it lasted %d s", e.Data.DurationSeconds)
					}
					told++
				case e.Type == tenant.ChannelEnded:
					near("the channel's end", e.At, 5*time.Minute)
					told++
				}
			}
			if told != 2 {
				t.Error(b.story(scope))
			}
		})
	}
}

// While a step waits for its turn, time passes: that it happened before counts.
func TestWaitingForTheTenantChangesNoTimes(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	id := b.open(scope, "room", tenant.SendRecv)
	lock, err := b.pool.Begin(t.Context())
	b.must(err)
	defer lock.Rollback(t.Context())
	if _, err := lock.Exec(t.Context(), `select from tenant_live where tenant_id = $1 for update`, scope.Tenant()); err != nil {
		t.Fatal(err)
	}
	begun := one[time.Time](b, `select clock_timestamp()`)
	connected := make(chan error, 1)
	go func() { connected <- b.Connected(t.Context(), id, 0) }()
	b.awaitLockWaiter()
	for one[time.Duration](b, `select clock_timestamp() - $1`, begun) < 700*time.Millisecond {
	}
	b.must(lock.Commit(t.Context()))
	b.must(<-connected)
	h, err := b.Connection(t.Context(), scope, id)
	b.must(err)
	if late := h.ConnectedAt.Sub(begun); late > 500*time.Millisecond {
		t.Errorf("it connected %s late", late)
	}
	if proven := h.MeteredThrough.Sub(h.ConnectedAt); proven > 0 {
		t.Errorf("%s are proven", proven)
	}
}

// An Open whose answer was lost may commit after its client has given up.
// Abandon does not miss it.
func TestAbandonWaitsForAnOpenThatCommits(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	o := opening(scope, "room", tenant.SendRecv)
	committing, commit := make(chan struct{}), make(chan struct{})
	slow := billing.NewLedger(b.pool, func(batch *pgx.Batch, events ...tenant.Event) error {
		close(committing)
		<-commit
		return new(webhooks.Webhooks).Queue(batch, events...)
	}, slog.New(slog.DiscardHandler))
	opened, abandoned := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := slow.Open(t.Context(), b.node, o)
		opened <- err
	}()
	<-committing
	go func() { abandoned <- b.Abandon(t.Context(), o, tenant.Ending{Reason: tenant.EndFailed}) }()
	b.awaitLockWaiter()
	close(commit)
	b.must(<-opened)
	b.must(<-abandoned)
	b.check(scope)
	if licence, err := b.Licence(t.Context(), scope); err != nil || licence.Connections != 0 {
		t.Fatal(licence, err)
	}
	b.must(b.Abandon(t.Context(), opening(scope, "room", tenant.SendRecv), tenant.Ending{})) // took nothing
	b.check(scope)
	if got, want := b.story(scope), "channel.started connection.connecting connection.rejected channel.ended "; got != want {
		t.Fatalf("got  %s\nwant %s", got, want)
	}
}

// A clock that was set must not make a segment begin before its opening, and
// must not change how long it was.
func TestLateConnectedBeforeTheOpening(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	id := b.open(scope, "room", tenant.SendRecv)
	b.must(b.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient, Duration: time.Hour}))
	h, err := b.Connection(t.Context(), scope, id)
	b.must(err)
	if !h.ConnectedAt.Equal(h.OpenedAt) || h.Seconds != 3600 || h.Minutes != 60 {
		t.Fatalf("%+v", h)
	}
	b.check(scope)
}

func TestCloseNeverUndoesWhatWasMetered(t *testing.T) {
	b := newBench(t)
	scope := b.newTenant(5, 5)
	id := b.openConnected(scope, "room", 0)
	b.must(b.Beat(t.Context(), b.node, []billing.Mark{{ConnectionID: id, Connected: 90 * time.Second, BytesIn: 100, BytesOut: 200}}))
	b.must(b.Close(t.Context(), id, tenant.Ending{Reason: tenant.EndClient, Duration: 80 * time.Second, BytesIn: 99, BytesOut: 300}))
	h, err := b.Connection(t.Context(), scope, id)
	b.must(err)
	if h.Seconds != 90 || h.Minutes != 2 || h.BytesIn != 100 || h.BytesOut != 300 {
		t.Fatalf("%+v", h)
	}
	b.check(scope)
}

func TestKilledNode(t *testing.T) {
	b := newBench(t)
	first, second := b.newTenant(50, 50), b.newTenant(50, 50)
	dead := b.node
	metered := b.openConnected(first, "room", 0)
	b.must(b.Beat(t.Context(), dead, []billing.Mark{{ConnectionID: metered, Connected: 150 * time.Second, BytesOut: 7}}))
	fresh := b.openConnected(first, "room", 2*time.Second) // connected, never metered since
	setup := b.open(first, "hall", tenant.RecvOnly)
	other := b.openConnected(second, "room", 0)
	b.exec(`update node set state = 'lost' where node_id = $1`, dead)
	b.node = b.newNode()
	stays := b.open(first, "room", tenant.SendRecv)

	var changed []tenant.ID
	b.OnChange(func(id tenant.ID) { changed = append(changed, id) })
	if n, err := b.EndNode(t.Context(), dead); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := b.EndNode(t.Context(), dead); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if len(changed) != 2 {
		t.Fatalf("OnChange heard %v", changed)
	}
	b.check(first)
	b.check(second)
	for id, want := range map[string]billing.History{
		metered: {Live: billing.Live{Seconds: 150, Minutes: 3, BytesOut: 7}, EndReason: tenant.EndNodeLost},
		fresh:   {Live: billing.Live{Seconds: 2, Minutes: 1}, EndReason: tenant.EndNodeLost},
		setup:   {EndReason: tenant.EndNodeLost},
		stays:   {},
	} {
		h, err := b.Connection(t.Context(), first, id)
		b.must(err)
		if h.Seconds != want.Seconds || h.Minutes != want.Minutes || h.BytesOut != want.BytesOut || h.EndReason != want.EndReason {
			t.Errorf("got %+v, want %+v", h, want)
		}
	}
	if live, _, err := b.Live(t.Context(), first, billing.LiveQuery{}); err != nil || len(live) != 1 || live[0].ConnectionID != stays {
		t.Fatal(live, err)
	}
	// What the dead node still says is not heard.
	b.must(b.Beat(t.Context(), dead, []billing.Mark{{ConnectionID: other, Connected: time.Hour}, {ConnectionID: stays, Connected: time.Hour}}))
	b.must(b.Close(t.Context(), other, tenant.Ending{Reason: tenant.EndClient, Duration: time.Hour}))
	if h, err := b.Connection(t.Context(), second, other); err != nil || h.Seconds != 0 || h.EndReason != tenant.EndNodeLost {
		t.Fatal(h, err)
	}
	// Counts go down one by one, and the last ones end their channels.
	counts := map[string][]int{}
	for _, e := range b.events(first) {
		if e.Data.Reason == tenant.EndNodeLost {
			counts[e.Channel] = append(counts[e.Channel], e.Data.Connections)
		}
	}
	if room := counts["room"]; len(room) != 2 || room[0] != 2 || room[1] != 1 || len(counts["hall"]) != 1 || counts["hall"][0] != 0 {
		t.Fatal(counts)
	}
}
