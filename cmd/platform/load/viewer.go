package load

import (
	"context"
	"errors"
	"time"

	"github.com/pion/webrtc/v4"
)

// watcher is a viewer of either make: a fullViewer or a leanViewer.
type watcher interface {
	count() *receipts
	close()
}

// fullViewer watches a channel with a pion PeerConnection, as an application
// would.
type fullViewer struct {
	*receipts
	*peer
}

// startFullViewer joins and returns when the first packet is there. It returns a
// viewer to close even with an error, when it got that far.
func startFullViewer(ctx context.Context, r *run, s *stage) (watcher, error) {
	v := &fullViewer{receipts: newReceipts()}
	pc, err := r.api.NewPeerConnection(webrtc.Configuration{Certificates: r.identity.webrtc})
	if err != nil {
		return nil, err
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { v.runTrack(track, r) })
	if v.peer, err = startPeer(ctx, r, s, "recvonly", pc); err != nil {
		return nil, err
	}
	select {
	case <-v.up:
	case <-ctx.Done():
		return v, errors.New("media did not connect in time")
	}
	return v, r.awaitFirst(ctx, v.receipts)
}

// awaitFirst waits for a viewer's first packet; without a publisher none comes,
// and to be connected is all there is.
func (r *run) awaitFirst(ctx context.Context, v *receipts) error {
	if r.Publishers == 0 {
		v.join()
	}
	select {
	case <-v.first:
		return nil
	case <-ctx.Done():
		return errors.New("no packet came in time")
	}
}

// runTrack reads one track until it ends. Where there are lean viewers, these
// tell the delays: what a full one takes to wake up is no part of them.
func (v *fullViewer) runTrack(track *webrtc.TrackRemote, r *run) {
	buffer := make([]byte, 1600)
	for {
		n, _, err := track.Read(buffer)
		if err != nil {
			return
		}
		now := time.Since(r.epoch)
		if s, ok := readStamp(buffer[:n]); ok {
			v.got(s.publisher, s.number)
			if r.poller == nil {
				v.delayed(now - s.sent)
			}
		}
	}
}

func (v *fullViewer) count() *receipts { return v.receipts }
