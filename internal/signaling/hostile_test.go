package signaling_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"net"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pion/dtls/v3"
	"github.com/pion/stun/v3"

	"github.com/hibari/hibari/internal/signaling"
	"github.com/hibari/hibari/internal/tenant"
)

// stage is how far a client comes with its set-up.
type stage int

const (
	atSocket  stage = iota // the WebSocket is open
	atConnect              // it has said connect
	atOffer                // it has its offer
	atAnswer               // it has answered
	atCheck                // its ICE check was answered
	atHello                // it has begun the DTLS handshake
	atMedia                // the handshake is over, the DataChannels are not open
	stages
)

var stageNames = [stages]string{"socket", "connect", "offer", "answer", "check", "hello", "media"}

// stranger is a client that takes each step of the set-up by itself, as far as it
// cares to.
type stranger struct {
	*client
	id          string // of its connection, once it has its offer
	udp         net.PacketConn
	server      *net.UDPAddr
	ufrag, pwd  string    // its own
	theirs      [2]string // the server's
	reply       string    // its answer
	certificate tls.Certificate
	fingerprint string
	leave       context.CancelFunc // ends a handshake under way
	over        chan struct{}      // closed when that has ended; nil: there was none
}

var attribute = regexp.MustCompile(`(?m)^a=(ice-ufrag|ice-pwd|fingerprint|candidate):([^\r]*)`)

// stray visits a house and comes as far as a stage.
func (h *house) stray(t testing.TB, until stage) *stranger {
	t.Helper()
	s := &stranger{client: h.visit(t), ufrag: rand.Text()[:8], pwd: rand.Text(), leave: func() {}}
	for at := atConnect; at <= until; at++ {
		switch at {
		case atConnect:
			s.say(unsaid("sendrecv", ""))
		case atOffer:
			s.takeOffer()
		case atAnswer:
			text, _ := json.Marshal(map[string]string{"type": "answer", "sdp": s.reply})
			s.say(string(text))
		case atCheck:
			s.check()
		case atHello:
			if until == atHello {
				s.shake(1)
			}
		case atMedia:
			s.shake(1 << 30)
		}
	}
	return s
}

// takeOffer reads what the server offers.
func (s *stranger) takeOffer() {
	s.t.Helper()
	_, offer := s.hear()
	s.id = offer["connection_id"].(string)
	sdp := offer["sdp"].(string)
	for _, m := range attribute.FindAllStringSubmatch(sdp, -1) {
		switch m[1] {
		case "ice-ufrag":
			s.theirs[0] = m[2]
		case "ice-pwd":
			s.theirs[1] = m[2]
		case "candidate":
			f := strings.Fields(m[2])
			s.server, _ = net.ResolveUDPAddr("udp", net.JoinHostPort(f[4], f[5]))
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256(der)
	s.certificate = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	s.fingerprint = "sha-256 " + strings.ToUpper(strings.ReplaceAll(fmt.Sprintf("% x", sum[:]), " ", ":"))
	if s.udp, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.vanish() })
	// The answer of a real client, with the credentials of this one.
	mine := map[string]string{"ice-ufrag": s.ufrag, "ice-pwd": s.pwd, "fingerprint": s.fingerprint}
	var answer map[string]string
	if err := json.Unmarshal([]byte(idleAnswer(s.t, "answer", sdp)), &answer); err != nil {
		s.t.Fatal(err)
	}
	s.reply = attribute.ReplaceAllStringFunc(answer["sdp"], func(line string) string {
		name, _, _ := strings.Cut(strings.TrimPrefix(line, "a="), ":")
		return "a=" + name + ":" + mine[name]
	})
}

// check does one ICE check. The answer to the offer may come later than that, so
// it is repeated until it is answered.
func (s *stranger) check() {
	s.t.Helper()
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(s.theirs[0]+":"+s.ufrag),
		stun.RawAttribute{Type: stun.AttrPriority, Value: []byte{110, 0, 30, 255}},
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: make([]byte, 8)},
		stun.RawAttribute{Type: stun.AttrUseCandidate},
		stun.NewShortTermIntegrity(s.theirs[1]), stun.Fingerprint)
	if err != nil {
		s.t.Fatal(err)
	}
	buf := make([]byte, 1500)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if _, err := s.udp.WriteTo(m.Raw, s.server); err != nil {
			s.t.Fatal(err)
		}
		_ = s.udp.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, _, err := s.udp.ReadFrom(buf); err == nil && stun.IsMessage(buf[:n]) {
			_ = s.udp.SetReadDeadline(time.Time{})
			return
		}
	}
	s.t.Fatal("the check was not answered")
}

// shake does the DTLS handshake as far as a number of datagrams of its own, and
// waits for the end of it, or for the server's answer to the first.
func (s *stranger) shake(datagrams int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	narrow := &narrows{PacketConn: s.udp, heard: make(chan struct{}, 1)}
	narrow.left.Store(int64(datagrams))
	conn, err := dtls.ClientWithOptions(narrow, s.server,
		dtls.WithCertificates(s.certificate), dtls.WithInsecureSkipVerify(true),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM))
	if err != nil {
		s.t.Fatal(err)
	}
	s.over = make(chan struct{})
	s.leave = func() { cancel(); _ = s.udp.Close(); _ = conn.Close() }
	shaken := make(chan error, 1)
	go func() { defer close(s.over); shaken <- conn.HandshakeContext(ctx) }()
	done, heard := shaken, narrow.heard
	if datagrams == 1 {
		done = nil
	} else {
		heard = nil
	}
	select {
	case err := <-done:
		if err != nil {
			s.t.Fatal(err)
		}
	case <-heard:
	case <-ctx.Done():
		s.t.Fatal("nothing came of the handshake")
	}
}

// vanish drops everything without a word.
func (s *stranger) vanish() {
	s.conn.CloseNow()
	s.leave()
	if s.udp != nil {
		_ = s.udp.Close()
	}
	if s.over != nil {
		<-s.over
	}
}

// narrows lets few datagrams out, and tells when the first came in.
type narrows struct {
	net.PacketConn
	left  atomic.Int64
	heard chan struct{}
}

func (n *narrows) WriteTo(b []byte, to net.Addr) (int, error) {
	if n.left.Add(-1) < 0 {
		return len(b), nil
	}
	return n.PacketConn.WriteTo(b, to)
}

func (n *narrows) ReadFrom(b []byte) (int, net.Addr, error) {
	size, from, err := n.PacketConn.ReadFrom(b)
	if err == nil {
		select {
		case n.heard <- struct{}{}:
		default:
		}
	}
	return size, from, err
}

// A client that falls silent, floods or vanishes at any step of the set-up ends
// with a reason, once, and nothing is left of it.
func TestClientsThatStopAtEachStep(t *testing.T) {
	before := runtime.NumGoroutine()
	limits := signaling.Limits{
		Connect: 300 * time.Millisecond, Answer: 300 * time.Millisecond, Media: 500 * time.Millisecond, MessageBurst: 300, MessageRate: 10,
	}
	silent := [stages]string{
		atSocket: "bad_message: no connect message within", atConnect: "setup_timeout: no answer", atOffer: "setup_timeout: no answer",
		atAnswer: "setup_timeout: media did not connect", atCheck: "setup_timeout: media did not connect",
		atHello: "setup_timeout: media did not connect", atMedia: "setup_timeout: the DataChannels did not open",
	}
	t.Run("all", func(t *testing.T) {
		for at := range stages {
			for _, way := range []string{"silent", "floods", "vanishes"} {
				t.Run(stageNames[at]+" "+way, func(t *testing.T) {
					t.Parallel()
					h, plane := broadcast(t, signaling.Config{Limits: limits})
					s := h.stray(t, at)
					if at == atMedia { // for the server, too
						h.books.await(t, "the connection", func(b *books) bool { return len(b.connected) == 1 })
					}
					reason, ending := silent[at], tenant.EndSetupTimeout
					switch way {
					case "floods":
						reason, ending = "rate_limited: ", tenant.EndRateLimited
						go s.flood()
					case "vanishes":
						reason, ending = "", tenant.EndClient
						s.vanish()
					}
					if reason != "" {
						if code, got := s.farewell(); code != 4490 || !strings.HasPrefix(got, reason) {
							t.Errorf("closed with %d %q, want %q", code, got, reason)
						}
					}
					h.door.Drain()
					ctx, cancel := context.WithTimeout(context.Background(), patience)
					defer cancel()
					if err := h.door.Wait(ctx); err != nil {
						t.Fatal(err)
					}
					h.books.read(func(b *books) {
						opened := 1
						if at == atSocket || at == atConnect && way == "vanishes" && len(b.opened) == 0 { // it was gone before it was heard
							opened = 0
						}
						if len(b.opened) != opened || len(b.closed) != opened || b.closings != opened {
							t.Errorf("opened %d, closed %d in %d entries, want %d of each", len(b.opened), len(b.closed), b.closings, opened)
						}
						for id, e := range b.closed {
							if e.Reason != ending || b.connected[id].IsZero() != (at < atMedia) {
								t.Errorf("ended as %+v, connected at %s", e, b.connected[id])
							}
						}
					})
					if n := len(plane.Connections()); n != 0 {
						t.Errorf("%d connections are left", n)
					}
				})
			}
		}
	})
	deadline := time.Now().Add(patience)
	for runtime.NumGoroutine() > before+2 {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
		runtime.Gosched()
	}
}

// flood says nothing of use, until nobody listens.
func (s *stranger) flood() {
	for s.conn.Write(context.Background(), websocket.MessageText, []byte(`{"type":"pong"}`)) == nil {
	}
}

// A publisher that has none of the offered codecs is told so, and which.
func TestPublisherWithoutCodec(t *testing.T) {
	h, _ := broadcast(t, signaling.Config{})
	refusing := edits{answer: func(sdp string) string { return strings.ReplaceAll(sdp, "m=video 9", "m=video 0") }}
	for _, connect := range []string{
		unsaid("sendonly", `,"audio":false,"video":{"codec_type":"H264"}`),
		unsaid("sendonly", `,"audio":false,"video":{"codec_type":"H264"},"data_channel_signaling":false`),
	} {
		c := h.callWith(t, connect, false, refusing)
		if code, reason := c.ended(); code != 4490 || !strings.HasPrefix(reason, "bad_message: answer cannot be used: ") {
			t.Errorf("closed with %d %q", code, reason)
		}
	}
	// Who came to talk as well stays.
	c := h.callWith(t, unsaid("sendonly", `,"audio":false,"video":{"codec_type":"H264"},"data_channels":[{"label":"#chat","direction":"sendrecv"}]`), false, refusing)
	c.switched(false)
}

// SDP from hell ends the connection that sent it, and no other.
func TestAnswersFromHell(t *testing.T) {
	h, plane := broadcast(t, signaling.Config{})
	bystander := h.call(t, join("recvonly", ""), false)
	bystander.connected()
	const head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
	lines := func(line string, n int) string { return strings.Repeat(line+"\r\n", n) }
	section := "m=audio 9 UDP/TLS/RTP/SAVPF 109\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-pwd:" + strings.Repeat("p", 24) + "\r\na=setup:active\r\n"
	hells := map[string]string{
		"nothing but sections":    head + lines("m=audio 9 UDP/TLS/RTP/SAVPF 109", 25_000),
		"one section repeated":    head + strings.Repeat(section, 5000),
		"payload types":           head + "m=audio 9 UDP/TLS/RTP/SAVPF" + strings.Repeat(" 109", 200_000) + "\r\na=mid:0\r\n",
		"rtpmaps":                 head + section + lines("a=rtpmap:109 opus/48000/2", 30_000),
		"extensions":              head + section + lines("a=extmap:1 urn:x", 50_000),
		"ports out of range":      head + "m=audio 99999999999999999999 UDP/TLS/RTP/SAVPF 109\r\na=mid:0\r\n",
		"a negative port":         head + "m=audio -1 UDP/TLS/RTP/SAVPF 109\r\na=mid:0\r\n",
		"a long mid":              head + strings.ReplaceAll(section, "a=mid:0", "a=mid:"+strings.Repeat("0", 500_000)),
		"no credentials":          head + "m=audio 9 UDP/TLS/RTP/SAVPF 109\r\na=mid:0\r\na=fingerprint:sha-256 00\r\n",
		"a fingerprint of air":    head + section + "a=fingerprint:sha-256 " + strings.Repeat("AA:", 100_000) + "\r\n",
		"an unknown hash":         head + section + "a=fingerprint:md2 AA:BB\r\n",
		"a setup of its own":      head + strings.ReplaceAll(section, "active", "holdconn") + "a=fingerprint:sha-256 AA\r\n",
		"NUL":                     head + strings.ReplaceAll(section, "abcd", "ab\x00cd"),
		"no line ends":            strings.Repeat("v=0", 300_000),
		"bare carriage returns":   strings.ReplaceAll(head+section, "\n", ""),
		"a very short credential": head + strings.ReplaceAll(section, "abcd", "a") + "a=fingerprint:sha-256 " + strings.TrimSuffix(strings.Repeat("AA:", 32), ":") + "\r\n",
		"simulcast of everything": head + section + "a=simulcast:send " + strings.Repeat("r0;~r1,", 100_000) + "\r\n" + lines("a=rid:r0 send", 10_000),
	}
	for name, sdp := range hells {
		t.Run(name, func(t *testing.T) {
			c := h.visit(t)
			c.say(unsaid("sendrecv", ""))
			if _, m := c.hear(); m["type"] != "offer" {
				t.Fatalf("heard %v", m)
			}
			text, _ := json.Marshal(map[string]string{"type": "answer", "sdp": sdp})
			c.say(string(text))
			code, reason := c.farewell()
			if code != 4490 || !strings.HasPrefix(reason, "bad_message: ") && !strings.HasPrefix(reason, "too_large: ") || len(reason) > 123 {
				t.Errorf("closed with %d %q", code, reason)
			}
		})
	}
	h.books.await(t, "all ends but one", func(b *books) bool { return len(b.closed) == len(hells) })
	if n := len(plane.Connections()); n != 1 {
		t.Errorf("%d connections are left, want the bystander", n)
	}
	bystander.say(`{"type":"disconnect"}`)
	if code, reason := bystander.ended(); code != 1000 || reason != "TYPE-DISCONNECT" {
		t.Errorf("the bystander ended with %d %q", code, reason)
	}
}
