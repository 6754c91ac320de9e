package sfu_test

import (
	"testing"

	"github.com/hibari/hibari/internal/sfu/sfutest"
)

// Packets of a source that is over may still come, overtaken by those of the next
// one. They must not bring it back.
func TestLatePacketsOfAnOldSourceChangeNothing(t *testing.T) {
	s := newSFU(t, patient)
	t.Run("old SSRC", func(t *testing.T) {
		g := newScene(t, s, sfutest.Script{Codec: "VP8", SSRC: 1})
		from := g.script.Frames()
		late := g.script.Frame(delta)
		g.script.SSRC, g.script.Seq, g.script.Timestamp = 2, 40_000, 1<<31
		g.send(key)
		for _, p := range late {
			g.sendPacket(p)
		}
		g.send(delta)
		g.settle()
		g.wants("a new SSRC and late packets", from, 1, 2, 3)
	})
	t.Run("retransmission of an old SSRC", func(t *testing.T) {
		g := newScene(t, s, sfutest.Script{Codec: "VP8", SSRC: 1, Seq: 10_000})
		from := g.script.Frames()
		for i, next := range []uint16{5_000, 40_000, 15_000} { // before, far after, and after
			late := g.script.Frame(key)
			g.script.SSRC, g.script.Seq = uint32(i+2), next
			g.send(delta)
			for j, p := range late {
				g.sendPacket(sfutest.Repair(p, uint32(i+99), uint16(j)))
			}
			g.send(key)
			g.script.Seq = 10_000
			g.script.SSRC = uint32(i + 12)
			g.send(key)
		}
		g.settle()
		g.wants("new SSRCs and late retransmissions", from, 2, 3, 6, 7, 10, 11, 12)
	})
	t.Run("old codec", func(t *testing.T) {
		g := newScene(t, s, sfutest.Script{Codec: "VP8"})
		from := g.script.Frames()
		late := g.script.Frame(delta)
		g.script.Codec = "VP9"
		g.send(key)
		for _, p := range late {
			g.sendPacket(p)
		}
		g.send(delta)
		g.settle()
		g.wants("a new codec and late packets", from, 1, 2, 3)
	})
	t.Run("retransmission of an old codec", func(t *testing.T) {
		g := newScene(t, s, sfutest.Script{Codec: "VP8"})
		from := g.script.Frames()
		late := g.script.Frame(delta)
		g.script.Codec = "VP9"
		g.send(key)
		for i, p := range late {
			g.sendPacket(sfutest.Repair(p, 99, uint16(i)))
		}
		g.send(delta)
		g.settle()
		g.wants("a new codec and late retransmissions", from, 1, 2, 3)
	})
}

// A source whose numbers leap has been started anew: nobody may wait for what
// lies between.
func TestLeapingNumbersAreANewBeginning(t *testing.T) {
	s := newSFU(t, patient)
	g := newScene(t, s, sfutest.Script{Codec: "VP8", Seq: 100})
	from := g.script.Frames()
	g.send(delta)
	g.script.Seq += 30_000
	g.send(delta, key, delta)
	g.settle()
	g.wants("a leap of 30,000", from, 0, 2, 3, 4)
}
