package transport_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// offer is a minimal SDP offer of one sendrecv VP8 section.
func offer(e *transport.Endpoint, p *transport.Peer) webrtc.SessionDescription {
	lines := []string{
		"v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0", "a=ice-lite", "a=msid-semantic: WMS *",
		"m=video 9 UDP/TLS/RTP/SAVPF 96", "c=IN IP4 0.0.0.0", "a=mid:0", "a=sendrecv", "a=rtcp-mux",
		"a=ice-ufrag:" + p.Ufrag(), "a=ice-pwd:" + p.Pwd(), "a=fingerprint:" + p.Fingerprint(), "a=setup:actpass",
		"a=rtpmap:96 VP8/90000", "a=rtcp-fb:96 nack pli", "a=ssrc:4711 cname:server", "a=msid:stream track",
	}
	for _, c := range e.Candidates() {
		lines = append(lines, "a=candidate:"+c)
	}
	return webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: strings.Join(append(lines, "a=end-of-candidates", ""), "\r\n")}
}

// remoteOf reads what SetRemote wants from an answer.
func remoteOf(t testing.TB, answer string) (ufrag, pwd, fingerprint string, setup transport.Setup) {
	t.Helper()
	var s sdp.SessionDescription
	if err := s.UnmarshalString(answer); err != nil {
		t.Fatal(err)
	}
	find := func(name string) string {
		if v, ok := s.Attribute(name); ok {
			return v
		}
		v, _ := s.MediaDescriptions[0].Attribute(name)
		return v
	}
	return find("ice-ufrag"), find("ice-pwd"), find("fingerprint"), transport.Setup(find("setup"))
}

// TestPionPeerConnection lets a whole WebRTC implementation publish and watch,
// on both sides of the handshake.
func TestPionPeerConnection(t *testing.T) {
	t.Run("active", func(t *testing.T) { testPionPeerConnection(t, webrtc.DTLSRoleClient) })
	t.Run("passive", func(t *testing.T) { testPionPeerConnection(t, webrtc.DTLSRoleServer) })
}

func testPionPeerConnection(t *testing.T, role webrtc.DTLSRole) {
	e := listen(t, transport.Config{})
	o := newOwner(t)
	p := e.NewPeer(o)

	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	_ = settings.SetAnsweringDTLSRole(role)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.Close() }()
	track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "v", "s")
	if err != nil {
		t.Fatal(err)
	}
	sender, err := pc.AddTrack(track)
	if err != nil {
		t.Fatal(err)
	}
	received := make(chan *rtp.Packet, 64)
	pc.OnTrack(func(remote *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			packet, _, err := remote.ReadRTP()
			if err != nil {
				close(received)
				return
			}
			received <- packet
		}
	})
	if err := pc.SetRemoteDescription(offer(e, p)); err != nil {
		t.Fatal(err)
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetLocalDescription(answer); err != nil {
		t.Fatal(err)
	}
	if err := p.SetRemote(remoteOf(t, answer.SDP)); err != nil {
		t.Fatal(err)
	}
	o.waitUp()

	publish(t, p, o, track)
	watch(t, e, p, received)

	// A key frame request reaches the sender.
	plain, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: uint32(sender.GetParameters().Encodings[0].SSRC)}})
	b := e.NewBatch()
	if err := p.SealRTCP(b, plain); err != nil {
		t.Fatal(err)
	}
	b.Flush()
	_ = sender.SetReadDeadline(time.Now().Add(patience))
	feedback, _, err := sender.ReadRTCP()
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%T", feedback[0]); got != "*rtcp.PictureLossIndication" {
		t.Errorf("sender got %s", got)
	}
	// The client leaves.
	if err := pc.GracefulClose(); err != nil {
		t.Fatal(err)
	}
	if err := o.waitDown(); !errors.Is(err, transport.ErrClosedByClient) {
		t.Errorf("down: %v", err)
	}
	p.Close()
	for range received { // until OnTrack's loop has ended
	}
}

// publish sends from the client until 20 packets have come.
func publish(t *testing.T, p *transport.Peer, o *owner, track *webrtc.TrackLocalStaticRTP) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for seq := uint16(65530); ; seq++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				_ = track.WriteRTP(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq}, Payload: payload(900)})
			}
		}
	}()
	defer func() { stop(); <-ended }()
	for got := 0; got < 20; {
		d := o.datagram()
		plain, isRTCP, err := p.Unprotect(&d)
		if err != nil {
			t.Fatal(err)
		}
		if !isRTCP {
			if len(plain) < 912 || plain[len(plain)-1] != 0xa5 {
				t.Fatalf("got %d bytes", len(plain))
			}
			got++
		}
		d.Free()
	}
}

// watch sends to the client until 20 packets have come.
func watch(t *testing.T, e *transport.Endpoint, p *transport.Peer, received <-chan *rtp.Packet) {
	t.Helper()
	b, h := e.NewBatch(), make([]byte, 12)
	h[0], h[1] = 0x80, 96
	binary.BigEndian.PutUint32(h[8:], 4711)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for seq, got := uint16(65530), 0; got < 20; {
		select {
		case <-tick.C:
			binary.BigEndian.PutUint16(h[2:], seq)
			seq++
			if err := p.SealRTP(b, h, payload(800), int(seq%5)); err != nil {
				t.Fatal(err)
			}
			b.Flush()
		case packet, ok := <-received:
			if !ok || packet.SSRC != 4711 || len(packet.Payload) != 800 {
				t.Fatalf("got %v", packet)
			}
			got++
		case <-late:
			t.Fatal("the client got no packets")
		}
	}
}
