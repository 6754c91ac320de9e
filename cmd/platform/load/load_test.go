package load

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"pgregory.net/rapid"
)

// What a viewer counts is what a set of numbers would hold: each packet once,
// whatever the order, and only those of the measured time.
func TestCountsAgainstASet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := rapid.Uint64Range(0, 1<<40).Draw(t, "from")
		length := rapid.Uint64Range(0, 300).Draw(t, "length")
		offsets := rapid.SliceOf(rapid.Int64Range(-100, 500)).Draw(t, "offsets")
		v := &viewer{}
		v.count(from, time.Second) // before the measurement: not counted
		v.begin(from)
		seen, twice := map[uint64]bool{}, 0
		for _, offset := range offsets {
			number := from + uint64(offset)
			if offset < 0 && uint64(-offset) > from {
				continue
			}
			v.count(number, time.Millisecond)
			if number >= from {
				if seen[number] {
					twice++
				}
				seen[number] = true
			}
		}
		want := uint64(0)
		for number := range seen {
			if number < from+length {
				want++
			}
		}
		if got := countBits(v.seen, length); got != want || v.twice != twice {
			t.Fatalf("counted %d and %d twice, want %d and %d", got, v.twice, want, twice)
		}
	})
}

func TestAbsurdNumbersCostNoMemory(t *testing.T) {
	v := &viewer{}
	v.begin(0)
	v.count(1<<63, time.Second)
	v.count(maxWords*64, time.Second)
	if len(v.seen) != 0 {
		t.Errorf("%d words are kept", len(v.seen))
	}
}

func TestReportAddsUp(t *testing.T) {
	r := &run{Config: Config{PID: 1}}
	for _, lost := range []uint64{0, 3} {
		v := &viewer{joined: 40 * time.Millisecond}
		v.begin(100)
		for n := uint64(100); n < 200-lost; n++ {
			v.count(n, 2*time.Millisecond)
		}
		v.count(250, time.Hour) // sent after the measurement
		r.viewers = append(r.viewers, v)
	}
	got := r.report(100, 200, 2*time.Second, 197*time.Microsecond)
	if got.PacketsExpected != 200 || got.PacketsDelivered != 197 || got.PacketsLost != 3 || got.PacketsTwice != 0 {
		t.Errorf("packets: %+v", got)
	}
	if got.LostRatio != 3.0/200 || got.DeliveredRatio+got.LostRatio != 1 {
		t.Errorf("ratios: %+v", got)
	}
	if got.CPUPerPacket != 1 || got.JoinP50 != 40 || got.LatencyP50 != 2 {
		t.Errorf("times: %+v", got)
	}
	var out bytes.Buffer
	if err := got.Print(&out); err != nil || !strings.Contains(out.String(), "lost") {
		t.Errorf("printed %q (%v)", &out, err)
	}
}

func TestPercentile(t *testing.T) {
	ms := func(list ...int) (all []time.Duration) {
		for _, n := range list {
			all = append(all, time.Duration(n)*time.Millisecond)
		}
		return all
	}
	for _, one := range []struct {
		all  []time.Duration
		p    int
		want float64
	}{
		{nil, 50, 0}, {ms(7), 50, 7}, {ms(7), 100, 7},
		{ms(3, 1, 2), 50, 2}, {ms(3, 1, 2), 100, 3}, {ms(3, 1, 2), 0, 1},
		{ms(1, 2, 3, 4, 5, 6, 7, 8, 9, 10), 99, 9},
	} {
		if got := percentile(one.all, one.p); got != one.want {
			t.Errorf("percentile %d of %v is %v, want %v", one.p, one.all, got, one.want)
		}
	}
}

// The payload is where pion says that it is.
func TestPayloadIsWherePionFindsIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		packet := rtp.Packet{
			Header:  rtp.Header{Version: 2, CSRC: rapid.SliceOfN(rapid.Uint32(), 0, 15).Draw(t, "csrc")},
			Payload: rapid.SliceOfN(rapid.Byte(), 1, 64).Draw(t, "payload"),
		}
		if rapid.Bool().Draw(t, "extended") {
			if err := packet.SetExtension(4, rapid.SliceOfN(rapid.Byte(), 1, 16).Draw(t, "extension")); err != nil {
				t.Fatal(err)
			}
		}
		data, err := packet.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if got := rtpPayload(data); !bytes.Equal(got, packet.Payload) {
			t.Fatalf("payload %x, want %x", got, packet.Payload)
		}
	})
}

func FuzzPayload(f *testing.F) {
	f.Add([]byte{0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xbe, 0xde, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		if payload := rtpPayload(data); len(payload) > max(0, len(data)-12) {
			t.Errorf("%d bytes of payload in %d", len(payload), len(data))
		}
	})
}

// A packet tells its number and time, and says "key frame" where one begins.
func TestFilledPayloads(t *testing.T) {
	p := &publisher{}
	p.sent.Store(77)
	packet := &rtp.Packet{Payload: make([]byte, minPayload)}
	for _, one := range []struct {
		first, key bool
		begin      []byte
	}{
		{true, true, []byte{0x10, 0, 0, 0, 0x9d, 0x01, 0x2a}},
		{true, false, []byte{0x10, 0x01, 0, 0, 0}},
		{false, true, []byte{0, 0, 0, 0, 0}},
	} {
		p.fill(packet, one.first, one.key, 5*time.Second)
		if !bytes.HasPrefix(packet.Payload, one.begin) {
			t.Errorf("first %v, key %v: % x", one.first, one.key, packet.Payload)
		}
		number := binary.BigEndian.Uint64(packet.Payload[headerSize:])
		at := time.Duration(binary.BigEndian.Uint64(packet.Payload[headerSize+8:]))
		if number != 77 || at != 5*time.Second {
			t.Errorf("number %d at %s", number, at)
		}
	}
}

func TestRunRefusesWhatItCannotSend(t *testing.T) {
	good := Config{Viewers: 1, Rate: 240, FrameRate: 30, PacketSize: 1000}
	for name, change := range map[string]func(*Config){
		"no viewer":             func(c *Config) { c.Viewers = 0 },
		"no frame":              func(c *Config) { c.FrameRate = 0 },
		"less than one a frame": func(c *Config) { c.Rate = 29 },
		"no room for the time":  func(c *Config) { c.PacketSize = minPayload - 1 },
		"more than a datagram":  func(c *Config) { c.PacketSize = maxPayload + 1 },
	} {
		c := good
		change(&c)
		if _, err := Run(context.Background(), c, func(string) {}); err == nil || !strings.Contains(err.Error(), "need at least") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestProcessCPU(t *testing.T) {
	if used, err := processCPU(0); used != 0 || err != nil {
		t.Errorf("process 0 used %s (%v)", used, err)
	}
	if _, err := processCPU(1 << 30); err == nil {
		t.Error("a process that cannot be has used CPU time")
	}
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		return // only Linux tells
	}
	before, err := processCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); ; {
		if now, err := processCPU(os.Getpid()); err != nil || now > before {
			if err != nil {
				t.Error(err)
			}
			return
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatal("ten busy seconds took no CPU time")
		}
	}
}
