package sfu_test

import (
	"math"
	"testing"
	"time"

	"github.com/pion/interceptor"
	receiving "github.com/pion/interceptor/pkg/report"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu"
)

// reporter is pion's receiver of one source, for comparison. Its goroutine waits
// after each report until the next is wanted.
type reporter struct {
	now      time.Time
	receiver interceptor.Interceptor
	media    interceptor.RTPReader
	control  interceptor.RTCPReader
	next     []byte // what is read next
	reports  chan rtcp.ReceptionReport
	wanted   chan struct{}
	done     chan struct{}
}

func newReporter(t rapid.TB, ssrc, clock uint32) *reporter {
	r := &reporter{reports: make(chan rtcp.ReceptionReport), wanted: make(chan struct{}), done: make(chan struct{})}
	factory, err := receiving.NewReceiverInterceptor(receiving.ReceiverInterval(100*time.Microsecond), receiving.ReceiverNow(func() time.Time { return r.now }))
	if err != nil {
		t.Fatal(err)
	}
	if r.receiver, err = factory.NewInterceptor(""); err != nil {
		t.Fatal(err)
	}
	read := func(b []byte, a interceptor.Attributes) (int, interceptor.Attributes, error) {
		return copy(b, r.next), a, nil
	}
	r.media = r.receiver.BindRemoteStream(&interceptor.StreamInfo{SSRC: ssrc, ClockRate: clock}, interceptor.RTPReaderFunc(read))
	r.control = r.receiver.BindRTCPReader(interceptor.RTCPReaderFunc(read))
	r.receiver.BindRTCPWriter(interceptor.RTCPWriterFunc(func(p []rtcp.Packet, _ interceptor.Attributes) (int, error) {
		select {
		case r.reports <- p[0].(*rtcp.ReceiverReport).Reports[0]:
		case <-r.done:
		}
		select {
		case <-r.wanted:
		case <-r.done:
		}
		return 0, nil
	}))
	<-r.reports // on nothing
	return r
}

func (r *reporter) block() rtcp.ReceptionReport {
	r.wanted <- struct{}{}
	return <-r.reports
}

func (r *reporter) close() {
	close(r.done)
	_ = r.receiver.Close()
}

// feed has pion take a packet that came at a time.
func (r *reporter) feed(t rapid.TB, p interface{ Marshal() ([]byte, error) }, at time.Time) {
	b, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	r.now, r.next = at, b
	buf := make([]byte, 1500)
	if _, ok := p.(*rtp.Header); ok {
		_, _, err = r.media.Read(buf, nil)
	} else {
		_, _, err = r.control.Read(buf, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestReceiptsAreThoseOfPion: loss, numbers, jitter and delays of a source whose
// packets are lost or late, and whose numbers wrap.
func TestReceiptsAreThoseOfPion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		clock := rapid.SampledFrom([]uint32{48_000, 90_000}).Draw(t, "clock")
		const ssrc = 7
		theirs := newReporter(t, ssrc, clock)
		defer theirs.close()
		ours := sfu.NewReceipt(clock)
		at := time.Now()
		seq := rapid.OneOf(rapid.Uint16(), rapid.Uint16Range(65400, 65535)).Draw(t, "first")
		ts := rapid.Uint32Range(0, 1<<31).Draw(t, "timestamp") // does not wrap: pion's jitter jumps then
		saw := func(seq uint16, ts uint32) {
			theirs.feed(t, &rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: seq, Timestamp: ts}, at)
			ours.Saw(seq, ts, at)
		}
		saw(seq, ts)
		disordered := false
		for range rapid.IntRange(1, 10).Draw(t, "reports") {
			for range rapid.IntRange(0, 40).Draw(t, "packets") {
				at = at.Add(time.Duration(rapid.IntRange(0, 30_000).Draw(t, "µs")) * time.Microsecond)
				seq, ts = seq+1, ts+clock/50
				switch rapid.IntRange(0, 9).Draw(t, "fate") {
				case 0: // lost
					seq, ts = seq+1, ts+clock/50
				case 1: // overtaken by the next
					disordered = true
					saw(seq+1, ts+clock/50)
					saw(seq, ts)
					seq, ts = seq+1, ts+clock/50
					continue
				case 2:
					ntp := rapid.Uint64().Draw(t, "ntp")
					theirs.feed(t, &rtcp.SenderReport{SSRC: ssrc, NTPTime: ntp}, at)
					ours.Reported(ntp, 0, at)
				}
				saw(seq, ts)
			}
			theirs.now = at
			want, got := theirs.block(), ours.Block(ssrc, at)
			if got.Lost != want.TotalLost || got.Highest != want.LastSequenceNumber || got.LastSR != want.LastSenderReport ||
				math.Abs(float64(got.Delay)-float64(want.Delay)) > 1 {
				t.Fatalf("we report %+v, pion %+v", got, want)
			}
			// Each cuts what it divides.
			if off := int(got.Fraction) - int(want.FractionLost); off < -1 || off > 1 {
				t.Fatalf("a fraction of %d was lost, pion says %d", got.Fraction, want.FractionLost)
			}
			// Pion also takes the jitter of packets that were overtaken, as if their
			// timestamps had gone back; and floats where RFC 3550 A.8 rounds.
			if off := float64(got.Jitter) - float64(want.Jitter); !disordered && math.Abs(off) > 2 {
				t.Fatalf("jitter is %d, pion says %d", got.Jitter, want.Jitter)
			}
		}
	})
}

// TestReceiptsSurviveWrappedTimestamps: the jitter of an even source stays zero.
func TestReceiptsSurviveWrappedTimestamps(t *testing.T) {
	const clock = 48_000
	r := sfu.NewReceipt(clock)
	at, ts := time.Now(), uint32(1<<32-50*960)
	for i := range 200 {
		r.Saw(uint16(65500+i), ts+uint32(i)*960, at.Add(time.Duration(i)*20*time.Millisecond))
	}
	b := r.Block(1, at)
	if b.Jitter > 1 || b.Lost != 0 || b.Highest != 1<<16+(65500+199)%65536 {
		t.Errorf("reported is %+v", b)
	}
}

// TestNTPTimesWrap: the first era ends in February 2036.
func TestNTPTimesWrap(t *testing.T) {
	end := time.Date(2036, 2, 7, 6, 28, 16, 0, time.UTC)
	for _, at := range []time.Time{
		time.Date(1990, 1, 1, 0, 0, 0, 0, time.UTC), time.Now(), end.Add(-time.Second), end.Add(-time.Nanosecond), end,
		end.Add(time.Second / 3), time.Date(2090, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		back := sfu.FromNTP(sfu.ToNTP(at))
		if off := back.Sub(at); off < -time.Microsecond || off > time.Microsecond {
			t.Errorf("%v comes back as %v", at, back)
		}
	}
	if n := sfu.ToNTP(end); n>>32 != 0 {
		t.Errorf("the second era begins with %d seconds", n>>32)
	}
}
