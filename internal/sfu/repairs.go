package sfu

import "time"

// What a viewer may have sent again. Its NACKs are small and what they ask for
// is large, and some clients never stop asking: pion's takes no notice of
// retransmissions with a payload type of their own. So a packet is not sent
// again within a round trip, and a viewer has a credit, which packets sent to it
// for the first time fill: enough for a third of them being lost.

const (
	// resendPause is how long a repeated NACK for the same packet goes unanswered.
	resendPause = 30 * time.Millisecond
	// repairCost is how many packets must have been sent for one to be sent again.
	repairCost = 2
	// repairRoom is how many packets may be sent again at once.
	repairRoom = 256
)

// repairs is the credit of one view. Owned by the channel's worker.
type repairs struct {
	recent [64]resend // when a packet was last sent again
	left   int        // credit, in packets sent for the first time
	fresh  int        // of these, those that are still to be credited
}

// resend remembers that a NACK was answered, so that its repeat within the round
// trip is not.
type resend struct {
	seq uint16
	at  time.Time
}

func newRepairs() repairs { return repairs{left: repairRoom * repairCost} }

// repeated reports whether a packet was sent again just now.
func (r *repairs) repeated(seq uint16, now time.Time) bool {
	last := &r.recent[seq%uint16(len(r.recent))]
	return last.seq == seq && now.Sub(last.at) < resendPause
}

// spend takes a packet from the credit, and is false if there is none.
func (r *repairs) spend(seq uint16, now time.Time) bool {
	r.left = min(r.left+r.fresh, repairRoom*repairCost)
	r.fresh = 0
	if r.left < repairCost {
		return false
	}
	r.left -= repairCost
	r.recent[seq%uint16(len(r.recent))] = resend{seq, now}
	return true
}
