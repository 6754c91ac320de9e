package sfutest

import (
	"fmt"

	"github.com/pion/webrtc/v4"

	"github.com/hibari/hibari/internal/sfu"
)

// Offer makes the client's own offer, with all its candidates: for servers that
// answer (WHIP, WHEP). One that publishes nothing asks for audio and video. restart
// asks for a new ICE session.
func (c *Client) Offer(restart bool) (string, error) {
	if c.publisher == nil && len(c.peer.GetTransceivers()) == 0 {
		for _, k := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
			_, err := c.peer.AddTransceiverFromKind(k, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
			if err != nil {
				return "", fmt.Errorf("couldn't ask for %s: %w", k, err)
			}
		}
	}
	offer, err := c.peer.CreateOffer(&webrtc.OfferOptions{ICERestart: restart})
	if err != nil {
		return "", fmt.Errorf("couldn't offer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(c.peer)
	if err := c.peer.SetLocalDescription(offer); err != nil {
		return "", fmt.Errorf("couldn't take the own offer: %w", err)
	}
	<-gathered
	return c.peer.LocalDescription().SDP, nil
}

// Take takes the answer to the client's offer.
func (c *Client) Take(answer string) error {
	err := c.peer.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer})
	if err != nil {
		return fmt.Errorf("couldn't take the answer: %w", err)
	}
	return nil
}

// AttachOffered hands the client the answer to its offer, with which the connection
// was made, and keeps what the connection's door is told. Otherwise it is Attach.
func AttachOffered(conn *sfu.Connection, c *Client) (*Session, error) {
	if err := c.Take(conn.TakeAnswer()); err != nil {
		return nil, err
	}
	s := &Session{Client: c, Connection: conn, done: make(chan struct{})}
	s.start()
	return s, nil
}
