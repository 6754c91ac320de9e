package transport_test

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/sctp"
	"github.com/pion/webrtc/v4"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// wireTap is a client's DTLS connection as its SCTP sees it. It notes the head of
// the SCTP packets, so that a test can send some of its own in between.
type wireTap struct {
	*dtls.Conn
	mu   sync.Mutex
	head [8]byte // ports and verification tag; guarded by mu
}

func (w *wireTap) Write(b []byte) (int, error) {
	w.mu.Lock()
	if len(b) >= 8 && binary.BigEndian.Uint32(b[4:]) != 0 {
		copy(w.head[:], b)
	}
	w.mu.Unlock()
	return w.Conn.Write(b)
}

// inject sends chunks as a packet of the association, with a good checksum.
func (w *wireTap) inject(chunks []byte) {
	w.mu.Lock()
	packet := append(w.head[:len(w.head):len(w.head)], 0, 0, 0, 0)
	w.mu.Unlock()
	packet = append(packet, chunks...)
	binary.LittleEndian.PutUint32(packet[8:], crc32.Checksum(packet, crc32.MakeTable(crc32.Castagnoli)))
	_, _ = w.Conn.Write(packet)
}

// rawClient has an SCTP association with a peer and can do with it what no
// browser does.
func rawClient(t testing.TB, e *transport.Endpoint, channels ...transport.DataChannel) (*transport.Peer, *dataOwner, *wireTap, *sctp.Association) {
	t.Helper()
	c := newClient(t, e, "127.0.0.1")
	o, d := newOwner(t), newDataOwner()
	p := e.NewDataPeer(o)
	p.CarryData(channels, 0, d)
	if err := p.SetRemote(c.ufrag, c.pwd, c.fingerprint, transport.Active); err != nil {
		t.Fatal(err)
	}
	c.check(p, true)
	if err := c.handshake(dtls.SRTP_AEAD_AES_128_GCM); err != nil {
		t.Fatal(err)
	}
	o.waitUp()
	tap := &wireTap{Conn: c.conn}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	a, err := sctp.ClientContext(ctx, sctp.WithNetConn(tap), sctp.WithMaxMessageSize(1<<30), sctp.WithEnableInterleaving(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return p, d, tap, a
}

// acknowledge takes the opening of the first channel.
func acknowledge(t testing.TB, a *sctp.Association) *sctp.Stream {
	t.Helper()
	s, err := a.AcceptStream()
	if err != nil {
		t.Fatal(err)
	}
	open := make([]byte, 1000)
	if _, ppid, err := s.ReadSCTP(open); err != nil || ppid != sctp.PayloadTypeWebRTCDCEP {
		t.Fatal(ppid, err)
	}
	if _, err := s.WriteSCTP([]byte{2}, sctp.PayloadTypeWebRTCDCEP); err != nil {
		t.Fatal(err)
	}
	return s
}

// Who goes too far loses the association, with a reason; the peer goes on and its
// media with it.
func TestDataAbuse(t *testing.T) {
	for name, abuse := range map[string]func(*testing.T, *sctp.Association){
		"too long": func(t *testing.T, a *sctp.Association) {
			_, _ = acknowledge(t, a).WriteSCTP(make([]byte, transport.MaxDataMessage+1), sctp.PayloadTypeWebRTCBinary)
		},
		"before open": func(t *testing.T, a *sctp.Association) {
			s, err := a.AcceptStream()
			if err != nil {
				t.Fatal(err)
			}
			_, _ = s.WriteSCTP([]byte("early"), sctp.PayloadTypeWebRTCString)
		},
		"no message": func(t *testing.T, a *sctp.Association) {
			_, _ = acknowledge(t, a).WriteSCTP([]byte("?"), 99)
		},
		"many channels": func(t *testing.T, a *sctp.Association) {
			for id := uint16(100); id < 200; id++ {
				s, err := a.OpenStream(id, sctp.PayloadTypeWebRTCBinary)
				if err != nil {
					return
				}
				_, _ = s.WriteSCTP([]byte{3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, sctp.PayloadTypeWebRTCDCEP)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := listen(t, transport.Config{})
			p, d, _, a := rawClient(t, e, transport.DataChannel{Label: "x", Buffer: 1 << 20})
			abuse(t, a)
			if err := within(t, "the association ends", d.closed); !errors.Is(err, transport.ErrDataAbuse) {
				t.Errorf("the data ended: %v", err)
			}
			if err := p.Send(0, nil, true); err == nil {
				t.Error("there is still data to be sent")
			}
			b := e.NewBatch()
			if err := p.SealRTP(b, header(1, 1), payload(10), 0); err != nil {
				t.Errorf("no media any more: %v", err)
			}
			b.Flush()
			p.Close()
			eventually(t, "the peer is gone", func() bool { s := e.Stats(); return s.Peers == 0 && s.Attending == 0 })
		})
	}
}

// The channels that a client opens by itself are closed again, counted, and do no
// harm to the others.
func TestStrayDataChannels(t *testing.T) {
	e, p, _, d, c := carry(t, webrtc.DTLSRoleClient, transport.DataChannel{Label: "ours"})
	closed := make(chan string, 8)
	for _, label := range []string{"a", "b", "c"} {
		dc, err := c.CreateDataChannel(label, nil)
		if err != nil {
			t.Fatal(err)
		}
		dc.OnClose(func() { closed <- label })
	}
	for range 3 {
		within(t, "a channel of the client closes", closed)
	}
	if n := e.Stats().StrayChannels; n != 3 {
		t.Errorf("%d were counted", n)
	}
	if err := c.channel("ours").SendText("still here"); err != nil {
		t.Fatal(err)
	}
	if m := within(t, "a message", d.messages); m.data != "still here" {
		t.Errorf("got %v", m)
	}
	p.Close()
}

// A client that goes without a word, or takes nothing, is lost like any other, and
// leaves nothing behind.
func TestSilentClientWithData(t *testing.T) {
	e := listen(t, transport.Config{ConsentTimeout: 300 * time.Millisecond})
	p, _, _, a := rawClient(t, e, transport.DataChannel{Label: "x", Buffer: 1 << 20})
	acknowledge(t, a)
	eventually(t, "it is open", func() bool { return p.Send(0, []byte("x"), true) == nil })
	eventually(t, "the peer is gone", func() bool { s := e.Stats(); return s.Peers == 0 && s.Attending == 0 })
	p.Close()
}

// A peer that is closed does not wait for long for a client that does not answer.
func TestFarewellIsBounded(t *testing.T) {
	e := listen(t, transport.Config{})
	p, _, tap, a := rawClient(t, e, transport.DataChannel{Label: "x", Buffer: 1 << 20})
	acknowledge(t, a)
	eventually(t, "it is open", func() bool { return p.Send(0, []byte("x"), true) == nil })
	_ = a.Close() // without a word: it only reads no more
	_ = tap
	start := time.Now()
	p.Close()
	if took := time.Since(start); took > 100*time.Millisecond {
		t.Errorf("Close took %s", took)
	}
	eventually(t, "the peer is gone", func() bool { s := e.Stats(); return s.Peers == 0 && s.Attending == 0 })
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("the farewell took %s", took)
	}
}

// More than the buffer of a channel takes is refused, and what was taken arrives.
func TestDataBuffer(t *testing.T) {
	e := listen(t, transport.Config{})
	p, _, _, a := rawClient(t, e, transport.DataChannel{Label: "x", Buffer: 100_000})
	s := acknowledge(t, a)
	eventually(t, "it is open", func() bool { return p.Send(0, []byte("first"), true) == nil })
	taken := 1
	for range 1000 {
		err := p.Send(0, make([]byte, 9000), true)
		if errors.Is(err, transport.ErrDataFull) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		taken++
	}
	if taken > 900 {
		t.Error("it is never full")
	}
	buf := make([]byte, 10_000)
	for range taken {
		if _, _, err := s.ReadSCTP(buf); err != nil {
			t.Fatal(err)
		}
	}
	p.Close()
}

// chunks are well-formed beginnings for packets from hell.
func chunks() [][]byte {
	data := func(flags byte, tsn uint32, stream, ssn uint16, payload string) []byte {
		b := []byte{0, flags}
		b = binary.BigEndian.AppendUint16(b, uint16(16+len(payload)))
		b = binary.BigEndian.AppendUint32(b, tsn)
		b = binary.BigEndian.AppendUint16(b, stream)
		b = binary.BigEndian.AppendUint16(b, ssn)
		b = binary.BigEndian.AppendUint32(b, 53)
		b = append(b, payload...)
		return append(b, make([]byte, -len(b)&3)...)
	}
	return [][]byte{
		data(3, 1, 1, 0, "x"), data(0, 1<<31, 7, 9, "middle"), data(7, 2, 1, 1, ""),
		{1, 0, 0, 20, 1, 2, 3, 4, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 1}, // INIT
		{3, 0, 0, 20, 0, 0, 0, 1, 255, 255, 255, 255, 0, 1, 0, 0, 0, 2, 255, 255},     // SACK
		{4, 0, 0, 8, 0, 1, 0, 4}, {5, 0, 0, 12, 0, 1, 0, 8, 0, 0, 0, 0}, // HEARTBEAT
		{7, 0, 0, 8, 0, 0, 0, 0}, {8, 0, 0, 4}, {14, 0, 0, 4}, // SHUTDOWN
		{9, 0, 0, 4}, {10, 0, 0, 8, 1, 2, 3, 4}, {11, 0, 0, 4}, // ERROR, COOKIE
		{130, 0, 0, 24, 0, 13, 0, 18, 0, 0, 0, 1, 0, 0, 0, 0, 255, 255, 255, 255, 0, 1, 0}, // RE-CONFIG
		{192, 0, 0, 12, 255, 255, 255, 255, 0, 1, 0, 9},                                    // FORWARD-TSN
		{64, 3, 0, 21, 0, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 53, 1, 0, 0, 0},        // I-DATA
		{194, 0, 0, 16, 0, 0, 0, 9, 0, 1, 0, 1, 0, 0, 0, 3}, {6, 0, 0, 4},
	}
}

// target is a peer with an association to throw chunks at; it is made anew when
// the association has ended.
type target struct {
	t    testing.TB
	e    *transport.Endpoint
	peer *transport.Peer
	data *dataOwner
	tap  *wireTap
}

func (g *target) throw(packet []byte) {
	if g.peer == nil || len(g.data.closed) > 0 {
		g.drop()
		p, d, tap, a := rawClient(g.t, g.e, transport.DataChannel{Label: "x", Buffer: 1 << 20})
		acknowledge(g.t, a)
		g.peer, g.data, g.tap = p, d, tap
	}
	g.tap.inject(packet)
}

func (g *target) drop() {
	if g.peer != nil {
		g.peer.Close()
		_ = g.tap.Close()
	}
}

// Whatever comes as SCTP, others are not harmed and nothing is left behind.
func TestHostileSCTP(t *testing.T) {
	e := listen(t, transport.Config{})
	g := &target{t: t, e: e}
	random := rand.New(rand.NewPCG(1, 2))
	good, d, _, a := rawClient(t, e, transport.DataChannel{Label: "x", Buffer: 1 << 20})
	s := acknowledge(t, a)
	seeds := chunks()
	for range 2000 {
		var packet []byte
		for range 1 + random.IntN(3) {
			chunk := append([]byte(nil), seeds[random.IntN(len(seeds))]...)
			for range random.IntN(4) {
				chunk[random.IntN(len(chunk))] = byte(random.Uint32())
			}
			packet = append(packet, chunk...)
		}
		g.throw(packet)
	}
	g.drop()
	if _, err := s.WriteSCTP([]byte("well"), sctp.PayloadTypeWebRTCString); err != nil {
		t.Fatal(err)
	}
	if m := within(t, "a message", d.messages); m.data != "well" {
		t.Errorf("got %v", m)
	}
	good.Close()
	eventually(t, "the peers are gone", func() bool { s := e.Stats(); return s.Peers == 0 && s.Attending == 0 })
}

// FuzzSCTP throws packets at an association.
func FuzzSCTP(f *testing.F) {
	for _, c := range chunks() {
		f.Add(c)
	}
	e := listen(f, transport.Config{})
	f.Fuzz(func(t *testing.T, packet []byte) {
		g := &target{t: t, e: e}
		g.throw(packet)
		g.drop()
	})
}
