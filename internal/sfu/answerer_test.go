package sfu_test

import (
	"context"
	_ "embed"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

// obsOffer has the form of what OBS Studio sends to a WHIP endpoint.
//
//go:embed testdata/obs.sdp
var obsOffer string

// browserOffer has the form of what Chromium sends when it publishes, shortened.
//
//go:embed testdata/browser.sdp
var browserOffer string

// offered joins with a client that offers.
func offered(t *testing.T, s *sfu.SFU, role tenant.Role, o sfutest.Options, tune ...func(*sfu.JoinRequest)) *sfutest.Session {
	t.Helper()
	client, err := sfutest.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	text, err := client.Offer(false)
	if err != nil {
		t.Fatal(err)
	}
	r := request(role, append([]func(*sfu.JoinRequest){withVideo("")}, tune...)...)
	if r.Offer, err = sfu.ParseOffer(text, role); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := s.Join(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	session, err := sfutest.AttachOffered(conn, client)
	if err != nil {
		t.Fatal(err)
	}
	connected(t, session)
	return session
}

// answerTo joins with an offer in text and returns the answer's sections, the
// session's part first.
func answerTo(t *testing.T, s *sfu.SFU, role tenant.Role, offer string, tune ...func(*sfu.JoinRequest)) []string {
	t.Helper()
	r := request(role, append([]func(*sfu.JoinRequest){withVideo("")}, tune...)...)
	var err error
	if r.Offer, err = sfu.ParseOffer(offer, role); err != nil {
		t.Fatal(err)
	}
	conn, err := s.Join(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Disconnect(tenant.EndClient)
	answer := conn.TakeAnswer()
	var d sdp.SessionDescription
	if err := d.UnmarshalString(answer); err != nil {
		t.Fatalf("%v\n%s", err, answer)
	}
	if conn.TakeAnswer() != "" {
		t.Error("the answer is kept")
	}
	return strings.Split(answer, "m=")
}

// A publisher that offered is seen by viewers of both kinds, whichever came first.
func TestOfferedPublishersAndViewers(t *testing.T) {
	for _, codec := range []string{"VP8", "VP9", "H264", "AV1"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			s := newSFU(t)
			early := offered(t, s, tenant.RecvOnly, sfutest.Options{OwnTypes: true}) // before there is anything to see
			media := av
			media.Video = codec
			p := offered(t, s, tenant.SendOnly, sfutest.Options{Publish: &media, OwnTypes: true, Codecs: []string{codec}})
			late := offered(t, s, tenant.RecvOnly, sfutest.Options{})
			usual := view(t, s)
			flows(t, usual, p.Connection.ID())
			flows(t, early, "default")
			flows(t, late, "default")
			if n := len(p.Signals(sfu.SignalReoffer)) + len(early.Signals(sfu.SignalReoffer)); n > 0 {
				t.Errorf("%d re-offers to clients that offered", n)
			}
			if got := p.Connection.Info(); got.VideoCodec != codec {
				t.Errorf("the publisher is known as %+v", got)
			}

			// A viewer whose publisher left is shown the next one.
			if err := p.Leave(tenant.EndClient); err != nil {
				t.Fatal(err)
			}
			publish(t, s, media)
			more(t, early, "default", "video")
			more(t, late, "default", "audio")
		})
	}
}

// A viewer that cannot decode what is published sees nothing of it, and the drops
// say why; what it can decode flows.
func TestOfferedViewerWithoutTheCodec(t *testing.T) {
	s := newSFU(t)
	publish(t, s, av) // VP8
	v := offered(t, s, tenant.RecvOnly, sfutest.Options{Codecs: []string{"H264"}})
	eventually(t, "audio, and drops of video", func() bool {
		return v.Stream("default", "audio").Packets >= 10 && s.Stats().Drops["codec_refused"] > 0
	})
	if n := v.Stream("default", "video").Packets; n > 0 {
		t.Errorf("%d packets of VP8 came to a client that knows H264 alone", n)
	}
}

func TestAnswerToOBS(t *testing.T) {
	parts := answerTo(t, newSFU(t), tenant.SendOnly, obsOffer)
	if len(parts) != 3 {
		t.Fatalf("sections: %q", parts)
	}
	wantLines(t, parts[0], "a=group:BUNDLE 0 1", "a=ice-lite", "a=ice-options:trickle")
	wantLines(t, parts[1], "audio 9 UDP/TLS/RTP/SAVPF 111", "a=mid:0", "a=recvonly", "a=setup:passive", "a=rtcp-mux",
		"a=rtpmap:111 opus/48000/2", "a=end-of-candidates")
	wantLines(t, parts[2], "video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:1", "a=recvonly", "a=setup:passive", "a=rtcp-mux",
		"a=rtpmap:96 H264/90000", "a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f",
		"a=rtcp-fb:96 nack", "a=rtcp-fb:96 nack pli")
	for _, part := range parts {
		for _, unasked := range []string{"rtx", "transport-cc", "goog-remb", "extmap", "rtcp-rsize", "rtcp-mux-only"} {
			if strings.Contains(part, unasked) {
				t.Errorf("%s was not offered:\n%s", unasked, part)
			}
		}
	}
}

func TestAnswerToABrowser(t *testing.T) {
	s := newSFU(t)
	parts := answerTo(t, s, tenant.SendOnly, browserOffer)
	wantLines(t, parts[0], "a=group:BUNDLE 0 1", "a=extmap-allow-mixed")
	wantLines(t, parts[1], "audio 9 UDP/TLS/RTP/SAVPF 111", "a=extmap:14 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
		"a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01", "a=rtcp-fb:111 transport-cc")
	wantLines(t, parts[2], "video 9 UDP/TLS/RTP/SAVPF 96 97", "a=rtpmap:97 rtx/90000", "a=fmtp:97 apt=96", "a=rtcp-fb:96 ccm fir",
		"a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid", "a=rtcp-rsize")
	if !slices.Contains(strings.Split(parts[3], "\r\n"), "application 0 UDP/DTLS/SCTP webrtc-datachannel") {
		t.Errorf("the section of no media is answered by\n%s", parts[3])
	}

	// The codec that the client must use is taken from further behind, in the
	// variant that everybody can be shown.
	parts = answerTo(t, s, tenant.SendOnly, browserOffer, withVideo("H264"), func(r *sfu.JoinRequest) { r.Video.BitRate = 900 })
	wantLines(t, parts[2], "video 9 UDP/TLS/RTP/SAVPF 108 109", "b=TIAS:900000",
		"a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")

	// A client that may not send video is told so by an inactive section.
	parts = answerTo(t, s, tenant.SendOnly, browserOffer, func(r *sfu.JoinRequest) { r.Video.Enabled = false })
	wantLines(t, parts[2], "a=inactive", "a=mid:1")

	// As a viewer's offer it has everything answered.
	viewer := strings.ReplaceAll(browserOffer, "a=sendonly", "a=recvonly")
	parts = answerTo(t, s, tenant.RecvOnly, viewer)
	wantLines(t, parts[1], "a=sendonly", "a=msid:default audio-default")
	wantLines(t, parts[2], "video 9 UDP/TLS/RTP/SAVPF 96 97 108 109 45 46 98 99", "a=sendonly", "a=msid:default video-default",
		"a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time")
	if strings.Contains(parts[2], "transport-wide") || strings.Contains(parts[2], "transport-cc") {
		t.Error("a viewer is asked for feedback that nobody reads")
	}
}

// Several sections, some of them of no use, are all mirrored.
func TestAnswerToManySections(t *testing.T) {
	video := "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n"
	offer := head("v1 x v2 off text") + transportLines +
		video + "a=mid:v1\r\na=inactive\r\n" +
		"m=video 0 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:gone\r\n" +
		video + "a=mid:x\r\na=recvonly\r\n" +
		video + "a=mid:v2\r\na=recvonly\r\n" +
		"m=text 9 RTP/AVP 98\r\nc=IN IP4 0.0.0.0\r\na=mid:text\r\na=rtcp-mux\r\na=rtpmap:98 t140/1000\r\n" +
		"m=audio 9 UDP/TLS/RTP/SAVPF 0\r\nc=IN IP4 0.0.0.0\r\na=mid:off\r\na=rtcp-mux\r\na=inactive\r\n"
	parts := answerTo(t, newSFU(t), tenant.RecvOnly, offer)
	wantLines(t, parts[0], "a=group:BUNDLE v1 x v2")
	for i, want := range [][]string{
		{"video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:v1", "a=inactive"},
		{"video 0 UDP/TLS/RTP/SAVPF 96", "a=mid:gone"},
		{"video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:x", "a=sendonly"},
		{"video 9 UDP/TLS/RTP/SAVPF 96", "a=mid:v2", "a=inactive"},
		{"text 0 RTP/AVP 98", "a=mid:text"},
		{"audio 0 UDP/TLS/RTP/SAVPF 0", "a=mid:off"},
	} {
		wantLines(t, parts[i+1], want...)
	}
}

// head begins an offer whose sections are bundled.
func head(mids string) string {
	return "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE " + mids + "\r\n"
}

// transportLines are the client's transport, for all sections.
const transportLines = "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=setup:actpass\r\n" +
	"a=fingerprint:sha-256 DA:7B:57:DC:28:CE:04:4F:31:79:85:C4:31:67:EB:27:58:29:ED:77:2A:0D:24:AE:ED:AD:30:BC:BD:F1:9C:02\r\n"

func TestUnusableOffers(t *testing.T) {
	audio := "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=sendonly\r\n"
	video := "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=rtcp-mux\r\na=sendonly\r\n"
	good := head("0") + transportLines + audio + "a=mid:0\r\n"
	if _, err := sfu.ParseOffer(good, tenant.SendOnly); err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		offer string
		want  error
		hint  string
	}{
		"nothing":              {"", sfu.ErrBadOffer, ""},
		"JSON":                 {`{"type":"offer"}`, sfu.ErrBadOffer, ""},
		"too long":             {good + strings.Repeat("a=x\r\n", sfu.MaxOffer/5), sfu.ErrBadOffer, "too many"},
		"no mid":               {head("0") + transportLines + audio, sfu.ErrBadOffer, "mid"},
		"a long mid":           {head("0") + transportLines + audio + "a=mid:" + strings.Repeat("0", 17) + "\r\n", sfu.ErrBadOffer, "mid"},
		"a mid of two lines":   {head("0") + transportLines + audio + "a=mid:0\ra=x\r\n", sfu.ErrBadOffer, "mid"},
		"mid twice":            {good + video + "a=mid:0\r\n", sfu.ErrBadOffer, "twice"},
		"no fingerprint":       {strings.Replace(good, "a=fingerprint", "a=thumbprint", 1), sfu.ErrBadOffer, "fingerprint"},
		"no password":          {strings.Replace(good, "a=ice-pwd", "a=ice-word", 1), sfu.ErrBadOffer, "ICE"},
		"no media":             {head("0") + transportLines, sfu.ErrBadOffer, "no m-section"},
		"only refused":         {strings.Replace(good, "audio 9", "audio 0", 1), sfu.ErrUnusableOffer, "no section"},
		"receives":             {strings.Replace(good, "sendonly", "recvonly", 1), sfu.ErrUnusableOffer, "would send"},
		"no common codec":      {head("0 1") + transportLines + audio + "a=mid:0\r\n" + video + "a=mid:1\r\na=rtpmap:96 H265/90000\r\n", sfu.ErrUnusableOffer, "want VP8, VP9, H264, AV1"},
		"H264 of another mode": {head("1") + transportLines + video + "a=mid:1\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=0\r\n", sfu.ErrUnusableOffer, "packetization-mode=1"},
		"two videos": {head("1 2") + transportLines + video + "a=mid:1\r\na=rtpmap:96 VP8/90000\r\n" +
			video + "a=mid:2\r\na=rtpmap:96 VP8/90000\r\n", sfu.ErrUnusableOffer, "two sources of video"},
		"no bundle":      {strings.Replace(good, "a=group:BUNDLE 0\r\n", "", 1) + video + "a=mid:1\r\na=rtpmap:96 VP8/90000\r\n", sfu.ErrUnusableOffer, "BUNDLE"},
		"not in bundle":  {good + video + "a=mid:1\r\na=rtpmap:96 VP8/90000\r\n", sfu.ErrUnusableOffer, "BUNDLE"},
		"no rtcp-mux":    {strings.Replace(good, "a=rtcp-mux\r\n", "", 1), sfu.ErrUnusableOffer, "rtcp-mux"},
		"one type twice": {head("0 1") + transportLines + audio + "a=mid:0\r\n" + strings.ReplaceAll(video, "96", "111") + "a=mid:1\r\na=rtpmap:111 VP8/90000\r\n", sfu.ErrUnusableOffer, "111"},
		"type of RTCP":   {strings.ReplaceAll(good, "111", "72"), sfu.ErrUnusableOffer, "no codec"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := sfu.ParseOffer(test.offer, tenant.SendOnly)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.hint) {
				t.Errorf("got %v, want %v with %q", err, test.want, test.hint)
			}
		})
	}
}

// A client that may send one codec only and does not offer it is refused, and
// nothing of it stays.
func TestOfferLacksTheCodecOfTheToken(t *testing.T) {
	s := newSFU(t)
	r := request(tenant.SendOnly, withVideo("AV1"))
	var err error
	if r.Offer, err = sfu.ParseOffer(obsOffer, tenant.SendOnly); err != nil {
		t.Fatal(err)
	}
	if _, err = s.Join(t.Context(), r); !errors.Is(err, sfu.ErrUnusableOffer) || !strings.Contains(err.Error(), "AV1") {
		t.Errorf("got %v", err)
	}
	eventually(t, "nothing is left", func() bool { return s.Stats().Connections == 0 && s.Stats().Channels == 0 })
}

// A client that moves on to a new ICE session keeps its media, both ways; the old
// session is void then.
func TestOfferedClientsRestartICE(t *testing.T) {
	s := newSFU(t)
	p := offered(t, s, tenant.SendOnly, publishing(av))
	v := offered(t, s, tenant.RecvOnly, sfutest.Options{})
	flows(t, v, "default")
	for range 2 {
		for _, c := range []*sfutest.Session{p, v} {
			before := c.Peer().RemoteDescription().SDP
			text, err := c.Offer(true)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Connection.RestartICE("x", "y"); err == nil {
				t.Error("credentials of one letter were taken")
			}
			// One that was given up before a check came does no harm.
			if _, err := c.Connection.RestartICE("abandoned", "abandoned-abandoned-abandoned"); err != nil {
				t.Fatal(err)
			}
			ice, err := c.Connection.RestartICE(attribute(t, text, "ice-ufrag"), attribute(t, text, "ice-pwd"))
			if err != nil {
				t.Fatal(err)
			}
			now := strings.ReplaceAll(before, attribute(t, before, "ice-ufrag"), ice.Ufrag)
			now = strings.ReplaceAll(now, attribute(t, before, "ice-pwd"), ice.Pwd)
			if now == before {
				t.Fatal("the credentials are those of before")
			}
			if err := c.Take(now); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the client is connected again", func() bool {
				return c.Peer().ICEConnectionState() == webrtc.ICEConnectionStateConnected
			})
		}
		more(t, v, "default", "video")
		more(t, v, "default", "audio")
	}
	p.Connection.Disconnect(tenant.EndClient)
	<-p.Connection.Done()
	if _, err := p.Connection.RestartICE("late", "late-late-late-late-late"); !errors.Is(err, sfu.ErrEnded) {
		t.Errorf("restart after the end: %v", err)
	}
}

// attribute is the first value of an SDP attribute.
func attribute(t *testing.T, text, name string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "a="+name+":")
	value, _, _ := strings.Cut(rest, "\r\n")
	if !ok || value == "" {
		t.Fatalf("no %s in\n%s", name, text)
	}
	return value
}

// A client that offers and never comes ends within the time for the set-up.
func TestOfferedClientThatNeverComes(t *testing.T) {
	s := newSFU(t, func(c *sfu.Config) { c.SetupTimeout = 50 * time.Millisecond })
	r := request(tenant.SendOnly, withVideo(""))
	var err error
	if r.Offer, err = sfu.ParseOffer(obsOffer, tenant.SendOnly); err != nil {
		t.Fatal(err)
	}
	conn, err := s.Join(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	<-conn.Done()
	if got := conn.Ending().Reason; got != tenant.EndSetupTimeout {
		t.Errorf("it ended as %s", got)
	}
}

// FuzzOffer: whatever a client offers, it is refused with a typed error, or the
// answer mirrors it.
func FuzzOffer(f *testing.F) {
	f.Add(obsOffer, true, "H264")
	f.Add(browserOffer, true, "")
	f.Add(obsOffer+"a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\na=rid:0 send\r\na=rid:1 send\r\na=simulcast:send 0;~1\r\n", true, "")
	f.Add(strings.ReplaceAll(browserOffer, "a=sendonly", "a=recvonly"), false, "")
	f.Add(head("0")+transportLines+"m=audio 0 RTP/SAVPF 0 1\r\na=bundle-only\r\na=mid:0\r\n", false, "VP8")
	f.Fuzz(func(t *testing.T, text string, publishes bool, codec string) {
		role := tenant.RecvOnly
		if publishes {
			role = tenant.SendOnly
		}
		o, err := sfu.ParseOffer(text, role)
		if err != nil {
			if !errors.Is(err, sfu.ErrBadOffer) && !errors.Is(err, sfu.ErrUnusableOffer) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		answer, err := o.AnswerText(codec)
		if err != nil {
			if !errors.Is(err, sfu.ErrUnusableOffer) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		var offer, mirror sdp.SessionDescription
		if err := mirror.UnmarshalString(answer); err != nil {
			t.Fatalf("%v\n%s", err, answer)
		}
		if err := offer.UnmarshalString(text); err != nil {
			t.Fatal(err)
		}
		if len(offer.MediaDescriptions) != len(mirror.MediaDescriptions) {
			t.Fatalf("%d sections are answered by\n%s", len(offer.MediaDescriptions), answer)
		}
		for i, m := range mirror.MediaDescriptions {
			asked := offer.MediaDescriptions[i]
			mid, _ := m.Attribute("mid")
			if want, _ := asked.Attribute("mid"); mid != want || m.MediaName.Media != asked.MediaName.Media {
				t.Fatalf("section %d is called %q, want %q", i, mid, want)
			}
			for _, pt := range m.MediaName.Formats {
				if !slices.Contains(asked.MediaName.Formats, pt) {
					t.Fatalf("payload type %s was not offered", pt)
				}
			}
		}
	})
}

// Layers that a client offers are told from each other, whatever it calls them, and
// taken up to three.
func TestAnswerToSimulcast(t *testing.T) {
	ridLines := func(names ...string) string {
		text := "a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n"
		for _, name := range names {
			text += "a=rid:" + name + " send\r\n"
		}
		return text + "a=simulcast:send " + strings.Join(names, ";") + "\r\n"
	}
	for _, test := range []struct{ offered, order, answered string }{
		{"r0 r1 r2", "r0 r1 r2", "r0 r1 r2"},
		{"a b", "a b", "a b"},
		{"0 1 2 3", "2 1 0", "0 1 2"}, // OBS Studio, of four layers
		{"high low", "low high", "high low"},
		{"f h q", "q h f", "f h q"},
		{"h m l", "l m h", "h m l"},
		{"~h ~l", "l h", "h l"},
		{"alone", "", ""},
		{"same same", "", ""},
		{"bad.name r1", "", ""},
	} {
		offer := obsOffer + ridLines(strings.Fields(test.offered)...)
		o, err := sfu.ParseOffer(offer, tenant.SendOnly)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(o.Layers(), " "); got != test.order {
			t.Errorf("%s is taken for %q, want %q", test.offered, got, test.order)
		}
		answer, err := o.AnswerText("")
		if err != nil {
			t.Fatal(err)
		}
		if test.answered == "" {
			if strings.Contains(answer, "simulcast") || strings.Contains(answer, "a=rid") {
				t.Errorf("%s is answered by simulcast", test.offered)
			}
			continue
		}
		want := []string{"a=simulcast:recv " + strings.ReplaceAll(test.answered, " ", ";"), "a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"}
		for _, name := range strings.Fields(test.answered) {
			want = append(want, "a=rid:"+name+" recv")
		}
		wantLines(t, answer, want...)
	}
	// Without a way to name the layer in a packet there is no telling them apart.
	o, err := sfu.ParseOffer(obsOffer+"a=rid:0 send\r\na=rid:1 send\r\na=simulcast:send 0;1\r\n", tenant.SendOnly)
	if err != nil || o.Layers() != nil {
		t.Errorf("layers without a header extension: %v, %v", o.Layers(), err)
	}
}

// A publisher that offers simulcast is watched in the layer that a viewer asks for.
func TestOfferedSimulcast(t *testing.T) {
	s := newSFU(t)
	p := offered(t, s, tenant.SendOnly, publishing(threeLayers))
	best := watch(t, s, threeLayers, sfutest.Options{})
	lowest := watch(t, s, threeLayers, sfutest.Options{}, withSimulcast(sfu.Simulcast{RequestRID: "r0"}))
	slot := offered(t, s, tenant.RecvOnly, sfutest.Options{})
	best.gets(t, p, 2)
	lowest.gets(t, p, 0)
	if err := lowest.Connection.RequestRID(p.Connection.ID(), "r1"); err != nil {
		t.Fatal(err)
	}
	lowest.gets(t, p, 1)
	flows(t, slot, "default")
	whole(t, best.Stream(p.Connection.ID(), "video"))
	whole(t, lowest.Stream(p.Connection.ID(), "video"))
}
