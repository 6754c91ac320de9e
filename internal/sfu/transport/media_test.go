package transport_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// profiles are those a client may ask for.
var profiles = map[string]dtls.SRTPProtectionProfile{
	"AEAD_AES_128_GCM":       dtls.SRTP_AEAD_AES_128_GCM,
	"AEAD_AES_256_GCM":       dtls.SRTP_AEAD_AES_256_GCM,
	"AES128_CM_HMAC_SHA1_80": dtls.SRTP_AES128_CM_HMAC_SHA1_80,
}

// header is an RTP header with an extension and a CSRC.
func header(ssrc uint32, seq uint16) []byte {
	h := rtp.Header{Version: 2, PayloadType: 96, SequenceNumber: seq, Timestamp: 1234, SSRC: ssrc, CSRC: []uint32{77}}
	_ = h.SetExtension(3, []byte{1, 2, 3})
	b, err := h.Marshal()
	if err != nil {
		panic(err)
	}
	return b
}

func payload(n int) []byte {
	return bytes.Repeat([]byte{0xa5}, n)
}

// receive decrypts the client's next packet and parses it.
func (c *client) receive() *rtp.Packet {
	c.t.Helper()
	plain, err := c.in.DecryptRTP(nil, c.packet(), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	p := new(rtp.Packet)
	if err := p.Unmarshal(plain); err != nil {
		c.t.Fatal(err)
	}
	return p
}

// protect encrypts an RTP packet as the client.
func (c *client) protect(ssrc uint32, seq uint16, body []byte) []byte {
	c.t.Helper()
	b, err := c.out.EncryptRTP(nil, append(header(ssrc, seq), body...), nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

func TestEveryProfileCarriesMediaBothWays(t *testing.T) {
	for name, profile := range profiles {
		t.Run(name, func(t *testing.T) {
			e := listen(t, transport.Config{})
			p, o, c := connect(t, e, "127.0.0.1", profile)
			b := e.NewBatch()

			// Out: two SSRCs as with RTX, with and without padding.
			for i := range uint16(20) {
				for _, ssrc := range []uint32{1111, 2222} {
					padding := int(i % 4 * 3)
					if err := p.SealRTP(b, header(ssrc, 500+i), payload(800), padding); err != nil {
						t.Fatal(err)
					}
				}
			}
			if s := b.Flush(); s.Packets != 40 {
				t.Fatalf("flushed %+v", s)
			}
			for i := range uint16(20) {
				for _, ssrc := range []uint32{1111, 2222} {
					got := c.receive()
					padding := byte(i % 4 * 3)
					if got.SSRC != ssrc || got.SequenceNumber != 500+i || !bytes.Equal(got.Payload, payload(800)) ||
						got.Padding != (padding > 0) || got.PaddingSize != padding || !bytes.Equal(got.GetExtension(3), []byte{1, 2, 3}) {
						t.Fatalf("packet %d of %d: %v, padding %d", i, ssrc, got, got.PaddingSize)
					}
				}
			}
			// In.
			for i := range uint16(20) {
				for _, ssrc := range []uint32{3333, 4444} {
					c.send(c.protect(ssrc, 900+i, payload(700)))
				}
			}
			for i := range uint16(20) {
				for _, ssrc := range []uint32{3333, 4444} {
					d := o.datagram()
					plain, isRTCP, err := p.Unprotect(&d)
					if err != nil || isRTCP || !bytes.Equal(plain, append(header(ssrc, 900+i), payload(700)...)) {
						t.Fatalf("packet %d of %d: %v, rtcp %v", i, ssrc, err, isRTCP)
					}
					if &plain[0] != &d.Data[0] {
						t.Fatal("not decrypted in place")
					}
					d.Free()
					d.Free()
				}
			}
			exchangeRTCP(t, e, p, o, c)
		})
	}
}

// exchangeRTCP sends feedback both ways.
func exchangeRTCP(t *testing.T, e *transport.Endpoint, p *transport.Peer, o *owner, c *client) {
	t.Helper()
	b := e.NewBatch()
	for i := range uint32(5) {
		plain, err := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: i}, &rtcp.PictureLossIndication{SenderSSRC: i, MediaSSRC: 9}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.SealRTCP(b, plain); err != nil {
			t.Fatal(err)
		}
		b.Flush()
		got, err := c.in.DecryptRTCP(nil, c.packet(), nil)
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("RTCP to the client: %v", err)
		}
		sealed, err := c.out.EncryptRTCP(nil, plain, nil)
		if err != nil {
			t.Fatal(err)
		}
		c.send(sealed)
		d := o.datagram()
		got, isRTCP, err := p.Unprotect(&d)
		if err != nil || !isRTCP || !bytes.Equal(got, plain) {
			t.Fatalf("RTCP from the client: %v, rtcp %v", err, isRTCP)
		}
		d.Free()
	}
}

func TestSequenceNumbersMayWrap(t *testing.T) {
	for name, profile := range profiles {
		t.Run(name, func(t *testing.T) {
			e := listen(t, transport.Config{})
			p, o, c := connect(t, e, "127.0.0.1", profile)
			b := e.NewBatch()
			// Around twice, each packet followed by a late one from 500 before, which
			// after a wrap belongs to the round before.
			for index := 30000; index < 200000; index += 900 {
				for _, i := range []int{index, index - 500} {
					if index == 30000 && i != index {
						continue
					}
					seq := uint16(i)
					if err := p.SealRTP(b, header(7, seq), payload(50), 0); err != nil {
						t.Fatal(err)
					}
					b.Flush()
					if got := c.receive(); got.SequenceNumber != seq {
						t.Fatalf("out: sent %d, got %d", seq, got.SequenceNumber)
					}
					c.send(c.protect(8, seq, payload(50)))
					d := o.datagram()
					plain, _, err := p.Unprotect(&d)
					if err != nil || binary.BigEndian.Uint16(plain[2:]) != seq {
						t.Fatalf("in: %d: %v", seq, err)
					}
					d.Free()
				}
			}
		})
	}
}

func TestReplayedAndForgedPacketsAreRefused(t *testing.T) {
	e := listen(t, transport.Config{})
	p, o, c := connect(t, e, "127.0.0.1")
	good := c.protect(5, 1, payload(100))
	forged := append([]byte(nil), c.protect(5, 2, payload(100))...)
	forged[40] ^= 1
	for i, b := range [][]byte{good, good, forged, {0x80, 200, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9}} {
		c.send(b)
		d := o.datagram()
		_, _, err := p.Unprotect(&d)
		if (i == 0) != (err == nil) {
			t.Errorf("packet %d: %v", i, err)
		}
		d.Free()
	}
	if n := e.Stats().Drops[transport.DropUnverified]; n != 3 {
		t.Errorf("%d unverified packets counted", n)
	}
}

func TestSourcesAreBounded(t *testing.T) {
	e := listen(t, transport.Config{})
	p, o, c := connect(t, e, "127.0.0.1")
	var refused int
	for ssrc := range uint32(200) {
		c.send(c.protect(ssrc, 1, payload(10)))
		d := o.datagram()
		if _, _, err := p.Unprotect(&d); errors.Is(err, transport.ErrTooManySources) {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
		d.Free()
	}
	if refused != 200-128 {
		t.Errorf("%d SSRCs refused", refused)
	}
}

func TestSealRefusesWhatCannotGo(t *testing.T) {
	e := listen(t, transport.Config{})
	b := e.NewBatch()
	lone := e.NewPeer(newOwner(t))
	if err := lone.SealRTP(b, header(1, 1), payload(10), 0); !errors.Is(err, transport.ErrNotUp) {
		t.Errorf("before up: %v", err)
	}
	d := transport.Datagram{Data: make([]byte, 100)}
	if _, _, err := lone.Unprotect(&d); !errors.Is(err, transport.ErrNotUp) {
		t.Errorf("before up: %v", err)
	}
	p, _, c := connect(t, e, "127.0.0.1")
	for what, test := range map[string]struct {
		header  []byte
		payload int
		padding int
		want    error
	}{
		"short header":     {make([]byte, 11), 10, 0, transport.ErrMalformed},
		"negative padding": {header(1, 1), 10, -1, transport.ErrMalformed},
		"much padding":     {header(1, 1), 10, 256, transport.ErrMalformed},
		"too large":        {header(1, 1), 1500, 0, transport.ErrTooLarge},
	} {
		if err := p.SealRTP(b, test.header, payload(test.payload), test.padding); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := p.SealRTCP(b, make([]byte, 7)); !errors.Is(err, transport.ErrMalformed) {
		t.Errorf("short RTCP: %v", err)
	}
	if err := p.SealRTCP(b, make([]byte, 1500)); !errors.Is(err, transport.ErrTooLarge) {
		t.Errorf("large RTCP: %v", err)
	}
	if s := b.Flush(); s.Packets != 0 {
		t.Errorf("refused packets went out: %+v", s)
	}
	// Sequence number 65535 before the first packet 3 has no index.
	if err := p.SealRTP(b, header(1, 3), payload(10), 0); err != nil {
		t.Fatal(err)
	}
	if err := p.SealRTP(b, header(1, 65535), payload(10), 0); !errors.Is(err, transport.ErrMalformed) {
		t.Errorf("before the first packet: %v", err)
	}
	b.Flush()
	if got := c.receive(); got.SequenceNumber != 3 {
		t.Errorf("got %v", got)
	}
	p.Close()
	if err := p.SealRTP(b, header(1, 4), payload(10), 0); !errors.Is(err, transport.ErrNotUp) {
		t.Errorf("after close: %v", err)
	}
}

// TestSealedPacketsOfAnyShape checks own sealing against pion's SRTP for any
// header, payload, padding and way of batching.
func TestSealedPacketsOfAnyShape(t *testing.T) {
	e := listen(t, transport.Config{})
	for name, profile := range profiles {
		p, _, c := connect(t, e, "127.0.0.1", profile)
		b := e.NewBatch()
		next := map[uint32]uint16{}
		rapid.Check(t, func(t *rapid.T) {
			var want []rtp.Packet
			for range rapid.IntRange(1, 60).Draw(t, "packets") {
				ssrc := rapid.Uint32Range(1, 3).Draw(t, "ssrc")
				next[ssrc] += uint16(rapid.IntRange(1, 300).Draw(t, "step"))
				w := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: next[ssrc], Marker: rapid.Bool().Draw(t, "marker"),
					CSRC: rapid.SliceOfN(rapid.Uint32(), 0, 15).Draw(t, "csrc")}}
				if rapid.Bool().Draw(t, "extended") {
					_ = w.SetExtension(1, rapid.SliceOfN(rapid.Byte(), 1, 16).Draw(t, "extension"))
				}
				h, _ := w.Header.Marshal()
				w.Payload = rapid.SliceOfN(rapid.Byte(), 0, 1000).Draw(t, "payload")
				w.PaddingSize = rapid.Byte().Draw(t, "padding")
				if err := p.SealRTP(b, h, w.Payload, int(w.PaddingSize)); err != nil {
					t.Fatal(err)
				}
				want = append(want, w)
				if rapid.IntRange(0, 9).Draw(t, "flush") == 0 {
					b.Flush()
				}
			}
			b.Flush()
			for _, w := range want {
				got := c.receive()
				if got.SSRC != w.SSRC || got.SequenceNumber != w.SequenceNumber || got.Marker != w.Marker ||
					!bytes.Equal(got.Payload, w.Payload) || got.PaddingSize != w.PaddingSize ||
					!bytes.Equal(got.GetExtension(1), w.GetExtension(1)) || fmt.Sprint(got.CSRC) != fmt.Sprint(w.CSRC) {
					t.Fatalf("%s: sent %v, got %v", name, w, got)
				}
			}
		})
	}
}
