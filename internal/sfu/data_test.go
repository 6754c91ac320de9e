package sfu_test

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

// withData gives a connection data channels.
func withData(channels ...sfu.DataChannel) func(*sfu.JoinRequest) {
	return func(r *sfu.JoinRequest) { r.DataChannels = channels }
}

// onlyData asks for neither audio nor video.
func onlyData(r *sfu.JoinRequest) { r.Audio.Enabled, r.Video.Enabled = false, false }

// chat is a plain messaging channel.
func chat(label string) sfu.DataChannel {
	return sfu.DataChannel{Label: label, Direction: tenant.SendRecv}
}

// talker joins without media and waits until the data channels are open.
func talker(t *testing.T, s *sfu.SFU, channels []sfu.DataChannel, tune ...func(*sfu.JoinRequest)) *sfutest.Session {
	t.Helper()
	tune = append([]func(*sfu.JoinRequest){onlyData, withData(channels...)}, tune...)
	c := join(t, s, request(tenant.SendOnly, tune...), sfutest.Options{})
	open(t, c)
	return c
}

// open waits until all data channels are open on both sides.
func open(t *testing.T, c *sfutest.Session) {
	t.Helper()
	eventually(t, "the data channels open", func() bool { return len(c.Signals(sfu.SignalDataOpen)) == 1 })
}

func deflate(s string) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.Bytes()
}

func inflate(t *testing.T, b []byte) string {
	t.Helper()
	r, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

// texts are the messages of a label that came so far, as text.
func texts(c *sfutest.Session, label string) []string {
	var all []string
	for _, m := range c.Messages(label) {
		all = append(all, string(m.Data))
	}
	return all
}

// A client without media connects by its data channels alone, in the order asked
// for, and its offer has nothing else.
func TestMessagingOnly(t *testing.T) {
	s := newSFU(t)
	c := talker(t, s, []sfu.DataChannel{chat("#b"), {Label: "signaling", Compress: true}, chat("#a")})
	if got := c.OpenChannels(); len(got) != 3 {
		t.Errorf("opened %q", got)
	}
	for i, label := range []string{"#b", "signaling", "#a"} {
		if id := c.Channel(label).ID(); id == nil || *id != uint16(1+2*i) { // the server's, in order (RFC 8832 §6)
			t.Errorf("%s has stream %v", label, id)
		}
	}
	sdp := c.Peer().RemoteDescription().SDP
	if strings.Count(sdp, "\r\nm=") != 1 || !strings.Contains(sdp, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel") {
		t.Errorf("offer is %s", sdp)
	}
}

// The door and its client talk on channels that are no messaging channels,
// compressed or not.
func TestDoorData(t *testing.T) {
	s := newSFU(t)
	c := talker(t, s, []sfu.DataChannel{{Label: "plain"}, {Label: "packed", Compress: true}})
	for _, send := range []error{
		c.Connection.SendData("plain", []byte("one"), false),
		c.Connection.SendData("packed", []byte("two"), false),
		c.Connection.SendDeflated("packed", sfu.Deflate([]byte("three"))),
	} {
		if send != nil {
			t.Fatal(send)
		}
	}
	if err := c.Connection.SendData("other", nil, false); err != sfu.ErrNoDataChannel {
		t.Errorf("on a label that is not there: %v", err)
	}
	eventually(t, "three messages", func() bool { return len(c.Messages("")) == 3 })
	if m := c.Messages("plain")[0]; m.Binary || string(m.Data) != "one" {
		t.Errorf("got %+v", m)
	}
	for i, want := range []string{"two", "three"} {
		if m := c.Messages("packed")[i]; !m.Binary || inflate(t, m.Data) != want {
			t.Errorf("got %+v, want %s", m, want)
		}
	}
	if err := c.Channel("plain").SendText("four"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a message to the door", func() bool { return len(c.Signals(sfu.SignalData)) == 1 })
	if err := c.SendMessage("packed", deflate("five")); err != nil {
		t.Fatal(err)
	}
	if err := c.SendMessage("packed", []byte("no zlib")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "another", func() bool { return len(c.Signals(sfu.SignalData)) == 2 })
	for i, want := range []sfu.Signal{{Label: "plain", Data: []byte("four")}, {Label: "packed", Data: []byte("five"), Binary: true}} {
		if got := c.Signals(sfu.SignalData)[i]; got.Label != want.Label || string(got.Data) != string(want.Data) || got.Binary != want.Binary {
			t.Errorf("the door got %+v, want %+v", got, want)
		}
	}
	eventually(t, "the bad one is counted", func() bool { return s.Stats().DataDrops["bad_compression"] == 1 })
}

// What a client sends reaches whoever receives on the label, as it asked for it:
// not the sender, not its bundle, not those who only send.
func TestMessagesReachTheirReceivers(t *testing.T) {
	s := newSFU(t)
	inBundle := func(r *sfu.JoinRequest) { r.BundleID = "pair" }
	sender := talker(t, s, []sfu.DataChannel{chat("#x"), {Label: "#packed", Direction: tenant.SendOnly, Compress: true}, {Label: "#deaf", Direction: tenant.RecvOnly}}, inBundle)
	plain := talker(t, s, []sfu.DataChannel{chat("#x"), {Label: "#packed", Direction: tenant.RecvOnly}, chat("#deaf")})
	packed := talker(t, s, []sfu.DataChannel{{Label: "#x", Direction: tenant.RecvOnly, Compress: true}, {Label: "#packed", Direction: tenant.SendRecv, Compress: true}})
	header := talker(t, s, []sfu.DataChannel{{Label: "#x", Direction: tenant.RecvOnly, SenderHeader: true}, {Label: "#packed", Direction: tenant.RecvOnly, Compress: true, SenderHeader: true}})
	bundled := talker(t, s, []sfu.DataChannel{chat("#x"), chat("#packed")}, inBundle)
	mute := talker(t, s, []sfu.DataChannel{{Label: "#x", Direction: tenant.SendOnly}})
	elsewhere := talker(t, s, []sfu.DataChannel{chat("#x")}, inChannel("elsewhere"))

	for label, data := range map[string][]byte{"#x": []byte("hello"), "#packed": deflate("hello"), "#deaf": []byte("hello")} {
		if err := sender.SendMessage(label, data); err != nil {
			t.Fatal(err)
		}
	}
	id := sender.Connection.ID()
	receivers := []*sfutest.Session{plain, packed, header}
	for _, r := range receivers {
		eventually(t, "two messages", func() bool { return len(r.Messages("")) == 2 })
	}
	eventually(t, "what is sent the wrong way is counted", func() bool { return s.Stats().DataDrops["direction"] == 1 })
	for name, got := range map[string]string{
		"plain #x":       string(plain.Messages("#x")[0].Data),
		"plain #packed":  string(plain.Messages("#packed")[0].Data),
		"packed #x":      inflate(t, packed.Messages("#x")[0].Data),
		"packed #packed": inflate(t, packed.Messages("#packed")[0].Data),
		"header #x":      strings.TrimPrefix(string(header.Messages("#x")[0].Data), id),
		"header #packed": strings.TrimPrefix(inflate(t, header.Messages("#packed")[0].Data), id),
	} {
		if got != "hello" {
			t.Errorf("%s got %q", name, got)
		}
	}
	if n := len(header.Messages("#x")[0].Data); n != 26+5 {
		t.Errorf("a message with header has %d bytes", n)
	}
	for _, r := range receivers {
		for _, m := range r.Messages("") {
			if !m.Binary {
				t.Errorf("%s came as a string", m.Label)
			}
		}
	}
	for name, c := range map[string]*sfutest.Session{"sender": sender, "bundled": bundled, "mute": mute, "elsewhere": elsewhere} {
		if got := texts(c, ""); len(got) > 0 {
			t.Errorf("%s got %q", name, got)
		}
	}
}

// On ordered reliable channels each client gets exactly what the others sent, in
// the order of each sender, whatever the network loses.
func TestMessagesOverABadNetwork(t *testing.T) {
	s := newSFU(t, patient)
	bad := sfutest.Impairment{Loss: 0.05, Reorder: 0.05, Duplicate: 0.02, Jitter: 5 * time.Millisecond}
	const clients, each = 3, 60
	var all []*sfutest.Session
	for i := range uint64(clients) {
		kinds := map[sfutest.DatagramKind]sfutest.Impairment{sfutest.DTLS: bad}
		c := join(t, s, request(tenant.SendOnly, onlyData, withData(chat("#x"))),
			sfutest.Options{In: &sfutest.Path{Seed: i, Kinds: kinds}, Out: &sfutest.Path{Seed: i + 100, Kinds: kinds}})
		all = append(all, c)
	}
	for _, c := range all {
		if !sfutest.Eventually(time.Minute, func() bool { return len(c.Signals(sfu.SignalDataOpen)) == 1 }) {
			t.Fatal("the data channels did not open")
		}
	}
	for n := range each {
		for i, c := range all {
			text := fmt.Sprint(i, " ", n, " ", strings.Repeat("x", n*n%5000))
			if err := c.SendMessage("#x", []byte(text)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, c := range all {
		if !sfutest.Eventually(time.Minute, func() bool { return len(c.Messages("#x")) >= (clients-1)*each }) {
			t.Fatalf("client %d got %d messages", i, len(c.Messages("#x")))
		}
		next := map[int]int{}
		for _, text := range texts(c, "#x") {
			var from, n int
			if _, err := fmt.Sscan(text, &from, &n); err != nil || from == i || n != next[from] {
				t.Fatalf("client %d got %.20q, next is %d", i, text, next[from])
			}
			next[from]++
		}
	}
}

// A disconnect delivers what was sent before, and closes every channel.
func TestDisconnectClosesDataChannels(t *testing.T) {
	s := newSFU(t)
	c := talker(t, s, []sfu.DataChannel{{Label: "signaling"}, chat("#x")})
	if err := c.Connection.SendData("signaling", []byte("bye"), false); err != nil {
		t.Fatal(err)
	}
	c.Connection.Disconnect(tenant.EndAPI)
	eventually(t, "the channels close", func() bool { return len(c.ClosedChannels()) == 2 })
	if got := texts(c, "signaling"); !slices.Equal(got, []string{"bye"}) {
		t.Errorf("got %q", got)
	}
	if errs := c.DataErrors(); len(errs) > 0 {
		t.Errorf("errors %v", errs)
	}
}

// A client that sends more than it may is ended with that reason.
func TestMessageRate(t *testing.T) {
	for name, tune := range map[string]func(*sfu.Config){
		"messages": func(c *sfu.Config) { c.MessageRate = 5 },
		"bytes":    func(c *sfu.Config) { c.MessageBytes = 5_000 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSFU(t, tune)
			c := talker(t, s, []sfu.DataChannel{chat("#x")})
			for range 100 {
				if c.SendMessage("#x", make([]byte, 1000)) != nil {
					break // ended already
				}
			}
			<-c.Connection.Done()
			if got := c.Connection.Ending().Reason; got != tenant.EndRateLimited {
				t.Errorf("ended by %q", got)
			}
		})
	}
}

// A client that refuses the section goes on without data.
func TestRefusedData(t *testing.T) {
	s := newSFU(t)
	ctx := t.Context()
	conn, err := s.Join(ctx, request(tenant.SendOnly, withData(chat("#x"))))
	if err != nil {
		t.Fatal(err)
	}
	client, err := sfutest.NewClient(publishing(av))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	offer, _, _ := conn.Offer()
	answer, err := client.Accept(offer)
	if err != nil {
		t.Fatal(err)
	}
	answer = strings.Replace(answer, "m=application 9", "m=application 0", 1)
	if err := conn.Answer(answer); err != nil {
		t.Fatal(err)
	}
	kinds := []sfu.SignalKind{}
	for signal := range conn.Signals() {
		kinds = append(kinds, signal.Kind)
		if signal.Kind == sfu.SignalConnected {
			break
		}
	}
	if !slices.Equal(kinds, []sfu.SignalKind{sfu.SignalDataRefused, sfu.SignalConnected}) {
		t.Errorf("signals %v", kinds)
	}
	if err := conn.SendData("#x", nil, true); err == nil {
		t.Error("data was sent all the same")
	}
}
