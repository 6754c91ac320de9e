package sfu

import (
	"time"

	"github.com/pion/rtcp"
)

// What time makes due. The worker looks after every round; pause says when the
// next round must come even if nothing arrives.

const (
	reportInterval   = time.Second
	feedbackInterval = 100 * time.Millisecond // transport-wide congestion control
	feedbackAtOnce   = 64                     // packets that do not wait for the interval

	pauseUrgent = 20 * time.Millisecond  // packets are missing
	pauseMedia  = 100 * time.Millisecond // something is being published or negotiated
	pauseIdle   = 500 * time.Millisecond
)

// tick does what is due.
func (w *worker) tick() {
	for _, m := range w.members {
		w.checkAnswers(m)
		if !m.up {
			continue
		}
		w.checkUploads(m)
		if held := m.feedback.PacketsHeld(); held > 0 &&
			(held >= feedbackAtOnce || w.now.Sub(m.feedbackAt) >= feedbackInterval) {
			w.sendTransportFeedback(m)
		}
		if !w.now.Before(m.nextReport) {
			m.nextReport = w.now.Add(reportInterval)
			m.publish()
			w.reportTo(m)
		}
		if !w.now.Before(m.minute) {
			m.minute = m.minute.Add(time.Minute)
			w.notifyAll(m, "connection.updated")
		}
	}
}

// checkUploads looks after what a connection publishes: is it to be announced,
// does it lack packets, does a viewer lack a picture?
func (w *worker) checkUploads(m *member) {
	if w.announceable(m) {
		w.announce(m)
	}
	for _, t := range m.ups {
		if t == nil || !t.live {
			continue
		}
		w.checkKeyFrame(t)
		if t.kind == video && t.gaps.Open() {
			if w.seqs = t.gaps.Due(w.now, w.seqs[:0]); len(w.seqs) > 0 {
				w.sendFeedback(m, &rtcp.TransportLayerNack{
					SenderSSRC: w.ssrc, MediaSSRC: t.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(w.seqs),
				})
			}
		}
	}
}

// pause is how long the worker may wait.
func (w *worker) pause() time.Duration {
	pause := pauseIdle
	for _, t := range w.loaded {
		pause = min(pause, t.holding(w.now))
	}
	for _, m := range w.members {
		if m.offering {
			pause = min(pause, pauseMedia)
		}
		for _, t := range m.ups {
			switch {
			case t == nil || !t.live:
			case t.kind == video && t.gaps.Open():
				pause = min(pause, pauseUrgent)
			default:
				pause = min(pause, pauseMedia)
			}
		}
	}
	return pause
}
