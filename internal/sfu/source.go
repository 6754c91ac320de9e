package sfu

import (
	"time"

	"github.com/hibari/hibari/internal/sfu/packet"
)

// Which packets are of a track's source as it is now? Networks deliver packets
// late, of a source or codec that is over too, and those must not bring it back.

// lateTime is how long packets of the source before may still come: after that
// the publisher has gone back to it.
const lateTime = time.Second

// isRetired reports whether an SSRC is that of the source before, which must
// not come back because of a packet that was overtaken by the change.
func (l *layer) isRetired(ssrc uint32, now time.Time) bool {
	return l.live && ssrc != l.ssrc && ssrc == l.retired && now.Sub(l.beganAt) < lateTime
}

// leapLimit is how far a source's numbers may move on at once. Beyond it nothing
// could be sent again in any case: the source has begun anew.
const leapLimit = videoHistory

// leaps reports whether a number is too far ahead of all before.
func (l *layer) leaps(seq uint16) bool {
	return l.unwrap.Highest() != 0 && packet.Nearest(l.unwrap.Highest(), seq) > l.unwrap.Highest()+leapLimit
}

// isNewer reports whether a number is ahead of all before.
func (l *layer) isNewer(seq uint16) bool {
	return l.unwrap.Highest() == 0 || packet.Nearest(l.unwrap.Highest(), seq) > l.unwrap.Highest()
}

// canRepair reports whether a retransmission may be of this source: it is of a
// packet between the first and the newest, for no other was asked for.
func (l *layer) canRepair(seq uint16) bool {
	return l.first != 0 && !l.isNewer(seq) && packet.Nearest(l.unwrap.Highest(), seq) > l.first
}
