package sfu_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// FuzzAnswer: whatever a client answers, it is read or refused with the typed
// error.
func FuzzAnswer(f *testing.F) {
	f.Add("v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n" +
		"m=audio 9 UDP/TLS/RTP/SAVPF 109\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n" +
		"a=fingerprint:sha-256 AA:BB\r\na=setup:active\r\na=mid:0\r\na=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n" +
		"a=sendonly\r\na=rtcp-mux\r\na=rtpmap:109 opus/48000/2\r\na=fmtp:109 minptime=10;useinbandfec=1\r\n" +
		"m=video 9 UDP/TLS/RTP/SAVPF 96 97\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\na=rtpmap:96 H264/90000\r\n" +
		"a=fmtp:96 packetization-mode=1\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n")
	f.Add("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=sendonly\r\na=rid:r0 send\r\na=rid:r1 send\r\n" +
		"a=simulcast:send r0,r3;~r1 recv r2\r\na=simulcast:recv\r\n")
	f.Add("v=0\r\nm=audio 0 UDP/TLS/RTP/SAVPF 0\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		if err := sfu.ParseAnswer(text); err != nil && !errors.Is(err, sfu.ErrBadAnswer) {
			t.Fatalf("untyped error %v", err)
		}
	})
}

// FuzzPackets feeds decrypted RTP and RTCP of a client to a channel.
func FuzzPackets(f *testing.F) {
	endpoint, err := transport.Listen(transport.Config{
		Addr: "127.0.0.1:0", IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")},
	})
	if err != nil {
		f.Fatal(err)
	}
	s := sfu.New(sfu.Config{Transport: endpoint})
	f.Cleanup(func() {
		s.Close(tenant.EndShutdown)
		_ = endpoint.Close()
	})
	media := func(pt uint8, seq uint16, payload ...byte) []byte {
		b, err := (&rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: pt, SequenceNumber: seq, SSRC: 7, Marker: true},
			Payload: payload,
		}).Marshal()
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	feedback := func(p ...rtcp.Packet) []byte {
		b, err := rtcp.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	f.Add(media(96, 1, 0x10, 0x50), media(97, 5, 0, 3, 0x10, 0x51), feedback(&rtcp.SenderReport{SSRC: 7, NTPTime: 1 << 63}))
	f.Add(media(109, 65535, 1), media(102, 9, 0x67, 0x42), feedback(&rtcp.Goodbye{Sources: []uint32{7}}))
	f.Add(media(100, 1, 0x18, 1), media(100, 400, 0x98, 1), feedback(&rtcp.TransportLayerNack{
		MediaSSRC: 7, Nacks: []rtcp.NackPair{{PacketID: 65530, LostPackets: 0xffff}}}))
	layer := func(rid string, pt uint8, ssrc uint32, payload ...byte) []byte {
		p := &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: pt, SequenceNumber: 3, SSRC: ssrc, Marker: true}, Payload: payload}
		if err := p.SetExtension(5, []byte(rid)); err != nil {
			f.Fatal(err)
		}
		b, err := p.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		return b
	}
	f.Add(layer("r0", 96, 7, 0x90, 0xe0, 0x81, 2, 3, 0x40, 0x10), layer("r1", 96, 8, 0x90, 0xe0, 0x81, 2, 3, 0x40, 0x10), layer("r9", 97, 9, 0, 3, 1))
	f.Fuzz(func(t *testing.T, first, second, third []byte) {
		id := tenant.NewID()
		var layers *sfu.Simulcast // in every other run
		if len(first)%2 == 1 {
			layers = &sfu.Simulcast{}
		}
		fed, err := s.NewFed(
			sfu.JoinRequest{Tenant: acme, Channel: id, ConnectionID: id + "p", BundleID: "p", Role: tenant.SendRecv, Simulcast: layers,
				Audio: sfu.MediaWish{Enabled: true}, Video: sfu.MediaWish{Enabled: true}},
			sfu.JoinRequest{Tenant: acme, Channel: id, ConnectionID: id + "v", BundleID: "v", Role: tenant.SendRecv,
				Audio: sfu.MediaWish{Enabled: true}, Video: sfu.MediaWish{Enabled: true}})
		if err != nil {
			t.Fatal(err)
		}
		defer fed.Close()
		for _, b := range [][]byte{first, second, first, third} {
			fed.RTP(b)
			fed.RTCP(b)
		}
	})
}
