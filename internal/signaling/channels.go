package signaling

import (
	"errors"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// Signalling over DataChannels. A client's offer lists the channels, the media
// plane opens them, and once all are open the client is told `switched` over its
// WebSocket. From then on everything goes over the channels but pings, which go
// on for as long as the WebSocket does: a client that asked to may close it.

// The labels of the channels for signalling. Labels for messages between clients
// begin with #.
const (
	labelSignaling = "signaling"
	labelNotify    = "notify"
	labelPush      = "push"
	labelStats     = "stats"
	labelRPC       = "rpc"
)

// changedOver tells a client that its DataChannels are in use.
type changedOver struct {
	Type                      string `json:"type"`
	IgnoreDisconnectWebSocket bool   `json:"ignore_disconnect_websocket"`
}

// closing is the server's goodbye on a DataChannel: what a WebSocket has a close
// frame for.
type closing struct {
	Type   string `json:"type"`
	Code   int    `json:"code"`
	Reason string `json:"reason"`
}

// typed is a message that says its type and nothing more.
type typed struct {
	Type string `json:"type"`
}

// byDefault decides what a client of today's dialect did not say.
func (d *Door) byDefault(c *Connect) {
	if c.DataChannelSignaling == nil {
		c.DataChannelSignaling = new(d.channels)
	}
}

// isTrue reports whether a switch is there and on.
func isTrue(b *bool) bool { return b != nil && *b }

// signalingChannels are the channels that signalling needs; rpc if the client
// may call anything.
func signalingChannels(compress, rpc bool) []sfu.DataChannel {
	labels := []string{labelSignaling, labelNotify, labelPush, labelStats}
	if rpc {
		labels = append(labels, labelRPC)
	}
	var list []sfu.DataChannel
	for _, label := range labels {
		list = append(list, sfu.DataChannel{Label: label, Direction: tenant.SendRecv, Compress: compress, Expendable: label == labelPush})
	}
	return list
}

// switchOver tells the client, behind the frames that wait, that its DataChannels
// are in use from now on.
func (s *session) switchOver(frames []byte) *farewell {
	s.opening, s.openDue = false, time.Time{}
	frames, err := s.packing.append(frames, changedOver{typeSwitched, s.call.leaves})
	if err != nil {
		return s.speechless(err)
	}
	s.switched, s.packing = true, s.door.dataPacking()
	return s.send(frames)
}

// receiveData does what a message on a DataChannel asks; not nil: that ends the
// session. It may come before the client was told `switched`.
func (s *session) receiveData(label string, data []byte) *farewell {
	switch label {
	case labelSignaling:
		m, err := ParseMessage(data, s.door.limits)
		if err != nil {
			return new(refused(err))
		}
		bye := s.receive(m)
		if bye != nil && m.Type == typeDisconnect {
			bye.byChannel = true
		}
		return bye
	case labelStats:
		if m, err := ParseMessage(data, s.door.limits); err == nil && m.Type == typeStats {
			s.reported(m)
		}
	case labelRPC:
		return s.answerCall(data)
	}
	return nil // or what nobody asked for
}

// channelClosed is the end of a session that needs a channel the client closed:
// SDKs, too, take that of any channel for signalling for the end.
func (s *session) channelClosed(label string) *farewell {
	if !s.switched || strings.HasPrefix(label, "#") {
		return nil
	}
	return &farewell{end: tenant.EndClient}
}

// sendSignal tells of a signal on the channel for its kind.
func (s *session) sendSignal(signal sfu.Signal) *farewell {
	label := labelSignaling
	switch signal.Kind {
	case sfu.SignalNotify:
		label = labelNotify
	case sfu.SignalPush:
		label = labelPush
	}
	buffer := buffers.Get().(*[]byte)
	packed, err := s.appendSignal((*buffer)[:0], signal)
	defer keep(buffer, packed)
	switch {
	case err != nil:
		return s.speechless(err)
	case len(packed) == 0:
		return nil
	}
	return s.sendData(label, packed)
}

// dataPacking is that of messages on DataChannels.
func (d *Door) dataPacking() packing {
	if d.compress {
		return compressed
	}
	return plain
}

// say sends a message on a channel, which may be open before the client was told
// `switched`.
func (s *session) say(label string, message any) *farewell {
	packed, err := s.door.dataPacking().append(nil, message)
	if err != nil {
		return s.speechless(err)
	}
	return s.sendData(label, packed)
}

// sendData sends a packed message; not nil: the client is gone.
func (s *session) sendData(label string, packed []byte) *farewell {
	c := s.call.connection
	var err error
	if s.door.compress {
		err = c.SendDeflated(label, packed)
	} else {
		err = c.SendData(label, packed, false)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sfu.ErrDataFull) && label == labelPush: // it does without
		return nil
	case errors.Is(err, sfu.ErrDataFull): // it left too much unread
		return new(ended(tenant.EndProtocol))
	case errors.Is(err, sfu.ErrMessageTooLarge):
		return s.speechless(err)
	}
	return &farewell{end: tenant.EndClient} // it has closed the channel, or gone
}

// socketLost is the end of a session that needs its WebSocket.
func (s *session) socketLost() *farewell {
	if !s.switched || !s.call.leaves {
		return &farewell{end: tenant.EndClient}
	}
	s.closeSocket(farewell{})
	s.pingDue = s.door.beat(s.statsAsked.Add(s.door.limits.Stats))
	return nil
}

// statsRequest is the question for statistics, in every packing.
var statsRequest sfu.Memo

// askStats asks the client for statistics on its channel.
func (s *session) askStats(now time.Time) *farewell {
	if s.call.noStats {
		return nil
	}
	s.statsAsked = now
	packed, err := statsRequest.Get(s.packing.name, func() ([]byte, error) {
		return s.packing.append(nil, typed{typeReqStats})
	})
	if err != nil {
		return s.speechless(err)
	}
	return s.sendData(labelStats, packed)
}

// sayGoodbye says on a channel how the connection ended, and gives the client
// time to go: should its channels be closed under it, it would take that for
// another end. After a failure there is nobody to wait for.
func (s *session) sayGoodbye(bye farewell) {
	if bye.code == 0 || s.say(labelSignaling, closing{typeClose, int(bye.code), bye.reason}) != nil {
		return
	}
	s.awaitLeft()
}

// awaitLeft waits until the client's transport is closed, for a while.
func (s *session) awaitLeft() {
	patience := time.NewTimer(s.door.limits.Farewell)
	defer patience.Stop()
	select {
	case <-s.call.connection.Left():
	case <-patience.C:
	}
}
