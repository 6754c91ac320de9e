package signaling

import (
	"context"
	"errors"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// venue is where clients meet that the policy has let in: the channels of the
// media plane, or rooms of two.
type venue interface {
	// reserve says whether there is room, before a licence place is taken. Every
	// error is a *tenant.Refusal.
	reserve(o tenant.Opening) error
	// release is for who reserved and got no licence place.
	release(connectionID string)
	// join lets the client in and sets the call's life.
	join(ctx context.Context, c *call, v visitor, opened tenant.Opened) error
}

// life is a client's presence where it has joined: *sfu.Connection or *peer.
type life interface {
	// AfterEnd has f called when it has ended, in a goroutine of its own.
	AfterEnd(f func())
	// Ending says how it ended; valid once it has.
	Ending() tenant.Ending
	// Disconnect ends it. It never blocks; the first reason counts.
	Disconnect(reason string)
}

// venue is where the visitor wants to go.
func (d *Door) venue(v visitor) venue {
	if v.Peer {
		return d.rooms
	}
	return channels{d.media}
}

// channels are those of the media plane.
type channels struct{ media Media }

// errOverloaded refuses a client because the node has all it can carry.
var errOverloaded = tenant.Refuse(tenant.Unavailable, "this node's media plane is at its limit; try again in a few seconds, or another node")

func (m channels) reserve(tenant.Opening) error {
	if m.media.Overloaded() {
		return errOverloaded
	}
	return nil
}

func (channels) release(string) {}

func (m channels) join(ctx context.Context, c *call, v visitor, opened tenant.Opened) (err error) {
	c.request = v.request(c.opening, opened)
	c.simulcast, c.encodings = v.Simulcast.On && v.Video.Enabled, v.encodings()
	c.noStats = v.NoStats
	if isTrue(v.DataChannelSignaling) {
		c.channels, c.leaves, c.methods = true, isTrue(v.IgnoreDisconnectWebSocket), v.RPCMethods
		c.rids = v.Simulcast.RPCRIDs
		c.request.DataChannels = append(signalingChannels(c.door.compress, len(c.methods) > 0), v.DataChannels...)
		c.request.Farewell = 2 * c.door.limits.Farewell // a close frame, and then the channels
	}
	c.connection, err = m.media.Join(ctx, c.request)
	c.request.Offer = nil
	if errors.Is(err, sfu.ErrUnusableOffer) || errors.Is(err, sfu.ErrBadOffer) { // what was granted leaves nothing of it
		return bad("%s", err)
	}
	if err != nil {
		return err
	}
	c.life = c.connection
	return nil
}
