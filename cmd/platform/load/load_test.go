package load

import (
	"bytes"
	"context"
	"os"
	"runtime"
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
		r := newReceipts()
		r.got(3, from) // before the measurement: not counted
		r.begin(map[int]uint64{3: from})
		r.got(4, from) // of a publisher in another channel
		seen, twice := map[uint64]bool{}, 0
		for _, offset := range offsets {
			number := from + uint64(offset)
			if offset < 0 && uint64(-offset) > from {
				continue
			}
			r.got(3, number)
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
		counted := r.tallies[3]
		if got := counted.upTo(from + length); got != want || counted.twice != twice {
			t.Fatalf("counted %d and %d twice, want %d and %d", got, counted.twice, want, twice)
		}
	})
}

func TestAbsurdNumbersCostNoMemory(t *testing.T) {
	c := &tally{}
	c.add(1 << 63)
	c.add(maxWords * 64)
	if len(c.seen) != 0 {
		t.Errorf("%d words are kept", len(c.seen))
	}
}

// arrivals is a watcher without a connection.
type arrivals struct{ *receipts }

func (a arrivals) count() *receipts { return a.receipts }
func (arrivals) close()             {}

func TestReportAddsUp(t *testing.T) {
	r := &run{Config: Config{PID: 1}, publishers: make([]*publisher, 1)}
	for _, lost := range []uint64{0, 3} {
		v := arrivals{newReceipts()}
		v.begin(map[int]uint64{0: 100})
		for n := uint64(100); n < 200-lost; n++ {
			v.got(0, n)
			v.delayed(2 * time.Millisecond)
		}
		v.got(0, 250) // sent after the measurement
		v.joined = 40 * time.Millisecond
		r.viewers = append(r.viewers, placed{v, &stage{}})
	}
	got := r.report(window{
		from: []uint64{100}, to: []uint64{200}, elapsed: 2 * time.Second, tool: time.Second,
		alone: usage{memory: 1e6}, joined: usage{memory: 3e6},
		server: usage{cpu: 197 * time.Microsecond, memory: 5e6}, sent: serverSent{packets: 30, trains: 4, calls: 3},
	})
	if got.PacketsExpected != 200 || got.PacketsDelivered != 197 || got.PacketsLost != 3 || got.PacketsTwice != 0 {
		t.Errorf("packets: %+v", got)
	}
	if got.LostRatio != 3.0/200 || got.DeliveredRatio+got.LostRatio != 1 || got.DeliveredRate != 98.5 {
		t.Errorf("ratios: %+v", got)
	}
	if got.CPUPerPacket < 0.999 || got.CPUPerPacket > 1.001 || got.JoinP50 != 40 || got.LatencyP50 != 2 || got.ToolCores != 0.5 {
		t.Errorf("times: %+v", got)
	}
	if got.MemoryViewer != 2000 || got.TrainLength != 7.5 || got.Calls != 0.1 || got.JoinCPU != 0 || got.IdleCPU != 0 {
		t.Errorf("server: %+v", got)
	}
	var out bytes.Buffer
	if err := got.Print(&out); err != nil || !strings.Contains(out.String(), "lost") {
		t.Errorf("printed %q (%v)", &out, err)
	}
}

// Without a publisher, the server's CPU is for joins and for idling.
func TestReportOfIdleViewers(t *testing.T) {
	r := &run{Config: Config{PID: 1}, idle: time.Millisecond, viewers: []placed{{arrivals{newReceipts()}, &stage{}}, {arrivals{newReceipts()}, &stage{}}}}
	got := r.report(window{
		elapsed: 2 * time.Second,
		alone:   usage{cpu: time.Second, memory: 1e6}, joined: usage{cpu: time.Second + 8*time.Millisecond},
		server: usage{cpu: 3 * time.Millisecond, memory: 2e6},
	})
	if got.JoinCPU != 4 || got.IdleCPU < 249 || got.IdleCPU > 251 || got.MemoryViewer != 500 {
		t.Errorf("got %+v", got)
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

// A packet tells its publisher, number and time, and says "key frame" where one
// begins.
func TestFilledPayloads(t *testing.T) {
	for _, one := range []struct {
		key   bool
		begin []byte
	}{
		{true, []byte{0x10, 0, 0, 0, 0x9d, 0x01, 0x2a}},
		{false, []byte{0x10, 0x01, 0, 0, 0}},
	} {
		packet := &rtp.Packet{Header: rtp.Header{Version: 2}, Payload: make([]byte, minPayload)}
		writeVP8(packet.Payload, one.key)
		want := stamp{publisher: 1<<15 + 1, number: 1<<48 - 1, sent: 5 * time.Second}
		want.write(packet.Payload)
		if !bytes.HasPrefix(packet.Payload, one.begin) {
			t.Errorf("key %v: % x", one.key, packet.Payload)
		}
		data, err := packet.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := readStamp(data); !ok || got != want {
			t.Errorf("read %+v, want %+v", got, want)
		}
		if _, ok := readStamp(data[:len(data)-1]); ok {
			t.Error("a packet too short has a stamp")
		}
	}
}

func TestRunRefusesWhatItCannotSend(t *testing.T) {
	good := Config{Channels: 1, Publishers: 1, Viewers: 1, Rate: 240, FrameRate: 30, PacketSize: 1000}
	for name, change := range map[string]func(*Config){
		"no viewer":             func(c *Config) { c.Viewers = 0 },
		"no channel":            func(c *Config) { c.Channels = 0 },
		"no frame":              func(c *Config) { c.FrameRate = 0 },
		"less than one a frame": func(c *Config) { c.Rate = 29 },
		"no room for the time":  func(c *Config) { c.PacketSize = minPayload - 1 },
		"more than a datagram":  func(c *Config) { c.PacketSize = maxPayload + 1 },
	} {
		c := good
		change(&c)
		if _, err := Run(context.Background(), c, func(string) {}); err == nil || !strings.Contains(err.Error(), "need ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The kernel's answer about this process is near what the process knows itself.
func TestProcessUsage(t *testing.T) {
	if runtime.GOOS != "linux" {
		if _, err := processUsage(os.Getpid()); err == nil {
			t.Error("usage was measured where it can't be")
		}
		return
	}
	if _, err := processUsage(1 << 28); err == nil {
		t.Error("a process that cannot be has used CPU time")
	}
	before, err := processUsage(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if before.memory < 1<<20 || before.cpu <= 0 {
		t.Errorf("this process uses %+v", before)
	}
	for begun := time.Now(); ; {
		now, err := processUsage(os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if now.cpu > before.cpu+10*time.Millisecond {
			return
		}
		if time.Since(begun) > 10*time.Second {
			t.Fatal("ten busy seconds took no CPU time")
		}
	}
}
