package sfu_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4/pkg/media/samplebuilder"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
)

// The judge of what we send is pion's own receiver: its SRTP opens the packets,
// its NACK generator asks for what is missing, its sample builder puts frames
// together. Each frame must be there, in order, and byte for byte what was
// published, though packets and repairs are lost, late and doubled on both sides.
// The worker's clock is the test's, so that a busy machine changes nothing.
func TestPionReceivesWhatWasPublished(t *testing.T) {
	for name, c := range map[string]struct {
		noRTX    bool
		pionNACK time.Duration
		packets  int
	}{
		// pion's generator takes no notice of what came by RTX and asks on and on:
		// more than its receiver can take. So the client asks.
		"with RTX": {false, 0, 5_000},
		// So many that both the publisher's and the viewer's numbers roll over.
		"without RTX": {true, 10 * time.Millisecond, 70_000},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSFU(t)
			f := fed(t, s, 1, 1)
			judge := newJudge()
			client := attach(t, f, 1, sfutest.Options{
				NoRTX: c.noRTX, PionNACK: c.pionNACK, OnPacket: judge.take,
				In: &sfutest.Path{Seed: 2, Media: sfutest.Impairment{Loss: 0.03, Reorder: 0.002, Duplicate: 0.005}},
			})
			p := &unsteady{t: t, fed: f, random: rand.New(rand.NewPCG(1, 1)),
				script: sfutest.Script{Codec: "VP8", PacketsPerFrame: 10, PayloadSize: 120, Seq: 60_000, SSRC: 7}}
			for begun := time.Now(); judge.newest.Load() < 0; { // announced, answered and begun on the way
				if time.Since(begun) > 30*time.Second {
					t.Fatal("the viewer sees nothing")
				}
				p.frame(judge, true)
				f.Wait(time.Second)
				if err := f.Renegotiate(1, client.Accept); err != nil {
					t.Fatal(err)
				}
				judge.wait(50 * time.Millisecond)
			}
			p.publish(judge, int64(c.packets/p.script.PacketsPerFrame))
			in, _ := client.Passed()
			t.Logf("%+v on the way to the viewer; resent %d", in, f.Resent())
			if err := judge.err(); err != nil {
				t.Fatal(err)
			}
			if f.Resent() == 0 {
				t.Error("nothing was sent again")
			}
		})
	}
}

// unsteady is a publisher at the other end of a bad network, packet by packet.
type unsteady struct {
	t      *testing.T
	fed    *sfu.Fed
	script sfutest.Script
	random *rand.Rand
	late   []straggler
	sent   int // packets
}

// straggler is a packet that others overtake.
type straggler struct {
	due  int // after so many packets
	data []byte
}

// publish sends frames as fast as the judge gets them, until it has got so many.
func (p *unsteady) publish(judge *judge, frames int64) {
	p.t.Helper()
	const ahead = 40 // frames on their way: much less than anybody keeps for repairs
	progress, at := int64(-1), time.Now()
	for {
		got := judge.newest.Load()
		switch {
		case got >= frames || judge.err() != nil:
			return
		case got != progress:
			progress, at = got, time.Now()
		case time.Since(at) > 30*time.Second:
			p.t.Fatalf("nothing came after frame %d of %d", got, frames)
		}
		if int64(p.script.Frames()) > got+ahead {
			// Frames that follow show what is missing, so they must not stop, but
			// those that wait must not grow too old.
			judge.wait(50 * time.Millisecond)
		}
		p.frame(judge, false)
	}
}

// frame sends a frame, and what is late of others.
func (p *unsteady) frame(judge *judge, key bool) {
	hash := sha256.New()
	number, packets := p.script.Frames(), p.script.Frame(key)
	for _, packet := range packets {
		hash.Write(packet.Payload[1:]) // the descriptor is no part of a sample
	}
	judge.note(number, [sha256.Size]byte(hash.Sum(nil)))
	for _, packet := range packets {
		switch dice := p.random.Float64(); {
		case dice < 0.04: // lost, and sent again as a retransmission
			p.delay(sfutest.Repair(packet, 8, uint16(p.sent)), 60)
		case dice < 0.045: // overtaken
			p.delay(packet, 30)
		case dice < 0.05: // doubled
			p.delay(packet, 30)
			fallthrough
		default:
			p.came(packet)
		}
	}
	p.fed.Hear()
	p.fed.Pass(33 * time.Millisecond) // more than a repeat of a request must wait
	p.fed.Round()
}

// delay has a packet come after up to so many others.
func (p *unsteady) delay(packet *rtp.Packet, most int) {
	data, err := packet.Marshal()
	if err != nil {
		p.t.Fatal(err)
	}
	p.late = append(p.late, straggler{p.sent + 1 + p.random.IntN(most), data})
}

func (p *unsteady) came(packet *rtp.Packet) {
	data, err := packet.Marshal()
	if err != nil {
		p.t.Fatal(err)
	}
	p.fed.Came(0, data)
	p.sent++
	p.late = slices.DeleteFunc(p.late, func(s straggler) bool {
		if s.due <= p.sent {
			p.fed.Came(0, s.data)
		}
		return s.due <= p.sent
	})
}

// judge builds frames of packets and compares them to what was published.
type judge struct {
	// Static
	builder *samplebuilder.SampleBuilder // of the viewer's goroutine
	newest  atomic.Int64                 // number of the frame built last; -1: none
	moved   chan struct{}                // holds one token: newest has changed

	// Guarded by mu
	mu        sync.Mutex
	published map[uint32][sha256.Size]byte // by frame
	wrong     error
}

func newJudge() *judge {
	j := &judge{
		builder:   samplebuilder.New(2000, &codecs.VP8Packet{}, 90_000),
		moved:     make(chan struct{}, 1),
		published: map[uint32][sha256.Size]byte{},
	}
	j.newest.Store(-1)
	return j
}

// note remembers a frame that is about to be sent.
func (j *judge) note(frame uint32, hash [sha256.Size]byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.published[frame] = hash
}

// wait waits for the next frame, or a while.
func (j *judge) wait(limit time.Duration) {
	select {
	case <-j.moved:
	case <-time.After(limit):
	}
}

// take takes a packet that came.
func (j *judge) take(p sfutest.Packet) {
	j.builder.Push(p.RTP)
	for sample := j.builder.Pop(); sample != nil; sample = j.builder.Pop() {
		j.weigh(sample.Data, sample.PrevDroppedPackets)
		select {
		case j.moved <- struct{}{}:
		default:
		}
	}
}

func (j *judge) weigh(data []byte, dropped uint16) {
	const stamp = 20 // its first word is the frame's number
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(data) < stamp {
		j.wrong = fmt.Errorf("a frame of %d bytes", len(data))
		return
	}
	frame := binary.BigEndian.Uint32(data[len(data)-stamp:])
	before := j.newest.Load()
	switch {
	case j.wrong != nil:
	case before >= 0 && int64(frame) != before+1:
		j.wrong = fmt.Errorf("frame %d after %d, %d packets dropped between them", frame, before, dropped)
	case j.published[frame] != sha256.Sum256(data):
		j.wrong = fmt.Errorf("frame %d is not as it was published", frame)
	}
	delete(j.published, frame)
	j.newest.Store(int64(frame))
}

func (j *judge) err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.wrong
}
