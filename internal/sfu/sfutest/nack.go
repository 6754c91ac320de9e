package sfutest

import (
	"time"

	"github.com/pion/rtcp"
)

// Asking again for what is missing, as browsers do: a few times, and no more once
// it has come, in whichever way. pion's own generator takes no notice of
// retransmissions with a payload type of their own and goes on asking.

const (
	nackInterval = 50 * time.Millisecond
	nackTries    = 10
	nackReach    = 512 // how far behind the newest packet one is still wanted
)

// runNACKs asks for what remote videos miss, until the client closes.
func (c *Client) runNACKs() {
	defer c.work.Done()
	ticker := time.NewTicker(nackInterval)
	defer ticker.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-ticker.C:
		}
		c.mu.Lock()
		var packets []rtcp.Packet
		for _, s := range c.streams {
			if s.Kind != "video" || s.Ended || s.Packets == 0 {
				continue
			}
			if missing := s.missing(); len(missing) > 0 {
				packets = append(packets, &rtcp.TransportLayerNack{
					MediaSSRC: uint32(s.ssrc), Nacks: rtcp.NackPairsFromSequenceNumbers(missing),
				})
			}
		}
		c.mu.Unlock()
		for _, p := range packets { // each in a datagram of its own, as browsers do
			_ = c.peer.WriteRTCP([]rtcp.Packet{p}) // fails when the client closes
		}
	}
}

// AskAgain asks for the last packets of a remote video, whether they came or not.
func (c *Client) AskAgain(id string, last int) error {
	c.mu.Lock()
	s := c.streams[id+"/video"]
	if s == nil {
		c.mu.Unlock()
		return nil
	}
	numbers := make([]uint16, last)
	for i := range numbers {
		numbers[i] = uint16(s.newest) - uint16(last-1-i)
	}
	ssrc := uint32(s.ssrc)
	c.mu.Unlock()
	return c.peer.WriteRTCP([]rtcp.Packet{&rtcp.TransportLayerNack{
		MediaSSRC: ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(numbers),
	}})
}

// missing lists the numbers to ask for now.
func (s *Stream) missing() (numbers []uint16) {
	if s.asked == nil {
		s.asked = map[uint64]int{}
	}
	from := max(s.lowest, s.newest-min(s.newest, nackReach))
	for n := from; n < s.newest; n++ {
		if s.recent[n%uint64(len(s.recent))] != n && s.asked[n] < nackTries {
			s.asked[n]++
			numbers = append(numbers, uint16(n))
		}
	}
	for n := range s.asked {
		if n < from {
			delete(s.asked, n)
		}
	}
	return numbers
}
