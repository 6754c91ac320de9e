//go:build !race

// The race detector makes sync.Pool forget at random, so nothing can be said
// about allocations under it.

package sfu_test

import (
	"encoding/binary"
	"runtime/debug"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/sfu/sfutest"
)

// From a publisher's packet to a train on its way to a viewer nothing is
// allocated, resends and the renumbering of a wrapping counter included.
func TestForwardingAllocatesNothing(t *testing.T) {
	const speakers = 2
	f := fed(t, newSFU(t), speakers, 2)
	var clients []*sfutest.Client
	for i := range 2 {
		clients = append(clients, attach(t, f, speakers+i, sfutest.Options{}))
	}
	video, voices := &media{t: t}, [speakers]media{{t: t}, {t: t}}
	begun(f, video, &voices[0])
	for range 3 {
		f.From(1, voices[1].audio(80))
		f.Wait(time.Second)
		for i, c := range clients {
			if err := f.Renegotiate(speakers+i, c.Accept); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The clients answer no more: their own work is not to be counted.
	for _, c := range clients {
		if err := c.Silence(); err != nil {
			t.Fatal(err)
		}
	}
	frame := video.frame(8, 1000)
	said := [speakers][]byte{voices[0].audio(80), voices[1].audio(90)}
	seq := video.seq
	next := func() {
		for _, b := range frame {
			seq++
			binary.BigEndian.PutUint16(b[2:], seq)
			binary.BigEndian.PutUint32(b[4:], uint32(seq)/8*3000)
			f.Came(0, b)
		}
		for i, b := range said {
			voices[i].seq++
			binary.BigEndian.PutUint16(b[2:], voices[i].seq)
			binary.BigEndian.PutUint32(b[4:], uint32(voices[i].seq)*960)
			f.Came(i, b)
		}
		f.Pass(3 * time.Millisecond)
		f.Round()
	}
	for range 200 { // the history's memory grows to what it holds
		next()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // it empties the pools
	before, _ := f.Sent()
	const rounds = 9000 // more than once round the sequence numbers
	if n := testing.AllocsPerRun(rounds, next); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
	if after, _ := f.Sent(); after-before != (rounds+1)*(2*8+2*speakers) {
		t.Errorf("%d packets were sent, want %d", after-before, (rounds+1)*(2*8+2*speakers))
	}
}

// Nor when pictures are renumbered for viewers that have turned to another layer.
func TestForwardingALayerAllocatesNothing(t *testing.T) {
	f, e, clients := fedLayers(t, "VP8", sfutest.Options{}, sfutest.Options{})
	for _, rid := range []string{"r0", "r1"} {
		for i := range clients {
			if err := f.Want(1+i, rid); err != nil {
				t.Fatal(err)
			}
		}
		e.frame(t, true)
		f.Round()
	}
	for _, c := range clients {
		if err := c.Silence(); err != nil {
			t.Fatal(err)
		}
	}
	var frames [3][][]byte
	for i, l := range e.layers {
		for _, p := range l.Frame(false) {
			frames[i] = append(frames[i], marshal(t, p))
		}
	}
	seqs := [3]uint16{e.layers[0].Seq, e.layers[1].Seq, e.layers[2].Seq}
	n := uint32(0)
	next := func() {
		n++
		for i, frame := range frames {
			for _, b := range frame {
				seqs[i]++
				binary.BigEndian.PutUint16(b[2:], seqs[i])
				binary.BigEndian.PutUint32(b[4:], e.layers[i].Timestamp+n*3000)
				f.Came(0, b)
			}
		}
		f.Pass(3 * time.Millisecond)
		f.Round()
	}
	for range 400 {
		next()
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before, _ := f.Sent()
	const rounds = 3000
	if n := testing.AllocsPerRun(rounds, next); n != 0 {
		t.Errorf("%v allocations a round", n)
	}
	if after, _ := f.Sent(); after-before != (rounds+1)*2*3 {
		t.Errorf("%d packets were sent, want %d", after-before, (rounds+1)*2*3)
	}
}
