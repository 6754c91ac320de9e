// Package sfutest has WebRTC clients, built on pion's PeerConnection, that speak
// to the media plane over real UDP: for the tests of sfu and of its doors. They
// know no signalling: whoever uses them carries the SDP to and fro ([Attach]
// does it for an SFU in the same process). `platform bench` has clients of its
// own, which come in through the front door.
//
//	c, _ := sfutest.NewClient(sfutest.Options{Publish: &sfutest.Media{Audio: true, Video: "VP8"}})
//	defer c.Close()
//	answer, _ := c.Accept(offer) // every offer, the first and the later ones
//
// What a client publishes is not for eyes: packets of the right shape for each
// codec, with key frames, the time of sending and a frame number inside.
package sfutest

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/interceptor"
	"github.com/pion/interceptor/pkg/nack"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// Options says what a client does. The zero value is a viewer on loopback.
type Options struct {
	// Publish is what the client sends; nil: nothing.
	Publish *Media
	// Listen is the UDP address it uses; "": 127.0.0.1 and any port.
	Listen string
	// Socket opens the client's socket instead, in another network namespace
	// say; nil: on Listen.
	Socket func() (net.PacketConn, error)
	// In and Out are the network before the client's socket; nil: a perfect one.
	In, Out *Path
	// Drop is asked about each datagram that comes in, before it is decrypted;
	// true loses it. It may be called from any goroutine.
	Drop func(datagram []byte) bool
	// DropSent is the same for datagrams that go out, after encryption.
	DropSent func(datagram []byte) bool
	// Codecs are the video codecs the client knows, by Sora's names; empty: all.
	Codecs []string
	// Profiles are the SRTP protection profiles the client offers; empty: pion's.
	Profiles []dtls.SRTPProtectionProfile
	// OwnTypes has the client offer payload types that are not the platform's.
	OwnTypes bool
	// NoRTX leaves retransmission streams out of the answers.
	NoRTX bool
	// Interceptors are further interceptors, closest to the wire; nil: none.
	Interceptors []interceptor.Factory
	// PionNACK has pion's interceptor ask for what is missing, so often; 0: the
	// client does it itself (nack.go).
	PionNACK time.Duration
	// Decode runs a Decoder for each remote video, which asks for a key frame
	// when it is stuck.
	Decode bool
	// OnPacket sees every packet of remote tracks, in the goroutine of its track.
	OnPacket func(Packet)
}

// Client is one PeerConnection that answers a server's offers. Its methods may
// be called from any goroutine, Accept from one at a time.
type Client struct {
	// Static
	options   Options
	network   *lossyConn
	disguise  disguise
	peer      *webrtc.PeerConnection
	mux       interface{ Close() error }
	publisher *publisher // nil: it only watches
	connected chan struct{}
	stop      chan struct{}
	work      sync.WaitGroup // everything that reads or sends media
	data      dataChannels   // locks for itself

	// Guarded by mu
	mu      sync.Mutex
	streams map[string]*Stream // by stream id, "/" and kind
	closed  bool
	isUp    bool
}

// NewClient makes a client. Close ends it.
func NewClient(o Options) (*Client, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	c := &Client{
		options:   o,
		connected: make(chan struct{}),
		stop:      make(chan struct{}),
		streams:   map[string]*Stream{},
	}
	if o.Socket == nil {
		o.Socket = func() (net.PacketConn, error) { return listen(o.Listen) }
	}
	socket, err := o.Socket()
	if err != nil {
		return nil, fmt.Errorf("couldn't open a socket for a client: %w", err)
	}
	if err := c.open(socket); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return c, nil
}

// listen opens a client's socket, with room for what a test sends at one go.
func listen(addr string) (net.PacketConn, error) {
	socket, err := net.ListenPacket("udp4", addr)
	if err != nil {
		return nil, err
	}
	if u, ok := socket.(*net.UDPConn); ok {
		err = u.SetReadBuffer(2 << 20)
	}
	return socket, err
}

func (c *Client) open(socket net.PacketConn) error {
	media := &webrtc.MediaEngine{}
	if err := registerCodecs(media, c.options); err != nil {
		return err
	}
	if err := media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.ABSSendTimeURI}, webrtc.RTPCodecTypeVideo); err != nil {
		return err
	}
	for _, uri := range []string{sdp.SDESMidURI, sdp.SDESRTPStreamIDURI, sdp.SDESRepairRTPStreamIDURI} {
		if err := media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeVideo); err != nil {
			return err
		}
	}
	if c.options.Publish != nil && c.options.Publish.Level != nil {
		if err := media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.AudioLevelURI}, webrtc.RTPCodecTypeAudio); err != nil {
			return err
		}
	}
	registry := &interceptor.Registry{}
	registry.Add(&c.disguise)
	for _, f := range c.options.Interceptors {
		registry.Add(f)
	}
	if err := webrtc.ConfigureTWCCHeaderExtensionSender(media, registry); err != nil {
		return err
	}
	if err := webrtc.RegisterDefaultInterceptorsWithOptions(media, registry, webrtc.WithNackGeneratorOptions(
		nack.GeneratorInterval(max(c.options.PionNACK, time.Millisecond)),
		nack.GeneratorSize(1024),
		nack.GeneratorMaxNacksPerPacket(10*nackTries),
		nack.GeneratorStreamsFilter(func(info *interceptor.StreamInfo) bool {
			return c.options.PionNACK > 0 && strings.HasPrefix(info.MimeType, "video/") && info.MimeType != webrtc.MimeTypeRTX
		}),
	)); err != nil {
		return err
	}
	settings := webrtc.SettingEngine{}
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetSRTPProtectionProfiles(c.options.Profiles...)
	settings.SetSRTPReplayProtectionWindow(1024) // as browsers; repairs without RTX come late
	// As browsers do: the one that answers is the DTLS client.
	if err := settings.SetAnsweringDTLSRole(webrtc.DTLSRoleClient); err != nil {
		return err
	}
	c.network = newLossyConn(socket, c.options)
	mux := webrtc.NewICEUDPMux(nil, c.network)
	settings.SetICEUDPMux(mux)
	c.mux = mux

	api := webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(registry),
		webrtc.WithSettingEngine(settings))
	peer, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return fmt.Errorf("couldn't make a PeerConnection: %w", err)
	}
	c.peer = peer
	peer.OnTrack(c.watch)
	peer.OnDataChannel(c.data.take)
	peer.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			c.nowConnected()
		}
	})
	if c.options.Publish != nil {
		if c.publisher, err = newPublisher(c, *c.options.Publish); err != nil {
			return errors.Join(err, peer.Close())
		}
	}
	return nil
}

// Accept takes an offer, the first or a later one, and returns the answer.
func (c *Client) Accept(offer string) (answer string, err error) {
	err = c.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer})
	if err != nil {
		return "", fmt.Errorf("couldn't take the offer: %w", err)
	}
	a, err := c.peer.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("couldn't answer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(c.peer)
	if err := c.peer.SetLocalDescription(a); err != nil {
		return "", fmt.Errorf("couldn't take the own answer: %w", err)
	}
	<-gathered
	return c.peer.LocalDescription().SDP, nil
}

// Connected is closed when ICE and DTLS are up.
func (c *Client) Connected() <-chan struct{} { return c.connected }

func (c *Client) nowConnected() {
	c.mu.Lock()
	first := !c.isUp && !c.closed
	c.isUp = true
	if first && c.publisher != nil {
		c.publisher.start()
	}
	if first && c.options.PionNACK == 0 {
		c.work.Add(1)
		go c.runNACKs()
	}
	c.mu.Unlock()
	if first {
		close(c.connected)
	}
}

// Peer is the PeerConnection, for what this package does not offer.
func (c *Client) Peer() *webrtc.PeerConnection { return c.peer }

// Silence closes the client's socket: it hears and says nothing from then on, not
// even goodbye. Close is still to be called.
func (c *Client) Silence() error { return c.mux.Close() }

// Passed says what the networks before the client's socket did, inwards and
// outwards.
func (c *Client) Passed() (in, out Passed) {
	if c.network.in != nil {
		in = c.network.in.Passed()
	}
	if c.network.out != nil {
		out = c.network.out.Passed()
	}
	return in, out
}

// Sent says how much was published so far.
func (c *Client) Sent() Sent {
	if c.publisher == nil {
		return Sent{}
	}
	return c.publisher.snapshot()
}

// Close ends the client as one that says goodbye, and waits for its goroutines.
func (c *Client) Close() error {
	c.mu.Lock()
	first := !c.closed
	c.closed = true
	c.mu.Unlock()
	if !first {
		return nil
	}
	close(c.stop)
	err := errors.Join(c.peer.Close(), c.mux.Close())
	c.work.Wait()
	return err
}
