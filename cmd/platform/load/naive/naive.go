// Package naive is the yardstick of the benchmark: the forwarder that pion's
// own examples show how to write, behind just enough of the Sora dialect for
// package load's clients. Each participant is a PeerConnection with pion's
// default codecs and interceptors, each published track is a
// TrackLocalStaticRTP that every viewer's connection has been given, and one
// UDP port serves them all. It knows no tokens and keeps no books.
package naive

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

// Server is one yardstick.
type Server struct {
	// Static
	api   *webrtc.API
	mux   ice.UDPMux
	http  net.Listener
	calls sync.WaitGroup

	mu       sync.Mutex // guards channels
	channels map[string][]*webrtc.TrackLocalStaticRTP
}

// Listen opens a TCP port for signalling and a UDP port for media, both of an
// IPv4 address. Serve closes them.
func Listen(signaling, media string) (*Server, error) {
	udp, err := net.ListenPacket("udp4", media)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the media port: %w", err)
	}
	tcp, err := net.Listen("tcp4", signaling)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("couldn't open the signalling port: %w", err), udp.Close())
	}
	s := &Server{
		mux:      webrtc.NewICEUDPMux(nil, udp),
		http:     tcp,
		channels: map[string][]*webrtc.TrackLocalStaticRTP{},
	}
	if s.api, err = newAPI(s.mux); err != nil {
		return nil, errors.Join(err, tcp.Close(), s.mux.Close())
	}
	return s, nil
}

// newAPI returns pion as its examples use it.
func newAPI(mux ice.UDPMux) (*webrtc.API, error) {
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	interceptors := &interceptor.Registry{}
	if err := webrtc.RegisterDefaultInterceptors(media, interceptors); err != nil {
		return nil, err
	}
	settings := webrtc.SettingEngine{}
	settings.SetICEUDPMux(mux)
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	return webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithInterceptorRegistry(interceptors),
		webrtc.WithSettingEngine(settings)), nil
}

// URL is where clients signal.
func (s *Server) URL() string { return "ws://" + s.http.Addr().String() + "/signaling" }

// Serve takes clients until ctx ends, then ends them.
func (s *Server) Serve(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /signaling", func(w http.ResponseWriter, r *http.Request) {
		s.calls.Add(1)
		defer s.calls.Done()
		s.serve(ctx, w, r)
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	err := server.Serve(s.http)
	s.calls.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, s.mux.Close())
}

// publish adds a track to a channel; viewers who come later get it.
func (s *Server) publish(channel string, t *webrtc.TrackLocalStaticRTP) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.channels[channel] = append(s.channels[channel], t)
}

// withdraw removes a track from its channel.
func (s *Server) withdraw(channel string, t *webrtc.TrackLocalStaticRTP) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var rest []*webrtc.TrackLocalStaticRTP
	for _, other := range s.channels[channel] {
		if other != t {
			rest = append(rest, other)
		}
	}
	s.channels[channel] = rest
}

// tracks are those a viewer of a channel gets.
func (s *Server) tracks(channel string) []*webrtc.TrackLocalStaticRTP {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.channels[channel]
}
