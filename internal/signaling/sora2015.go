package signaling

import "github.com/hibari/hibari/internal/sfu"

// dialect2015 is Sora's signalling of 2015: connect, offer, answer, candidate,
// and nothing else unless a client asked for multistream. Its clients have no
// word for anything new, so they are told nothing new.
type dialect2015 struct{}

// offer2015 is the offer of 2015; clientId is our connection_id.
type offer2015 struct {
	Type     string `json:"type"`
	SDP      string `json:"sdp"`
	ClientID string `json:"clientId"`
}

// update2015 is a re-offer, answered by an update in turn.
type update2015 struct {
	Type string `json:"type"`
	SDP  string `json:"sdp"`
}

func (dialect2015) protocol() string { return "sora2015" }

// Its clients know no ping message, but any WebSocket library answers the
// protocol's own.
func (dialect2015) framed() bool { return true }

func (dialect2015) ping(bool) []byte { return bare }

// bare is a ping frame that carries nothing.
var bare = makeFrame(finalPing, "")

func (dialect2015) offer(c *call, _ string) any {
	sdp, _, _ := c.connection.Offer()
	return offer2015{typeOffer, sdp, c.id}
}

func (dialect2015) message(_ string, s sfu.Signal) any {
	if s.Kind == sfu.SignalReoffer {
		return update2015{typeUpdate, s.SDP}
	}
	return nil
}
