package sfu_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

func TestBrokenChannelEndsAlone(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	for name, fault := range map[string]func(){
		"panic": func() { panic("the worker was told to") },
		"stall": func() { <-release },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSFU(t, func(c *sfu.Config) { c.StallLimit = time.Second })
			healthy := publish(t, s, av, inChannel("healthy"))
			watcher := view(t, s, inChannel("healthy"))
			p := publish(t, s, av, inChannel("broken"))
			v := view(t, s, inChannel("broken"))
			flows(t, v, p.Connection.ID())

			if !s.Break(acme, "broken", fault) {
				t.Fatal("no such channel")
			}
			for _, one := range []*sfutest.Session{p, v} {
				select {
				case <-one.Connection.Done():
				case <-time.After(5 * time.Second):
					t.Fatal("the connection did not end")
				}
				if e := one.Connection.Ending(); e.Reason != tenant.EndFailed || e.Duration == 0 {
					t.Errorf("ended as %+v", e)
				}
				eventually(t, "the door is told", func() bool {
					ended := one.Signals(sfu.SignalEnded)
					return len(ended) == 1 && ended[0].Reason == tenant.EndFailed
				})
			}
			more(t, watcher, healthy.Connection.ID(), "video")

			again := publish(t, s, av, inChannel("broken"))
			flows(t, view(t, s, inChannel("broken")), again.Connection.ID())
			if stats := s.Stats(); stats.Panics+stats.Stalls != 1 || stats.Connections != 4 {
				t.Errorf("stats %+v", stats)
			}
		})
	}
}

func TestNoGoroutineStaysAfter200Joins(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) }) // after newSFU's own cleanup
	s := newSFU(t)

	// This one's door never reads its signals.
	client, err := sfutest.NewClient(sfutest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	unread, err := s.Join(t.Context(), request(tenant.SendOnly))
	if err != nil {
		t.Fatal(err)
	}
	offer, _, _ := unread.Offer()
	answer, err := client.Accept(offer)
	if err != nil {
		t.Fatal(err)
	}
	if err := unread.Answer(answer); err != nil {
		t.Fatal(err)
	}
	<-client.Connected()

	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for i := range 50 {
				r := request(tenant.RecvOnly)
				o := sfutest.Options{}
				if i%10 == 0 {
					r.Role, o = tenant.SendOnly, publishing(av)
				}
				one := join(t, s, r, o)
				<-one.Connected() // both sides: a goodbye needs the keys
				up := sfutest.Eventually(10*time.Second, func() bool { return len(one.Signals(sfu.SignalConnected)) == 1 })
				if !up {
					t.Error("a client did not connect in time")
				}
				if i%2 == 0 {
					_ = one.Client.Close() // the server learns by DTLS
					<-one.Connection.Done()
					if e := one.Connection.Ending(); e.Reason != tenant.EndClient {
						t.Errorf("closed by the client, ended as %+v", e)
					}
				}
				if err := one.Leave(tenant.EndAPI); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	<-unread.Done()
	if e := unread.Ending(); e.Reason != tenant.EndProtocol {
		t.Errorf("unread signals: ended as %+v", e)
	}
	eventually(t, "nothing is left", func() bool {
		stats := s.Stats()
		return stats.Channels == 0 && stats.Connections == 0 && len(s.Connections()) == 0
	})
}

func TestJoinWhileTheChannelEmpties(t *testing.T) {
	s := newSFU(t)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 200 {
				c, err := s.Join(t.Context(), request(tenant.RecvOnly))
				if err != nil {
					t.Error(err)
					return
				}
				c.Disconnect(tenant.EndClient)
				select {
				case <-c.Done():
				case <-time.After(5 * time.Second):
					t.Error("a join was lost")
					return
				}
			}
		})
	}
	wait.Wait()
	eventually(t, "no channel is left", func() bool { return s.Stats().Channels == 0 })
}

func TestJoinRefusals(t *testing.T) {
	s := newSFU(t)
	r := request(tenant.RecvOnly)
	c, err := s.Join(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Join(t.Context(), r); !errors.Is(err, sfu.ErrDuplicate) {
		t.Errorf("same id: got %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Join(gone, request(tenant.RecvOnly)); !errors.Is(err, context.Canceled) {
		t.Errorf("client gave up: got %v", err)
	}
	if s.Disconnect("ten_OTHER", c.ID(), tenant.EndAPI) || s.Disconnect(acme, "nobody", tenant.EndAPI) {
		t.Error("another tenant's connection was ended")
	}
	if !s.Disconnect(acme, c.ID(), tenant.EndConsole) {
		t.Error("the connection was not found")
	}
	<-c.Done()
	if e := c.Ending(); e.Reason != tenant.EndConsole {
		t.Errorf("ended as %+v", e)
	}
	last, err := s.Join(t.Context(), request(tenant.RecvOnly))
	if err != nil {
		t.Fatal(err)
	}
	s.Close(tenant.EndShutdown)
	if e := last.Ending(); e.Reason != tenant.EndShutdown {
		t.Errorf("closed with the SFU, ended as %+v", e)
	}
	if _, err := s.Join(t.Context(), request(tenant.RecvOnly)); !errors.Is(err, sfu.ErrClosed) {
		t.Errorf("after Close: got %v", err)
	}
}

func TestNotifications(t *testing.T) {
	s := newSFU(t)
	first := view(t, s)
	second := publish(t, s, av)
	notes := func(one *sfutest.Session) (all []sfu.Notify) {
		for _, signal := range one.Signals(sfu.SignalNotify) {
			all = append(all, *signal.Notify)
		}
		return all
	}
	eventually(t, "created seen by both", func() bool { return len(notes(first)) == 2 && len(notes(second)) == 1 })

	own := notes(first)[0]
	if own.EventType != "connection.created" || own.Subject.ConnectionID != first.Connection.ID() ||
		len(own.Others) != 0 || own.Counts != (tenant.Counts{Connections: 1, RecvOnly: 1}) {
		t.Errorf("the first heard of itself: %+v", own)
	}
	both := tenant.Counts{Connections: 2, RecvOnly: 1, SendOnly: 1}
	if n := notes(first)[1]; n.Subject.ConnectionID != second.Connection.ID() || n.Others != nil || n.Counts != both {
		t.Errorf("the first heard of the second: %+v", n)
	}
	if n := notes(second)[0]; n.Subject.ConnectionID != second.Connection.ID() || len(n.Others) != 1 ||
		n.Others[0].ConnectionID != first.Connection.ID() || n.Counts != both {
		t.Errorf("the second heard of itself: %+v", n)
	}
	if err := second.Leave(tenant.EndClient); err != nil {
		t.Fatal(err)
	}
	eventually(t, "destroyed seen by the first", func() bool { return len(notes(first)) == 3 })
	if n := notes(first)[2]; n.EventType != "connection.destroyed" || n.Subject.ConnectionID != second.Connection.ID() ||
		n.Counts != (tenant.Counts{Connections: 1, RecvOnly: 1}) {
		t.Errorf("the first heard of the end: %+v", n)
	}
}

func TestEverybodyIsToldOfEachMinute(t *testing.T) {
	s := newSFU(t)
	fed, err := s.NewFed(request(tenant.SendOnly), request(tenant.RecvOnly))
	if err != nil {
		t.Fatal(err)
	}
	defer fed.Close()
	fed.Wait(150 * time.Second)
	updates := map[string]int{}
	waiting, _ := fed.Viewer().Take(nil)
	for _, signal := range waiting {
		if n := signal.Notify; n != nil && n.EventType == "connection.updated" {
			updates[n.Subject.ConnectionID]++
		}
	}
	if len(updates) != 2 {
		t.Errorf("updates of %d connections, want both", len(updates))
	}
	for id, n := range updates {
		if n != 2 {
			t.Errorf("%d updates of %s in two and a half minutes", n, id)
		}
	}
}
