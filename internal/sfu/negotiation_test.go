package sfu_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

func TestFirstOfferOfAPublisher(t *testing.T) {
	s := newSFU(t)
	r := request(tenant.SendRecv, withVideo("VP9"))
	r.Audio.Params = map[string]string{"stereo": "0", "usedtx": "1", "x\r\na=evil": "1"}
	r.Audio.BitRate, r.Video.BitRate = 64, 2500
	view(t, s)
	p := publish(t, s, av) // its sections must come after the uploads
	eventually(t, "the publisher is forwarded", func() bool { return p.Sent().KeyRequests > 0 })

	c, err := s.Join(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	sdp, midAudio, midVideo := c.Offer()
	sections := strings.Split(sdp, "m=")
	if midAudio != "0" || midVideo != "1" || len(sections) != 5 {
		t.Fatalf("mids %q and %q in %d sections:\n%s", midAudio, midVideo, len(sections)-1, sdp)
	}
	wantLines(t, sections[0], "a=ice-lite", "a=group:BUNDLE 0 1 2 3")
	wantLines(t, sections[1], "audio 9 UDP/TLS/RTP/SAVPF 109", "a=recvonly", "a=setup:actpass", "a=rtcp-mux", "a=rtcp-rsize",
		"a=fmtp:109 minptime=10;stereo=0;useinbandfec=1;maxaveragebitrate=64000;usedtx=1", "a=rtcp-fb:109 transport-cc",
		"b=TIAS:64000", "a=end-of-candidates", "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid")
	wantLines(t, sections[2], "video 9 UDP/TLS/RTP/SAVPF 98 99", "a=recvonly", "a=rtpmap:98 VP9/90000",
		"a=fmtp:99 apt=98", "a=rtcp-fb:98 nack pli", "a=rtcp-fb:98 ccm fir", "b=TIAS:2500000")
	id := p.Connection.ID()
	wantLines(t, sections[3], "a=sendonly", "a=msid:"+id+" audio-"+id, "a=mid:2")
	wantLines(t, sections[4], "a=sendonly", "a=msid:"+id+" video-"+id, "a=mid:3",
		"video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 102 103 100 101")
	if strings.Contains(sdp, "evil") {
		t.Error("a parameter broke out of its line")
	}
	if !strings.Contains(sections[4], "a=ssrc-group:FID ") {
		t.Error("no retransmission stream announced")
	}
}

// wantLines checks that a section has each line.
func wantLines(t *testing.T, section string, lines ...string) {
	t.Helper()
	have := strings.Split(section, "\r\n")
	for _, l := range lines {
		if !slices.Contains(have, l) {
			t.Errorf("line %q is missing in\n%s", l, section)
		}
	}
}

func TestOneOfferAtATime(t *testing.T) {
	s := newSFU(t)
	v := join(t, s, request(tenant.SendRecv), sfutest.Options{})
	connected(t, v)

	// A second viewer answers late, while publishers pour in.
	slow, err := s.Join(t.Context(), request(tenant.RecvOnly))
	if err != nil {
		t.Fatal(err)
	}
	client, err := sfutest.NewClient(sfutest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	offer, _, _ := slow.Offer()
	give := func(offer string) {
		t.Helper()
		answer, err := client.Accept(offer)
		if err != nil {
			t.Fatal(err)
		}
		if err := slow.Answer(answer); err != nil {
			t.Fatal(err)
		}
	}
	give(offer)

	const publishers = 6
	var all []*sfutest.Session
	var mu sync.Mutex
	var wait sync.WaitGroup
	for range publishers {
		wait.Go(func() {
			p := join(t, s, request(tenant.SendOnly), publishing(av))
			mu.Lock()
			all = append(all, p)
			mu.Unlock()
		})
	}
	wait.Wait()
	offers, pending := 0, ""
	collect := func() {
		waiting, _ := slow.Take(nil)
		for _, signal := range waiting {
			if signal.Kind != sfu.SignalReoffer {
				continue
			}
			offers++
			if pending != "" {
				t.Fatal("a second offer came before the answer to the first")
			}
			pending = signal.SDP
		}
	}
	for _, p := range all {
		flows(t, v, p.Connection.ID()) // by now every publisher is announced
	}
	for {
		if !sfutest.Eventually(time.Second, func() bool { collect(); return pending != "" }) {
			break
		}
		sdp := pending
		pending = ""
		give(sdp)
	}
	if offers == 0 || offers > 3 {
		t.Errorf("%d re-offers for %d publishers, want them gathered", offers, publishers)
	}
	for _, p := range all {
		eventually(t, "the slow viewer sees everybody", func() bool {
			return client.Stream(p.Connection.ID(), "video").Frames > 5
		})
	}
}

func TestAnswersThatCannotBeUsed(t *testing.T) {
	s := newSFU(t)
	other := publish(t, s, av)
	v := view(t, s)

	c, err := s.Join(t.Context(), request(tenant.RecvOnly))
	if err != nil {
		t.Fatal(err)
	}
	client, err := sfutest.NewClient(sfutest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	offer, _, _ := c.Offer()
	good, err := client.Accept(offer)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"empty":           "",
		"no SDP":          "hello",
		"no section":      "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n",
		"no fingerprint":  strings.ReplaceAll(good, "a=fingerprint", "a=x"),
		"no credentials":  strings.ReplaceAll(good, "a=ice-ufrag", "a=x"),
		"setup":           strings.ReplaceAll(good, "a=setup:active", "a=setup:holdconn"),
		"section missing": good[:strings.LastIndex(good, "m=")],
		"mid twice":       strings.ReplaceAll(good, "a=mid:1", "a=mid:0"),
		"all refused":     strings.ReplaceAll(strings.ReplaceAll(good, "m=audio 9", "m=audio 0"), "m=video 9", "m=video 0"),
		"too long":        good + strings.Repeat("a=x\r\n", 1<<19),
	} {
		if err := c.Answer(bad); !errors.Is(err, sfu.ErrBadAnswer) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if err := c.Answer(good); err != nil {
		t.Fatal(err)
	}
	if err := c.Answer(good); !errors.Is(err, sfu.ErrNoOffer) {
		t.Errorf("second answer: got %v, want ErrNoOffer", err)
	}
	c.Disconnect(tenant.EndProtocol)
	<-c.Done()
	if err := c.Answer(good); !errors.Is(err, sfu.ErrEnded) {
		t.Errorf("after the end: got %v, want ErrEnded", err)
	}
	flows(t, v, other.Connection.ID())
}

func TestTimeLimits(t *testing.T) {
	s := newSFU(t, func(c *sfu.Config) {
		c.SetupTimeout, c.AnswerTimeout = 600*time.Millisecond, 400*time.Millisecond
	})
	silent, err := s.Join(t.Context(), request(tenant.SendOnly, inChannel("silent")))
	if err != nil {
		t.Fatal(err)
	}
	<-silent.Done()
	if e := silent.Ending(); e.Reason != tenant.EndSetupTimeout || e.Duration != 0 {
		t.Errorf("never answered: %+v", e)
	}

	// This one answers the first offer but no other.
	deaf, err := s.Join(t.Context(), request(tenant.RecvOnly))
	if err != nil {
		t.Fatal(err)
	}
	client, err := sfutest.NewClient(sfutest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	offer, _, _ := deaf.Offer()
	answer, err := client.Accept(offer)
	if err != nil {
		t.Fatal(err)
	}
	if err := deaf.Answer(answer); err != nil {
		t.Fatal(err)
	}
	<-client.Connected()
	v := view(t, s)
	p := publish(t, s, av)
	<-deaf.Done()
	if e := deaf.Ending(); e.Reason != tenant.EndProtocol || e.Duration == 0 {
		t.Errorf("never re-answered: %+v", e)
	}
	flows(t, v, p.Connection.ID())
}

func TestAnyCodecLetsTheAnswerChoose(t *testing.T) {
	s := newSFU(t)
	m := av
	m.Video = "H264"
	p := publish(t, s, m, func(r *sfu.JoinRequest) { r.AnyCodec, r.Video.Codec = true, "" })
	v := view(t, s)
	flows(t, v, p.Connection.ID())
	if got := v.Stream(p.Connection.ID(), "video").Codec; got != "H264" {
		t.Errorf("viewer got %s, want what the publisher chose, H264", got)
	}
}

func TestViewerThatDoesNotKnowTheCodec(t *testing.T) {
	s := newSFU(t)
	m := av
	m.Video = "AV1"
	p := publish(t, s, m)
	v := join(t, s, request(tenant.RecvOnly), sfutest.Options{Codecs: []string{"VP8"}})
	connected(t, v)
	eventually(t, "audio and named drops", func() bool {
		return v.Stream(p.Connection.ID(), "audio").Packets > 10 && s.Stats().Drops["codec_refused"] > 10
	})
	if n := v.Stream(p.Connection.ID(), "video").Packets; n != 0 {
		t.Errorf("%d packets of a codec it refused", n)
	}
}

func TestBundlesAreNotShownToThemselves(t *testing.T) {
	s := newSFU(t)
	bundled := func(r *sfu.JoinRequest) { r.BundleID = "bundle" }
	p := publish(t, s, av, bundled)
	same := view(t, s, bundled)
	other := view(t, s)
	flows(t, other, p.Connection.ID())
	if n := len(same.Signals(sfu.SignalReoffer)); n != 0 || len(same.Streams()) != 0 {
		t.Errorf("a connection of the same bundle got %d re-offers and %d streams", n, len(same.Streams()))
	}
}

func TestAudioOnly(t *testing.T) {
	s := newSFU(t)
	noVideo := func(r *sfu.JoinRequest) { r.Video = sfu.MediaWish{} }
	p := publish(t, s, sfutest.Media{Audio: true}, noVideo)
	v := view(t, s, noVideo)
	more(t, v, p.Connection.ID(), "audio")
	if _, midAudio, midVideo := p.Connection.Offer(); midAudio != "0" || midVideo != "" {
		t.Errorf("mids %q, %q", midAudio, midVideo)
	}
}
