package transport_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// dataOwner is what is told of a peer's data channels.
type dataOwner struct {
	open     chan struct{}
	messages chan dataMessage
	closed   chan error // of the whole association
	shut     chan int   // single channels
}

type dataMessage struct {
	channel int
	data    string
	binary  bool
}

func newDataOwner() *dataOwner {
	return &dataOwner{open: make(chan struct{}), messages: make(chan dataMessage, 4096), closed: make(chan error, 1), shut: make(chan int, 64)}
}

func (o *dataOwner) DataOpen(*transport.Peer) { close(o.open) }

func (o *dataOwner) DataMessage(_ *transport.Peer, channel int, message []byte, binary bool) {
	o.messages <- dataMessage{channel, string(message), binary}
}

func (d *dataOwner) DataLeft(*transport.Peer) {}

func (o *dataOwner) DataClosed(_ *transport.Peer, channel int, reason error) {
	if channel < 0 {
		o.closed <- reason
		return
	}
	o.shut <- channel
}

func within[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("not in time: %s", what)
	}
	panic("unreachable")
}

// dataClient is a PeerConnection with data channels opened by the server.
type dataClient struct {
	*webrtc.PeerConnection
	mu       sync.Mutex
	channels map[string]*webrtc.DataChannel // guarded by mu
	opened   chan string
	closed   chan string
	failed   chan error
	got      chan dataMessage // channel is unused; data begins with the label
}

func (c *dataClient) channel(label string) *webrtc.DataChannel {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.channels[label]
}

// dataOffer is an SDP offer of nothing but data channels.
func dataOffer(e *transport.Endpoint, p *transport.Peer) webrtc.SessionDescription {
	lines := []string{
		"v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", "a=ice-lite",
		"m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "c=IN IP4 0.0.0.0", "a=mid:0",
		"a=ice-ufrag:" + p.Ufrag(), "a=ice-pwd:" + p.Pwd(), "a=fingerprint:" + p.Fingerprint(), "a=setup:actpass",
		"a=sctp-port:5000", fmt.Sprint("a=max-message-size:", transport.MaxDataMessage),
	}
	for _, c := range e.Candidates() {
		lines = append(lines, "a=candidate:"+c)
	}
	return webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: strings.Join(append(lines, "a=end-of-candidates", ""), "\r\n")}
}

// carry connects a client with data channels.
func carry(t testing.TB, role webrtc.DTLSRole, channels ...transport.DataChannel) (*transport.Endpoint, *transport.Peer, *owner, *dataOwner, *dataClient) {
	t.Helper()
	e := listen(t, transport.Config{})
	o, d := newOwner(t), newDataOwner()
	p := e.NewDataPeer(o)
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	_ = settings.SetAnsweringDTLSRole(role)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.GracefulClose() })
	c := &dataClient{PeerConnection: pc, channels: map[string]*webrtc.DataChannel{}, opened: make(chan string, 64),
		closed: make(chan string, 64), failed: make(chan error, 64), got: make(chan dataMessage, 4096)}
	pc.OnDataChannel(func(dc *webrtc.DataChannel) {
		c.mu.Lock()
		c.channels[dc.Label()] = dc
		c.mu.Unlock()
		dc.OnOpen(func() { c.opened <- dc.Label() })
		dc.OnClose(func() { c.closed <- dc.Label() })
		dc.OnError(func(err error) { c.failed <- err })
		dc.OnMessage(func(m webrtc.DataChannelMessage) {
			c.got <- dataMessage{data: dc.Label() + " " + string(m.Data), binary: !m.IsString}
		})
	})
	if err := pc.SetRemoteDescription(dataOffer(e, p)); err != nil {
		t.Fatal(err)
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetLocalDescription(answer); err != nil {
		t.Fatal(err)
	}
	for i := range channels {
		if channels[i].Buffer == 0 {
			channels[i].Buffer = 1 << 20
		}
	}
	p.CarryData(channels, 0, d)
	if err := p.SetRemote(remoteOf(t, answer.SDP)); err != nil {
		t.Fatal(err)
	}
	o.waitUp()
	within(t, "the channels open", d.open)
	for range channels {
		within(t, "the client's channels open", c.opened)
	}
	return e, p, o, d, c
}

// Channels open as asked, whoever is the DTLS client, and carry every kind of
// message both ways; the longest takes hundreds of packets.
func TestDataChannels(t *testing.T) {
	t.Run("active", func(t *testing.T) { testDataChannels(t, webrtc.DTLSRoleClient, 1) })
	t.Run("passive", func(t *testing.T) { testDataChannels(t, webrtc.DTLSRoleServer, 0) })
}

func testDataChannels(t *testing.T, role webrtc.DTLSRole, first uint16) {
	life, tries := uint16(150), uint16(3)
	_, p, o, d, c := carry(t, role,
		transport.DataChannel{Label: "plain", Protocol: "chat"},
		transport.DataChannel{Label: "loose", Unordered: true, MaxRetransmits: &tries},
		transport.DataChannel{Label: "#時", MaxPacketLifeTime: &life})
	for i, label := range []string{"plain", "loose", "#時"} {
		dc := c.channel(label)
		if id := dc.ID(); id == nil || *id != first+2*uint16(i) {
			t.Errorf("%s has stream %d", label, *id)
		}
		if dc.Ordered() == (label == "loose") {
			t.Errorf("%s: ordered %v", label, dc.Ordered())
		}
	}
	if got := c.channel("plain").Protocol(); got != "chat" {
		t.Errorf("protocol is %q", got)
	}
	if got := c.channel("loose").MaxRetransmits(); got == nil || *got != tries {
		t.Errorf("max retransmits are %v", got)
	}
	if got := c.channel("#時").MaxPacketLifeTime(); got == nil || *got != life {
		t.Errorf("packet life time is %v", got)
	}
	long := strings.Repeat("0123456789abcdef", transport.MaxDataMessage/16)
	for _, m := range []dataMessage{{0, "text", false}, {0, "bin", true}, {0, "", false}, {0, "", true}, {1, "u", true}, {2, "z", false}, {0, long, true}} {
		label := []string{"plain", "loose", "#時"}[m.channel]
		if err := p.Send(m.channel, []byte(m.data), m.binary); err != nil {
			t.Fatal(err)
		}
		if got := within(t, "a message", c.got); got.data != label+" "+m.data || got.binary != m.binary {
			t.Errorf("client got %.40q, binary %v, want %.40q", got.data, got.binary, m.data)
		}
		var err error
		if m.binary {
			err = c.channel(label).Send([]byte(m.data))
		} else {
			err = c.channel(label).SendText(m.data)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := within(t, "a message", d.messages); got != m {
			t.Errorf("got %d %.40q, binary %v, want %.40q", got.channel, got.data, got.binary, m.data)
		}
	}
	if err := c.GracefulClose(); err != nil {
		t.Fatal(err)
	}
	select { // pion ends its association first, and may not come to say more
	case err := <-d.closed:
		if !errors.Is(err, transport.ErrDataClosed) {
			t.Errorf("the data ended: %v", err)
		}
	case err := <-o.down:
		if !errors.Is(err, transport.ErrClosedByClient) {
			t.Errorf("down: %v", err)
		}
	case <-time.After(patience):
		t.Error("nobody noticed that the client has gone")
	}
	p.Close()
}

// A peer that is closed delivers what was sent, then the client sees every
// channel close, without an error.
func TestDataClosesInOrder(t *testing.T) {
	e, p, o, _, c := carry(t, webrtc.DTLSRoleClient, transport.DataChannel{Label: "a"}, transport.DataChannel{Label: "b"})
	last := bytes.Repeat([]byte("x"), 100_000)
	for range 3 {
		if err := p.Send(1, last, true); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Send(0, []byte("goodbye"), false); err != nil {
		t.Fatal(err)
	}
	p.Close()
	if err := p.Send(0, []byte("too late"), false); err == nil {
		t.Error("a closed peer sends")
	}
	within(t, "a channel closes", c.closed)
	within(t, "the other channel closes", c.closed)
	counts := map[int]int{}
	for range 4 {
		counts[len(within(t, "a message", c.got).data)]++
	}
	if counts[100_002] != 3 || counts[9] != 1 {
		t.Errorf("lengths %v", counts)
	}
	eventually(t, "the peer is gone", func() bool { s := e.Stats(); return s.Peers == 0 && s.Attending == 0 })
	if len(c.failed) > 0 || len(o.down) > 0 {
		t.Errorf("%d errors, %d downs", len(c.failed), len(o.down))
	}
}
