package sfu_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// On channels that are not reliable a bad network loses messages, but of those
// that come each comes once and whole; on ordered ones in order.
func TestUnreliableMessages(t *testing.T) {
	zero, brief := uint16(0), uint16(1)
	for name, c := range map[string]sfu.DataChannel{
		"unordered, no retransmits": {Unordered: true, MaxRetransmits: &zero},
		"ordered, a millisecond":    {MaxPacketLifeTime: &brief},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSFU(t, patient)
			c.Label, c.Direction = "#x", tenant.SendRecv
			sender := talker(t, s, []sfu.DataChannel{chat("#x"), chat("#end")})
			var bad atomic.Bool // from when the channels are open
			var n atomic.Int64
			receiver := join(t, s, request(tenant.SendOnly, onlyData, withData(c, chat("#end"))), sfutest.Options{
				Drop: func(datagram []byte) bool {
					return bad.Load() && sfutest.KindOf(datagram) == sfutest.DTLS && n.Add(1)%60 < 20
				},
			})
			open(t, receiver)
			bad.Store(true)
			const sent = 200
			for i := range sent {
				data := binary.BigEndian.AppendUint32(bytes.Repeat([]byte{byte(i)}, 1000), uint32(i))
				if err := sender.SendMessage("#x", data); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond) // as a game does, rather than all at once
			}
			bad.Store(false)
			if err := sender.SendMessage("#end", []byte("end")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the end", func() bool { return len(receiver.Messages("#end")) == 1 })
			var numbers []uint32
			for _, m := range receiver.Messages("#x") {
				i := binary.BigEndian.Uint32(m.Data[1000:])
				if len(m.Data) != 1004 || bytes.Count(m.Data[:1000], []byte{byte(i)}) != 1000 {
					t.Fatalf("message %d is damaged", i)
				}
				numbers = append(numbers, i)
			}
			if len(numbers) < sent/2 || len(numbers) >= sent {
				t.Errorf("%d of %d came", len(numbers), sent)
			}
			if !c.Unordered && !slices.IsSorted(numbers) {
				t.Errorf("not in order: %v", numbers)
			}
			slices.Sort(numbers)
			if len(slices.Compact(numbers)) != len(numbers) {
				t.Error("a message came twice")
			}
		})
	}
}

// A receiver that takes nothing loses messages, which are counted; neither its
// connection nor the sender's ends, and the others get all.
func TestSlowReceiverLosesMessages(t *testing.T) {
	s := newSFU(t, func(c *sfu.Config) { c.MessageBytes = 1 << 30 })
	sender := talker(t, s, []sfu.DataChannel{chat("#x")})
	other := talker(t, s, []sfu.DataChannel{chat("#x")})
	var deaf atomic.Bool
	slow := join(t, s, request(tenant.SendOnly, onlyData, withData(chat("#x"))), sfutest.Options{
		Drop: func(datagram []byte) bool { return deaf.Load() && sfutest.KindOf(datagram) == sfutest.DTLS },
	})
	open(t, slow)
	deaf.Store(true)
	const sent = 30
	for i := range sent {
		if err := sender.SendMessage("#x", make([]byte, 60_000)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other gets it", func() bool { return len(other.Messages("#x")) == i+1 })
	}
	if n := s.Stats().DataDrops["receiver_full"]; n == 0 || n >= sent {
		t.Errorf("%d messages were dropped", n)
	}
	deaf.Store(false)
	eventually(t, "what was kept arrives", func() bool {
		return int64(len(slow.Messages("#x")))+s.Stats().DataDrops["receiver_full"] == sent
	})
}

// A door that says more than its client takes is told so, and it is counted.
func TestDoorSaysTooMuch(t *testing.T) {
	s := newSFU(t)
	var deaf atomic.Bool
	c := join(t, s, request(tenant.SendOnly, onlyData, withData(sfu.DataChannel{Label: "push"})), sfutest.Options{
		Drop: func(datagram []byte) bool { return deaf.Load() && sfutest.KindOf(datagram) == sfutest.DTLS },
	})
	open(t, c)
	deaf.Store(true)
	var err error
	for range 100 {
		if err = c.Connection.SendData("push", make([]byte, 60_000), true); err != nil {
			break
		}
	}
	if !errors.Is(err, transport.ErrDataFull) || s.Stats().DataDrops["signalling_full"] != 1 {
		t.Errorf("%v, counted %v", err, s.Stats().DataDrops)
	}
}

// Messages and media do not mind each other: a viewer's offers keep the section of
// its data channels, and publishers come and go.
func TestMessagesBesideMedia(t *testing.T) {
	s := newSFU(t)
	viewer := view(t, s, withData(chat("#x")))
	open(t, viewer)
	for range 2 {
		publisher := publish(t, s, av, withData(chat("#x")))
		open(t, publisher)
		flows(t, viewer, publisher.Connection.ID())
		before := len(viewer.Messages("#x"))
		if err := publisher.SendMessage("#x", []byte("hello")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the message", func() bool { return len(viewer.Messages("#x")) == before+1 })
		if err := publisher.Leave(tenant.EndClient); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the publisher goes", func() bool { return len(viewer.Signals(sfu.SignalReoffer)) > 0 })
	}
	if sdp := viewer.Peer().RemoteDescription().SDP; strings.Count(sdp, "m=application") != 1 {
		t.Errorf("the last offer is %s", sdp)
	}
	if err := viewer.Err(); err != nil {
		t.Error(err)
	}
}

// What is no zlib, has more behind it, or would become too long goes nowhere.
func TestBadCompression(t *testing.T) {
	s := newSFU(t)
	packed := chat("#x")
	packed.Compress = true
	sender := talker(t, s, []sfu.DataChannel{packed})
	receiver := talker(t, s, []sfu.DataChannel{packed})
	bomb := deflate(strings.Repeat("\x00", 50<<20))
	for _, bad := range [][]byte{bomb, nil, []byte("x"), append(deflate("x"), 'y'), deflate("cut off")[:10]} {
		if err := sender.SendMessage("#x", bad); err != nil {
			t.Fatal(err)
		}
	}
	if err := sender.Channel("#x").SendText("a string"); err != nil {
		t.Fatal(err)
	}
	if err := sender.SendMessage("#x", deflate("good")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the good one", func() bool { return len(receiver.Messages("#x")) == 1 })
	if got := inflate(t, receiver.Messages("#x")[0].Data); got != "good" {
		t.Errorf("got %q", got)
	}
	if n := s.Stats().DataDrops["bad_compression"]; n != 6 {
		t.Errorf("%d were counted", n)
	}
}

// TestDeflate: what is compressed comes out the same, and never longer than asked.
func TestDeflate(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
		data = bytes.Repeat(data, rapid.IntRange(1, 50).Draw(t, "times"))
		packed := sfu.Deflate(data)
		if got, err := sfu.Inflate(packed, len(data)); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes became %d: %v", len(data), len(got), err)
		}
		if len(data) > 0 {
			if _, err := sfu.Inflate(packed, len(data)-1); err == nil {
				t.Fatal("it is longer than that")
			}
		}
	})
}

// FuzzInflate: whatever a client sends as compressed, it is read within its bound
// or refused.
func FuzzInflate(f *testing.F) {
	f.Add(sfu.Deflate(nil))
	f.Add(sfu.Deflate([]byte("hello, hello, hello")))
	f.Add(deflate(strings.Repeat("\x00", 100_000)))
	f.Add([]byte{0x78, 0x9c, 0x4b})
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := sfu.Inflate(data, 1000); err == nil && len(got) > 1000 {
			t.Fatalf("%d bytes", len(got))
		}
	})
}
