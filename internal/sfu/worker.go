package sfu

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// worker is a channel from the inside: the state of everything in it, touched
// by one goroutine only. Its methods never wait for anybody.
type worker struct {
	// Static
	channel *channel
	sfu     *SFU
	log     *slog.Logger
	ssrc    uint32 // the sender of our feedback

	// Owned by run
	sender               // its own; see crew.go for those of the helpers
	members    []*member // in the order of their joining
	publishers []*member // of these, who may send
	doomed     []doom    // to be removed at the end of the round
	loaded     []*layer
	frames     []*frame     // video on its way to its viewers, the oldest first
	voices     frame        // audio on its way
	stretch    stretch      // what is shared with the crew
	turning    []*downTrack // views that wait for another layer
	sweepAt    time.Time    // when to look after all members again
	opened     bool         // a first call has been worked on
	closing    string       // why nobody may join any more; "": they may
	seqs       []uint16     // scratch for lists of missing packets
	listeners  []*downTrack // memory of voices
	views      []*downTrack // scratch of allot
	portions   []portion    // likewise
	control    []byte       // scratch for outgoing RTCP
	changes    allowance    // of metadata
	pushes     allowance    // that the tenant's server sends
	pushBytes  allowance    // of these, to all
	spotlight  spotlight
	lookAt     time.Time // when to look after it again
}

type doom struct {
	member *member
	reason string
}

func (ch *channel) startWorker() {
	w := &worker{
		channel: ch,
		sfu:     ch.sfu,
		log:     ch.sfu.log.With("tenant", ch.key.tenant, "channel", ch.key.name),
		ssrc:    rand.Uint32(),
		sender:  newSender(ch.sfu),
	}
	go w.run()
}

// run is the channel's goroutine. It ends when the last connection has left,
// when a panic ended the channel, or when the watchdog did.
func (w *worker) run() {
	defer func() {
		if broken := recover(); broken != nil {
			w.log.Error("channel failed; ending its connections", "panic", broken, "stack", string(debug.Stack()))
			w.sfu.counters.panics.Add(1)
			w.channel.abandon()
		}
	}()
	alarm := newAlarm()
	defer alarm.timer.Stop()
	var calls []func(*worker)
	var inbox []arrival
	for {
		if w.sending() {
			giveWay(w.sfu.cfg.Transport)
		} else {
			select {
			case <-w.channel.wake:
			case <-alarm.timer.C:
				alarm.rang()
			}
		}
		w.now = time.Now()
		w.channel.busySince.Store(max(1, int64(w.now.Sub(began))))
		var open bool
		if calls, inbox, open = w.channel.take(calls, inbox); !open {
			return
		}
		w.work(calls, inbox)
		w.opened = w.opened || len(calls) > 0
		if len(w.members) == 0 && w.opened && w.channel.closeIdle() {
			return
		}
		w.channel.busySince.Store(0)
		if !w.sending() {
			alarm.set(w.now, w.due())
		}
	}
}

// giveWay lets other channels have the processor between two stretches of a
// fan-out, and looks whether datagrams wait at the port: while a large channel
// sends to a thousand viewers, a small one must not wait for the last of them.
func giveWay(port *transport.Endpoint) {
	port.Poll()
	runtime.Gosched()
}

// work is one round: what others asked for, then what arrived, then what time
// has made due, then a stretch of what is on its way to the viewers.
func (w *worker) work(calls []func(*worker), inbox []arrival) {
	for i, call := range calls {
		call(w)
		calls[i] = nil
	}
	for i := range inbox {
		w.arrived(&inbox[i])
		inbox[i] = arrival{}
	}
	w.release()
	w.tick()
	w.step()
	w.checkTurning()
	w.bury()
	w.round.flush(w.sfu.counters)
}

// join takes a connection in and writes its first offer, or the answer to its own.
func (w *worker) join(ctx context.Context, c *Connection) error {
	if err := ctx.Err(); err != nil {
		return err // its client gave up while the call waited
	}
	if w.closing != "" || !w.channel.admit(c) {
		return ErrClosed
	}
	m := c.member
	m.open(w)
	answered := m.offered != nil
	if answered {
		if err := w.acceptOffer(m); err != nil {
			return err
		}
	}
	w.members = append(w.members, m)
	if m.request().Role.Sends() {
		w.publishers = append(w.publishers, m)
	}
	w.sweepAt = w.now // to look after it from now on
	if !answered {
		w.firstOffer(m)
	}
	w.stage(m)
	return nil
}

// remove ends a connection; the first reason counts.
func (w *worker) remove(m *member, reason string) {
	i := slices.Index(w.members, m)
	if i < 0 {
		return
	}
	w.members = slices.Delete(w.members, i, i+1)
	if i := slices.Index(w.publishers, m); i >= 0 {
		w.publishers = slices.Delete(w.publishers, i, i+1)
	}
	w.detach(m)
	w.unlisten(m)
	w.unstage(m)
	w.forget(m)
	m.publish(w.now)
	m.conn.finish(reason)
	if m.up {
		w.notifyOthers(m, "connection.destroyed")
	}
}

// detach takes a connection out of the flow of media, both ways.
func (w *worker) detach(m *member) {
	for _, s := range m.sections {
		if s.down != nil {
			s.down.unbind()
		}
	}
	for _, t := range m.ups {
		if t == nil {
			continue
		}
		for _, l := range t.layers {
			l.pending = l.pending[:0]
			l.unbindAll()
		}
		if t.announced {
			w.withdraw(t)
		}
	}
}

// condemn removes a connection at the end of the round: for those who find out
// while they walk through the members.
func (w *worker) condemn(m *member, reason string) {
	w.doomed = append(w.doomed, doom{m, reason})
}

// bury removes the condemned, which may condemn others.
func (w *worker) bury() {
	for len(w.doomed) > 0 {
		d := w.doomed[0]
		w.doomed = w.doomed[1:]
		w.remove(d.member, d.reason)
	}
	w.doomed = nil
}

// removeAll ends all connections, without telling them of each other's end, and
// lets nobody in any more.
func (w *worker) removeAll(reason string) {
	w.closing = reason
	members := w.members
	w.members, w.publishers = nil, nil
	for _, m := range members {
		m.publish(w.now)
		m.conn.finish(reason)
	}
	w.loaded, w.frames, w.voices, w.turning = nil, nil, frame{}, nil
}

// goneUp: a connection's media transport is up.
func (w *worker) goneUp(m *member) {
	if m.up || !slices.Contains(w.members, m) {
		return
	}
	m.up = true
	at := w.now
	m.conn.connectedAt.Store(&at)
	m.minute = at.Add(time.Minute)
	m.nextReport = at
	w.signal(m, Signal{Kind: SignalConnected})
	w.notifyCreated(m)
	w.tellFocused(m)
	m.untold = true
	w.bindReady(m)
	w.negotiate(m)
}

// goneDown: a connection's media transport is lost.
func (w *worker) goneDown(m *member, reason error) {
	if !slices.Contains(w.members, m) {
		return // it has ended, and the client has taken leave
	}
	w.log.Info("media transport lost", "connection", m.conn.ID(), "why", reason)
	w.remove(m, endOf(m, reason))
}

// signal tells a connection's door something; a door that does not listen loses
// its connection.
func (w *worker) signal(m *member, s Signal) {
	if !m.conn.signal(s) {
		w.condemn(m, tenant.EndProtocol)
	}
}
