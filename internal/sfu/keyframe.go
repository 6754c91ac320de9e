package sfu

import (
	"time"

	"github.com/hibari/hibari/internal/sfu/packet"
)

const (
	// keyPause is the least time between two requests for a key frame to one
	// publisher: each costs it, and every viewer, several times an ordinary
	// picture.
	keyPause = 500 * time.Millisecond
	// keyTries is how many requests go out at that rate while viewers wait;
	// after them a publisher that does not answer is asked less often. So is
	// everybody while there is more to send than can be.
	keyTries     = 10
	keyLongPause = 2 * time.Second
)

// keyRequests thins the requests for key frames of one layer.
type keyRequests struct {
	wanted  bool // a viewer has asked since the last key frame began
	askedAt time.Time
	tries   int // since the last key frame
}

// came notes that a key frame has begun: it serves all who asked before.
func (k *keyRequests) came() { k.wanted, k.tries = false, 0 }

// due reports whether a request must go out now, and notes that it does.
func (k *keyRequests) due(now time.Time, strained bool) bool {
	pause := keyPause
	if k.tries >= keyTries || strained {
		pause = keyLongPause
	}
	if !k.wanted || !k.askedAt.IsZero() && now.Sub(k.askedAt) < pause {
		return false
	}
	k.askedAt = now
	k.tries++
	return true
}

// askKeyFrame wants a key frame of a layer. The request goes out at once, or
// when the last one is long enough ago (checkKeyFrame).
func (w *worker) askKeyFrame(l *layer) {
	if l.kind != video {
		return
	}
	l.keys.wanted = true
	w.checkKeyFrame(l)
}

// checkKeyFrame sends the request for a key frame if one is due.
func (w *worker) checkKeyFrame(l *layer) {
	if l.kind != video || !l.live || !l.owner().up || !l.keys.due(w.now, w.sfu.strained(w.now)) {
		return
	}
	w.round.keyRequests++
	l.owner().in[video].PLIs++
	w.control = packet.AppendPLI(w.control[:0], w.ssrc, l.ssrc)
	w.sendFeedback(l.owner(), w.control)
}

// lookForWaiting wants a key frame if a viewer still waits for its first picture,
// or for its next one after an overload.
func (w *worker) lookForWaiting(l *layer) {
	for _, d := range l.viewers {
		if (d.waiting || d.next == l) && d.formats[l.format].pt != 0 {
			w.askKeyFrame(l)
			return
		}
	}
}
