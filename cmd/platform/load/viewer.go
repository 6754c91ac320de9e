package load

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// viewer watches the channel and counts what arrives.
type viewer struct {
	*client
	stop   context.CancelFunc
	first  chan struct{} // closed at the first packet
	joined time.Duration // from the call to the first packet

	mu       sync.Mutex // guards the rest
	counting bool
	from     uint64
	seen     []uint64 // a bit per packet number since from
	delays   []time.Duration
	twice    int
}

// Which delays a viewer keeps: every 16th packet's, at most those of 18 minutes
// at 240 packets a second.
const (
	delayEvery = 16
	maxDelays  = 1 << 14
)

// maxWords bounds what a viewer notes: a packet that claims a number far ahead
// must not cost memory.
const maxWords = 1 << 20

// startViewer joins and returns when the first packet is there. It returns a
// viewer to close even with an error, when it got that far.
func startViewer(ctx context.Context, r *run) (*viewer, error) {
	start := time.Now()
	pc, err := r.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	v := &viewer{first: make(chan struct{})}
	var once sync.Once
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		v.runTrack(track, r.epoch, func() {
			once.Do(func() {
				v.joined = time.Since(start)
				close(v.first)
			})
		})
	})
	c, err := connect(ctx, r, "recvonly", pc)
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	running, stop := context.WithCancel(context.Background())
	v.client, v.stop = c, stop
	go c.runSignaling(running)
	select {
	case <-v.first:
		return v, nil
	case <-ctx.Done():
		return v, errors.New("no packet came in time")
	}
}

// runTrack reads one track until it ends.
func (v *viewer) runTrack(track *webrtc.TrackRemote, epoch time.Time, first func()) {
	buffer := make([]byte, 1600)
	for {
		n, _, err := track.Read(buffer)
		if err != nil {
			return
		}
		now := time.Since(epoch)
		payload := rtpPayload(buffer[:n])
		if len(payload) < minPayload {
			continue
		}
		first()
		number := binary.BigEndian.Uint64(payload[headerSize:])
		sent := time.Duration(binary.BigEndian.Uint64(payload[headerSize+8:]))
		v.count(number, now-sent)
	}
}

// rtpPayload skips the RTP header (RFC 3550 §5.1); nil if there is none.
func rtpPayload(b []byte) []byte {
	if len(b) < 12 {
		return nil
	}
	n := 12 + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 {
		if len(b) < n+4 {
			return nil
		}
		n += 4 + 4*int(binary.BigEndian.Uint16(b[n+2:]))
	}
	if len(b) < n {
		return nil
	}
	return b[n:]
}

// begin starts the counting at packet number from.
func (v *viewer) begin(from uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.counting, v.from = true, from
}

// count notes one packet.
func (v *viewer) count(number uint64, delay time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.counting || number < v.from {
		return
	}
	word, bit := (number-v.from)/64, uint64(1)<<((number-v.from)%64)
	if word >= maxWords {
		return // no packet of ours
	}
	for uint64(len(v.seen)) <= word {
		v.seen = append(v.seen, 0)
	}
	if v.seen[word]&bit != 0 {
		v.twice++
	}
	v.seen[word] |= bit
	if number%delayEvery == 0 && len(v.delays) < maxDelays {
		v.delays = append(v.delays, delay)
	}
}

func (v *viewer) close() {
	v.stop()
	v.client.close()
}
