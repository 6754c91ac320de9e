package load

import (
	"context"
	"errors"
	"sync"

	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

// peer is one client on a pion PeerConnection.
type peer struct {
	call
	pc   *webrtc.PeerConnection
	up   chan struct{} // closed when media is connected
	stop context.CancelFunc
}

// newAPI returns pion with reports but without repair: a client that never asks
// for a packet again, so that nothing lost goes unseen.
func newAPI() (*webrtc.API, error) {
	media := &webrtc.MediaEngine{}
	if err := media.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if err := media.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uriMID}, kind); err != nil {
			return nil, err
		}
	}
	reports := &interceptor.Registry{}
	if err := webrtc.ConfigureRTCPReports(reports); err != nil {
		return nil, err
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.DisableMediaEngineCopy(true)
	return webrtc.NewAPI(webrtc.WithMediaEngine(media), webrtc.WithSettingEngine(settings),
		webrtc.WithInterceptorRegistry(reports)), nil
}

// startPeer joins a channel with a PeerConnection, which it takes over. Its media
// may take a little longer than the return: see up.
func startPeer(ctx context.Context, r *run, s *stage, role string, pc *webrtc.PeerConnection) (*peer, error) {
	p := &peer{pc: pc, up: make(chan struct{})}
	connected := sync.OnceFunc(func() { close(p.up) }) // a shaken network may bring the state up twice
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateConnected {
			connected()
		}
	})
	candidates := make(chan string, 64)
	gathered := sync.OnceFunc(func() { close(candidates) }) // pion says so again at each answer
	pc.OnICECandidate(func(c *webrtc.ICECandidate) {
		if c == nil {
			gathered()
			return
		}
		candidates <- c.ToJSON().Candidate
	})
	c, err := r.enter(ctx, s, role, p.answerOffer)
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	running, stop := context.WithCancel(context.Background())
	p.call, p.stop = c, stop
	go p.runCandidates(running, candidates)
	return p, nil
}

// answerOffer has pion answer.
func (p *peer) answerOffer(offer string) (string, error) {
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	answer, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	return answer.SDP, p.pc.SetLocalDescription(answer)
}

// runCandidates tells the server of the candidates as they are found.
func (p *peer) runCandidates(ctx context.Context, candidates <-chan string) {
	for {
		select {
		case <-ctx.Done():
			return
		case c, more := <-candidates:
			if !more || p.candidate(ctx, c) != nil {
				return
			}
		}
	}
}

func (p *peer) close() {
	p.stop()
	p.call.close()
	p.pc.Close()
}
