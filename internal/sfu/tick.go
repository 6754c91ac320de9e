package sfu

import "time"

// What time makes due. The worker looks after every round; due says when the
// next round must come even if nothing arrives.

const (
	reportInterval   = time.Second
	feedbackInterval = 100 * time.Millisecond // transport-wide congestion control
	feedbackAtOnce   = 64                     // packets that do not wait for the interval

	pauseUrgent = 20 * time.Millisecond  // packets are missing
	pauseMedia  = 100 * time.Millisecond // something is being published or negotiated
	pauseIdle   = 500 * time.Millisecond

	// sweepSlack is how much later than due a sweep may come. Where media flows
	// there will be a round for it; nobody is woken for it alone.
	sweepSlack = 150 * time.Millisecond
	// alarmSlack is how much too early the worker may be woken.
	alarmSlack = 60 * time.Millisecond
)

// tick does what is due: for publishers in every round, for all members in a
// sweep now and then, for there may be a thousand of them.
func (w *worker) tick() {
	w.checkSpotlight()
	for _, m := range w.publishers {
		if m.up {
			w.checkUploads(m)
		}
	}
	if w.now.Before(w.sweepAt) {
		return
	}
	pause := pauseIdle
	for _, m := range w.members {
		if w.sweep(m) {
			pause = pauseMedia
		}
	}
	w.sweepAt = w.now.Add(pause)
}

// sweep does what is due for one member, and reports whether it wants to be
// looked after soon again.
func (w *worker) sweep(m *member) bool {
	w.checkAnswers(m)
	if !m.up {
		return true
	}
	if !w.now.Before(m.nextReport) {
		m.nextReport = w.now.Add(reportInterval)
		m.publish(w.now)
		m.conn.layers.store(w, m)
		w.reportTo(m)
	}
	if !w.now.Before(m.minute) {
		m.minute = m.minute.Add(time.Minute)
		w.notifyAll(m, "connection.updated")
	}
	w.checkLayers(m)
	soon := m.offering
	if m.untold && w.tellBlocked(m) {
		soon = true
	}
	for l := range m.layers() {
		if l.live {
			w.lookForWaiting(l)
			soon = true
		}
	}
	return soon
}

// checkUploads looks after what a connection publishes: is it to be announced,
// does it lack packets, has a viewer asked for a picture, is it time to say how
// its packets arrive?
func (w *worker) checkUploads(m *member) {
	if w.announceable(m) {
		w.announce(m)
	}
	for l := range m.layers() {
		if !l.live {
			continue
		}
		w.checkKeyFrame(l)
		if l.track.simulcast() {
			l.rate.measure(w.now)
		}
		if l.kind == video && l.gaps.Open() {
			if w.seqs = l.gaps.Due(w.now, w.seqs[:0]); len(w.seqs) > 0 {
				w.askAgain(l, w.seqs)
			}
		}
	}
	if held := m.feedbackDue(); held > 0 &&
		(held >= feedbackAtOnce || w.now.Sub(m.feedbackAt) >= feedbackInterval) {
		w.sendTransportFeedback(m)
	}
}

// due is when the worker must look again even if nothing arrives.
func (w *worker) due() time.Time {
	due := w.sweepAt.Add(sweepSlack)
	for _, l := range w.loaded {
		due = earlier(due, w.now.Add(w.holding(l)))
	}
	for _, m := range w.publishers {
		for l := range m.layers() {
			if l.live && l.kind == video && l.gaps.Open() {
				due = earlier(due, w.now.Add(pauseUrgent))
			}
		}
	}
	return due
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// alarm wakes the worker. To set a timer costs more than a look at it, and most
// rounds find it set well enough: it is moved when it would ring too late, or
// much too early.
type alarm struct {
	timer *time.Timer
	at    time.Time // when it rings; zero: not any more
}

// newAlarm makes an alarm that rings at once, for the first round.
func newAlarm() alarm { return alarm{timer: time.NewTimer(0), at: time.Now()} }

func (a *alarm) rang() { a.at = time.Time{} }

// set has it ring at due, or up to alarmSlack earlier.
func (a *alarm) set(now, due time.Time) {
	if !a.at.IsZero() && !a.at.After(due) && due.Sub(a.at) <= alarmSlack {
		return
	}
	a.at = due
	a.timer.Reset(due.Sub(now))
}
