package sfu_test

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

const (
	acme = tenant.ID("ten_ACME")
	room = "room"
)

// at is a media port at an address of this machine. The SFU's own limit of
// set-up counts.
func at(ip string) transport.Config {
	return transport.Config{Addr: ip + ":0", IPs: []netip.Addr{netip.MustParseAddr(ip)}, SetupTimeout: time.Minute}
}

// listen opens a media port that the test closes.
func listen(t *testing.T, c transport.Config) *transport.Endpoint {
	t.Helper()
	endpoint, err := transport.Listen(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := endpoint.Close(); err != nil {
			t.Error(err)
		}
	})
	return endpoint
}

// newSFU is an SFU on a loopback port of its own, closed at the end.
func newSFU(t *testing.T, tune ...func(*sfu.Config)) *sfu.SFU {
	t.Helper()
	return newSFUOn(t, listen(t, at("127.0.0.1")), tune...)
}

// newSFUOn is an SFU on a media port.
func newSFUOn(t *testing.T, endpoint *transport.Endpoint, tune ...func(*sfu.Config)) *sfu.SFU {
	t.Helper()
	c := sfu.Config{Transport: endpoint}
	if os.Getenv("SFU_TEST_LOG") != "" {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	for _, f := range tune {
		f(&c)
	}
	s := sfu.New(c)
	t.Cleanup(func() { s.Close(tenant.EndShutdown) })
	return s
}

// request is a wish for audio and VP8 video.
func request(role tenant.Role, tune ...func(*sfu.JoinRequest)) sfu.JoinRequest {
	id := tenant.NewID()
	r := sfu.JoinRequest{
		Tenant: acme, Channel: room, SessionID: "session", ConnectionID: id, ClientID: id, Role: role,
		Audio: sfu.MediaWish{Enabled: true, Codec: "OPUS"},
		Video: sfu.MediaWish{Enabled: true, Codec: "VP8"},
	}
	for _, f := range tune {
		f(&r)
	}
	return r
}

// patient lets clients repeat their handshakes on a bad network for a while, and
// has no frame dropped because the machine is busy with other things.
func patient(c *sfu.Config) { c.SetupTimeout, c.Lateness = time.Minute, time.Minute }

func inChannel(name string) func(*sfu.JoinRequest) {
	return func(r *sfu.JoinRequest) { r.Channel = name }
}

func withSlots(r *sfu.JoinRequest) { r.Slots = true }

func withVideo(codec string) func(*sfu.JoinRequest) {
	return func(r *sfu.JoinRequest) { r.Video.Codec = codec }
}

// av is what most tests publish: small, so that many fit on one machine.
var av = sfutest.Media{Audio: true, Video: "VP8", PacketsPerFrame: 3, PayloadSize: 600}

func publishing(m sfutest.Media) sfutest.Options { return sfutest.Options{Publish: &m} }

// join enters a channel with a client; both end with the test.
func join(t *testing.T, s *sfu.SFU, r sfu.JoinRequest, o sfutest.Options) *sfutest.Session {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	conn, err := s.Join(ctx, r)
	if err != nil {
		t.Fatal(err)
	}
	client, err := sfutest.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	session, err := sfutest.Attach(conn, client)
	if err != nil {
		t.Fatal(err)
	}
	return session
}

// publish joins as a publisher and waits until it is connected.
func publish(t *testing.T, s *sfu.SFU, m sfutest.Media, tune ...func(*sfu.JoinRequest)) *sfutest.Session {
	t.Helper()
	p := join(t, s, request(tenant.SendOnly, append([]func(*sfu.JoinRequest){withVideo(m.Video)}, tune...)...), publishing(m))
	connected(t, p)
	return p
}

// view joins as a viewer and waits until it is connected.
func view(t *testing.T, s *sfu.SFU, tune ...func(*sfu.JoinRequest)) *sfutest.Session {
	t.Helper()
	v := join(t, s, request(tenant.RecvOnly, tune...), sfutest.Options{})
	connected(t, v)
	return v
}

func connected(t *testing.T, s *sfutest.Session) {
	t.Helper()
	select {
	case <-s.Connected():
	case <-time.After(time.Minute):
		t.Fatal("the client did not connect in time")
	}
	eventually(t, "the door hears of the connection", func() bool {
		return len(s.Signals(sfu.SignalConnected)) == 1
	})
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	if !sfutest.Eventually(10*time.Second, condition) {
		t.Fatalf("not in time: %s", what)
	}
}

// flows waits until the viewer has got packets and frames of that stream.
func flows(t *testing.T, v *sfutest.Session, stream string) {
	t.Helper()
	eventually(t, "audio and video of "+stream, func() bool {
		return v.Stream(stream, "audio").Packets >= 10 && v.Stream(stream, "video").Frames >= 10
	})
}

// more waits until the viewer has got more of a stream than it has now.
func more(t *testing.T, v *sfutest.Session, stream, kind string) {
	t.Helper()
	before := v.Stream(stream, kind).Packets
	eventually(t, "more "+kind+" of "+stream, func() bool { return v.Stream(stream, kind).Packets >= before+10 })
}
