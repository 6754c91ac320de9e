package sfu_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/packet"
	"github.com/hibari/hibari/internal/sfu/sfutest"
)

// The ids of the stamps, which are those of our offers.
const (
	idTime      = 2
	idTransport = 3
)

// wiretap sees the RTP that comes to a client before it is decrypted: headers in
// the clear, the rest as a cipher that is the same only for the same contents.
type wiretap struct {
	// Guarded by mu
	mu      sync.Mutex
	came    int64
	video   uint32 // SSRC
	newest  uint16 // its
	sources map[uint32]*packet.Unwrap
	first   map[[2]uint64][]byte // by SSRC and index
	stamps  map[uint8]int        // video packets, by id of a stamp that they carry
	number  *uint16              // the newest transport-wide one
	time    uint32               // the newest send time
	fault   error
}

func newWiretap() *wiretap {
	return &wiretap{sources: map[uint32]*packet.Unwrap{}, first: map[[2]uint64][]byte{}, stamps: map[uint8]int{}}
}

// see takes one datagram; it loses none.
func (w *wiretap) see(datagram []byte) bool {
	if !sfutest.IsRTP(datagram, 0) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.came++
	ssrc, seq := binary.BigEndian.Uint32(datagram[8:]), binary.BigEndian.Uint16(datagram[2:])
	w.readStamps(datagram)
	if sfutest.IsRTP(datagram, ptVP8) {
		if w.video != ssrc || int16(seq-w.newest) > 0 {
			w.newest = seq
		}
		w.video = ssrc
	}
	if w.sources[ssrc] == nil {
		w.sources[ssrc] = new(packet.Unwrap)
	}
	key := [2]uint64{uint64(ssrc), w.sources[ssrc].Next(seq)}
	if before, ok := w.first[key]; !ok {
		w.first[key] = bytes.Clone(datagram)
	} else if !bytes.Equal(before, datagram) {
		w.fault = fmt.Errorf("number %d of %d was sealed with two contents:\n%x\n%x", key[1], ssrc, before, datagram)
	}
	return false
}

// readStamps checks that transport-wide numbers count every packet, and that time
// does not go backwards.
func (w *wiretap) readStamps(datagram []byte) {
	var h packet.Header
	b := bytes.Clone(datagram)
	b[0] &^= 0x20 // what tells of the padding is encrypted
	if err := h.Parse(b); err != nil {
		w.fault = err
		return
	}
	video := h.PayloadType != ptOpus
	if v := h.Extension(idTransport); len(v) == 2 {
		n := binary.BigEndian.Uint16(v)
		if w.number != nil && n != *w.number+1 {
			w.fault = fmt.Errorf("transport-wide number %d after %d", n, *w.number)
		}
		w.number = &n
		if video {
			w.stamps[idTransport]++
		}
	}
	if v := h.Extension(idTime); len(v) == 3 {
		at := uint32(v[0])<<16 | uint32(v[1])<<8 | uint32(v[2])
		if behind := (w.time - at) & 0xffffff; len(w.stamps) > 1 && behind != 0 && behind < 1<<23 {
			w.fault = fmt.Errorf("sent at %d, after %d", at, w.time)
		}
		w.time = at
		w.stamps[idTime]++
	}
}

// stamped is how many video packets carried a stamp.
func (w *wiretap) stamped(id uint8) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.stamps[id]
}

// state is what has been seen so far.
func (w *wiretap) state() (came int64, video uint32, newest uint16, fault error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.came, w.video, w.newest, w.fault
}

// TestNoNumberIsSealedWithTwoContents: whatever is lost, late, repeated or asked
// for again, AES-GCM never gets two packets for one nonce. Viewers with RTX and
// without are watched on the wire.
func TestNoNumberIsSealedWithTwoContents(t *testing.T) {
	f := fed(t, newSFU(t, func(c *sfu.Config) { c.ViewerFeedback = true }), 1, 2)
	taps := [2]*wiretap{newWiretap(), newWiretap()}
	clients := [2]*sfutest.Client{}
	for i := range taps {
		clients[i] = attach(t, f, 1+i, sfutest.Options{Drop: taps[i].see, NoRTX: i == 1})
	}
	video, audio := &media{t: t}, &media{t: t}
	begun(f, video, audio)
	for range 3 {
		f.Wait(time.Second)
		for i, c := range clients {
			if err := f.Renegotiate(1+i, c.Accept); err != nil {
				t.Fatal(err)
			}
		}
	}
	begun(f, video, audio)
	var late [][]byte
	defer func() { // the channel goes on between checks, so that rapid cannot replay one
		for _, tap := range taps {
			if _, _, _, fault := tap.state(); fault != nil {
				t.Error(fault)
			}
		}
	}()
	rapid.Check(t, func(t *rapid.T) {
		lateness := rapid.IntRange(1, 6).Draw(t, "lateness")
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			switch rapid.IntRange(0, 11).Draw(t, "event") {
			case 0, 1: // a frame, some of it late
				n := rapid.IntRange(1, 5).Draw(t, "packets")
				key := rapid.IntRange(0, 3).Draw(t, "key") == 0
				ts := uint32(video.seq+1) * 10
				for i := range n {
					video.seq++
					payload := make([]byte, rapid.IntRange(20, 32).Draw(t, "size"))
					if i == 0 && key {
						copy(payload, vp8Key)
					} else {
						payload[0], payload[1] = 0, 1
					}
					b := video.packet(ptVP8, ts, 7, i == n-1, payload)
					if rapid.IntRange(0, 11).Draw(t, "late") < lateness {
						late = append(late, b)
						continue
					}
					f.Came(0, b)
				}
			case 2, 3, 10, 11:
				if len(late) > 0 {
					f.Came(0, late[0])
					if rapid.Bool().Draw(t, "again") {
						f.Came(0, late[0])
					}
					late = late[1:]
				}
				if rapid.IntRange(0, 3).Draw(t, "all") == 0 {
					for _, b := range late {
						f.Came(0, b)
					}
					late = nil
				}
			case 4:
				f.Came(0, audio.audio(rapid.IntRange(10, 20).Draw(t, "size")))
			case 5:
				f.Release()
			case 6:
				f.Step()
			case 7:
				f.Pass(time.Duration(rapid.IntRange(0, 40).Draw(t, "ms")) * time.Millisecond)
				f.Round()
			case 8:
				f.Rejoin(rapid.IntRange(1, 2).Draw(t, "viewer"))
			case 9:
				viewer := rapid.IntRange(0, 1).Draw(t, "viewer")
				_, ssrc, newest, _ := taps[viewer].state()
				b, err := (&rtcp.TransportLayerNack{MediaSSRC: ssrc, Nacks: []rtcp.NackPair{{
					PacketID:    newest - rapid.Uint16Range(0, 16).Draw(t, "back"),
					LostPackets: 0xffff,
				}}}).Marshal()
				if err != nil {
					t.Fatal(err)
				}
				f.Feedback(1+viewer, b)
			}
		}
		f.Round()
		sent, _ := f.Sent()
		if !sfutest.Eventually(5*time.Second, func() bool {
			a, _, _, _ := taps[0].state()
			b, _, _, _ := taps[1].state()
			return a+b == sent
		}) {
			t.Fatal("not everything came")
		}
		for _, tap := range taps {
			if _, _, _, fault := tap.state(); fault != nil {
				t.Fatal(fault)
			}
		}
	})
	// Repeats under a packet's own number forbid stamps.
	if a, b := taps[0].stamped(idTime), taps[0].stamped(idTransport); a < 100 || a != b {
		t.Errorf("with RTX %d video packets carry their time, %d a transport-wide number", a, b)
	}
	if a, b := taps[1].stamped(idTime), taps[1].stamped(idTransport); a+b != 0 {
		t.Errorf("without RTX %d video packets carry their time, %d a transport-wide number", a, b)
	}
	if n, _ := f.Sent(); n < 500 || f.Resent() == 0 {
		t.Errorf("only %d packets were sent, %d of them again", n, f.Resent())
	}
}

func TestSendTimeWraps(t *testing.T) {
	for _, c := range []struct {
		since time.Duration
		want  uint32
	}{
		{0, 0}, {time.Second, 1 << 18}, {time.Second / 2, 1 << 17}, {63 * time.Second, 63 << 18},
		{64 * time.Second, 0}, {65*time.Second + time.Second/4, 1<<18 + 1<<16},
		{64*time.Second - 1, 1<<24 - 1}, {(1<<20)*64*time.Second + 3*time.Second, 3 << 18}, {100 * 365 * 24 * time.Hour, 0x000000},
	} {
		// A unit is 4 µs, and may be cut.
		got := sfu.SendTime(c.since)
		if c.since > 1<<60 {
			c.want = uint32(uint64(c.since/time.Second)%64) << 18
		}
		if off := (got - c.want + 1) & 0xffffff; off > 2 {
			t.Errorf("%v is written as %d, want %d", c.since, got, c.want)
		}
	}
}
