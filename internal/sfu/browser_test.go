package sfu_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/browsertest"
	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// stage is an SFU that browsers can reach, and the page that is their client.
type stage struct {
	*sfu.SFU
	port *transport.Endpoint
	url  string
}

// newStage listens on all of the host's addresses: Firefox leaves the loopback
// interface alone.
func newStage(t *testing.T) stage {
	t.Helper()
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, "testdata/client.html")
	}))
	t.Cleanup(web.Close)
	port := listen(t, transport.Config{Addr: ":0"})
	return stage{newSFUOn(t, port), port, web.URL}
}

// camera is what a publisher asks its browser for.
type camera struct {
	Width     int `json:"width"`
	Height    int `json:"height"`
	FrameRate int `json:"frameRate,omitempty"`
	// Layers says that the offer asks for simulcast.
	Layers bool `json:"layers,omitempty"`
	// Clapper is a flash and a beep each second instead of the browser's fake.
	Clapper bool `json:"clapper,omitempty"`
}

// tab is a client in a browser.
type tab struct {
	*browsertest.Page
	t    testing.TB
	name string // for messages
	conn *sfu.Connection
	gone chan struct{} // closed when the connection has ended and all its signals are read
}

// enter joins a channel with a client in a browser; it leaves with the test.
func (s stage) enter(t *testing.T, b *browsertest.Browser, r sfu.JoinRequest, c *camera) tab {
	t.Helper()
	p := tab{Page: b.Open(s.url), t: t, name: b.Name + " as " + string(r.Role), gone: make(chan struct{})}
	var err error
	if p.conn, err = s.Join(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	offer, _, _ := p.conn.Offer()
	if err := p.accept(offer, c); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.gone)
		for signal := range p.conn.Signals() {
			if signal.Kind != sfu.SignalReoffer {
				continue
			}
			if err := p.accept(signal.SDP, c); err != nil && !errors.Is(err, sfu.ErrEnded) {
				t.Error(err)
			}
		}
	}()
	t.Cleanup(p.leave)
	return p
}

// accept lets the page answer an offer.
func (p tab) accept(offer string, c *camera) error {
	answer, err := browsertest.Try[string](p.Page, "accept(%s, %s)", offer, c)
	if err != nil {
		return err
	}
	return p.conn.Answer(answer)
}

// publish enters with a camera, watch without.
func (s stage) publish(t *testing.T, b *browsertest.Browser, codec string, c camera) tab {
	t.Helper()
	return s.enter(t, b, request(tenant.SendOnly, withVideo(codec)), &c)
}

func (s stage) watch(t *testing.T, b *browsertest.Browser) tab {
	t.Helper()
	return s.enter(t, b, request(tenant.RecvOnly), nil)
}

// leave ends the connection and closes the page.
func (p tab) leave() {
	p.conn.Disconnect(tenant.EndClient)
	<-p.gone
	p.Close()
}

// report is one entry of a page's getStats (W3C webrtc-stats); what an entry
// doesn't have is zero.
type report struct {
	ID, Type, Kind, Mid string
	Timestamp           float64 // Unix ms
	From                string  // inbound-rtp: the publisher's connection id
	Codec               string  // video/VP8 …

	DTLSState, DTLSRole, DTLSCipher, SRTPCipher, TLSVersion string // transport

	PacketsReceived, PacketsLost, NACKCount, PLICount, FIRCount int     // inbound-rtp
	FramesReceived, FramesDecoded, FramesDropped, FreezeCount   int     // inbound-rtp, video
	KeyFramesDecoded, FrameWidth                                int     // inbound-rtp, video
	TotalDecodeTime, TotalFreezesDuration                       float64 // s
	RID                                                         string  // outbound-rtp
	FramesSent, FramesEncoded                                   int     // outbound-rtp
	Active                                                      bool    // outbound-rtp
	BytesSent, HeaderBytesSent, PacketsSent                     int64   // outbound-rtp
	BytesReceived, HeaderBytesReceived                          int64   // inbound-rtp
	CurrentRoundTripTime                                        float64 // candidate-pair: s
	QualityLimitationReason                                     string  // outbound-rtp
	EstimatedPlayoutTimestamp                                   float64 // inbound-rtp: ms on the publisher's clock

	LocalID         string
	RemoteTimestamp float64 // remote-outbound-rtp: ms, of the newest sender report
}

func (p tab) stats() []report { return browsertest.Eval[[]report](p.Page, "stats()") }

// transport is the state of the page's one transport.
func (p tab) transport() report {
	for _, r := range p.stats() {
		if r.Type == "transport" {
			return r
		}
	}
	return report{}
}

// inbound is what comes to the page from a publisher.
func (p tab) inbound(publisher tab, kind string) report { return inbound(p.stats(), publisher, kind) }

func inbound(all []report, publisher tab, kind string) report {
	for _, r := range all {
		if r.Type == "inbound-rtp" && r.Kind == kind && r.From == publisher.conn.ID() {
			return r
		}
	}
	return report{}
}

// eventually is patient: browsers start slowly on a busy machine.
func (p tab) eventually(what string, condition func() bool) {
	p.t.Helper()
	if !sfutest.Eventually(browsertest.Patience, condition) {
		p.t.Fatalf("%s: not in time: %s; its transport: %+v", p.name, what, p.transport())
	}
}

// plays waits until the page has decoded frames of a publisher, and got sound.
func (p tab) plays(publisher tab, frames int) {
	p.t.Helper()
	p.eventually("plays "+publisher.name, func() bool {
		all := p.stats()
		return inbound(all, publisher, "video").FramesDecoded >= frames && inbound(all, publisher, "audio").PacketsReceived > 0
	})
}

// TestChromiumDecodesEveryCodec publishes from one tab after the other, so that
// the watching one also sees its sections emptied and reused.
func TestChromiumDecodesEveryCodec(t *testing.T) {
	s := newStage(t)
	b := browsertest.Chromium(t, nil)
	viewer := s.watch(t, b)
	for i, codec := range []string{"VP8", "VP9", "H264", "AV1"} {
		publisher := s.publish(t, b, codec, camera{Width: 1280, Height: 720})
		viewer.plays(publisher, 20)
		viewer.playsWell(publisher)
		if i == 0 {
			agreeOn(t, publisher, viewer)
		}
		if got := viewer.inbound(publisher, "video"); got.Codec != "video/"+codec || got.KeyFramesDecoded == 0 {
			t.Errorf("%s: the viewer decodes %+v", codec, got)
		}
		publisher.leave()
	}
}

// playsWell watches until a hundred frames in a row, five seconds, have come
// without anything that a person could notice. A machine too busy for its
// browsers may stop a picture, so it may take a few tries; but nothing may ever
// be lost on the way, or asked for again.
func (p tab) playsWell(publisher tab) {
	p.t.Helper()
	var tries []string
	for range 6 {
		before := p.inbound(publisher, "video")
		p.plays(publisher, before.FramesDecoded+100)
		after := p.inbound(publisher, "video")
		if after.PacketsLost != 0 || after.NACKCount != 0 || after.FIRCount != 0 {
			p.t.Errorf("%s lost packets of %s, or asked for them again: %+v", p.name, publisher.name, after)
		}
		decoded, dropped := after.FramesDecoded-before.FramesDecoded, after.FramesDropped-before.FramesDropped
		frozen, pictures := after.FreezeCount-before.FreezeCount, after.PLICount-before.PLICount
		perFrame := milliseconds(1000*(after.TotalDecodeTime-before.TotalDecodeTime)) / time.Duration(decoded)
		seen := fmt.Sprintf("%d frames decoded in %v each, %d dropped, frozen %d times, %d key frames asked for", decoded, perFrame, dropped, frozen, pictures)
		p.t.Logf("%s of %s: %s", p.name, after.Codec, seen)
		if dropped <= decoded/50 && frozen == 0 && pictures == 0 && perFrame < 33*time.Millisecond {
			return
		}
		tries = append(tries, seen)
	}
	p.t.Errorf("%s never plays %s well: %s", p.name, publisher.name, strings.Join(tries, "; "))
}

// milliseconds is a time or duration of a report.
func milliseconds(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
