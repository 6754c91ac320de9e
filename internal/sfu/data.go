package sfu

import (
	"bytes"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	ratelimit "golang.org/x/time/rate"

	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// DataChannel is a data channel that a connection is given. A label that begins
// with "#" is for messages between the clients of a channel (messaging.go); any
// other is the door's, with SendData and SignalData.
type DataChannel = tenant.DataChannel

var (
	// ErrNoDataChannel: the connection has no data channel of that label.
	ErrNoDataChannel = errors.New("no such data channel")
	// ErrTooManyChannels: a Join asked for more data channels than there may be.
	ErrTooManyChannels = errors.New("too many data channels")
	// ErrDataFull: so much waits for the client that no more is taken.
	ErrDataFull = transport.ErrDataFull
	// ErrMessageTooLarge: the message is larger than the client said it takes.
	ErrMessageTooLarge = transport.ErrMessageTooLarge
)

const (
	// messagingRoom is how many bytes may wait for a client for another message of
	// the other clients to be sent to it.
	messagingRoom = 1 << 20
	// signallingRoom is the same for what its door sends: more, so that messages of
	// the others never crowd that out.
	signallingRoom = 3 << 20
	// inflatedMost is how long a message on a label of the door may become, in
	// bytes: as long as one on a WebSocket.
	inflatedMost = 1 << 20
	// burst is how much of its rate a client may use up at once.
	burst = 2 // seconds
)

// The defaults of Config.
const (
	// DefaultMessageRate is how many messages a second a client may send.
	DefaultMessageRate = 1000
	// DefaultMessageBytes is how many bytes a second these may have.
	DefaultMessageBytes = 4 << 20
)

// data is the data channels of a connection. It is also their handler: those
// methods run in the transport's data goroutine, where messages are decompressed,
// compressed and sent on, so that the channel's worker has nothing to do with them.
type data struct {
	// Static
	conn     *Connection
	channels []DataChannel

	in, out atomic.Int64 // bytes of messages

	// Owned by the data goroutine
	messages *ratelimit.Limiter
	bytes    *ratelimit.Limiter
	broken   bool // it was told off
}

func newData(c *Connection, channels []DataChannel) *data {
	if len(channels) == 0 {
		return nil
	}
	cfg := &c.sfu.cfg
	return &data{
		conn: c, channels: channels,
		messages: ratelimit.NewLimiter(ratelimit.Limit(cfg.MessageRate), burst*cfg.MessageRate),
		bytes:    ratelimit.NewLimiter(ratelimit.Limit(cfg.MessageBytes), burst*cfg.MessageBytes),
	}
}

// received is how many bytes of messages came from the client.
func (d *data) received() int64 {
	if d == nil {
		return 0
	}
	return d.in.Load()
}

// sent is how many bytes of messages went to the client.
func (d *data) sent() int64 {
	if d == nil {
		return 0
	}
	return d.out.Load()
}

// messaging reports whether a label is for messages between clients.
func messaging(label string) bool { return strings.HasPrefix(label, "#") }

// carry has the transport open the channels as soon as it is up.
func (d *data) carry(most int) {
	list := make([]transport.DataChannel, len(d.channels))
	for i, c := range d.channels {
		list[i] = transport.DataChannel{
			Label: c.Label, Protocol: c.Protocol, Unordered: c.Unordered,
			MaxPacketLifeTime: c.MaxPacketLifeTime, MaxRetransmits: c.MaxRetransmits,
			Buffer: signallingRoom,
		}
		if messaging(c.Label) || c.Expendable {
			list[i].Buffer = messagingRoom
		}
	}
	d.conn.peer.CarryData(list, most, d)
}

// find is the index of a label; -1: there is none.
func (d *data) find(label string) int {
	if d != nil {
		for i := range d.channels {
			if d.channels[i].Label == label {
				return i
			}
		}
	}
	return -1
}

// SendData sends the client a message on a data channel whose label is the
// door's. On a channel with Compress it is compressed here, and then always
// binary. It does not wait; the error is ErrNoDataChannel, ErrDataFull,
// ErrMessageTooLarge or that of a channel that is not open, and then nothing was sent. Data of a connection that has
// ended goes out as long as its transport is there.
func (c *Connection) SendData(label string, data []byte, binary bool) error {
	i := c.data.find(label)
	if i < 0 {
		return ErrNoDataChannel
	}
	if c.data.channels[i].Compress {
		data, binary = Deflate(data), true
	}
	return c.data.say(i, data, binary)
}

// SendDeflated is SendData of a message that Deflate made, on a channel with
// Compress: for what many are told.
func (c *Connection) SendDeflated(label string, deflated []byte) error {
	i := c.data.find(label)
	if i < 0 || !c.data.channels[i].Compress {
		return ErrNoDataChannel
	}
	return c.data.say(i, deflated, true)
}

// say sends what the door says.
func (d *data) say(channel int, message []byte, binary bool) error {
	err := d.send(channel, message, binary)
	switch {
	case !errors.Is(err, transport.ErrDataFull):
	case d.channels[channel].Expendable:
		d.conn.sfu.counters.dropData(dataReceiverFull, 1)
	default:
		d.conn.sfu.counters.dropData(dataSignallingFull, 1)
	}
	return err
}

func (d *data) send(channel int, message []byte, binary bool) error {
	err := d.conn.peer.Send(channel, message, binary)
	if err == nil {
		d.out.Add(int64(len(message)))
	}
	return err
}

// DataOpen is told when the client has acknowledged all channels. The door learns
// it before anything that follows from it.
func (d *data) DataOpen(*transport.Peer) {
	d.signal(Signal{Kind: SignalDataOpen})
	d.post(func(w *worker) {
		w.listen(d.conn.member)
		w.dataOpened(d.conn.member)
	})
}

// DataLeft is told when the client has been taken leave of.
func (d *data) DataLeft(*transport.Peer) { d.conn.leave() }

// post leaves a call for the channel's worker.
func (d *data) post(call func(*worker)) {
	if ch := d.conn.home(); ch != nil {
		ch.post(call)
	}
}

// DataMessage takes a message of the client.
func (d *data) DataMessage(_ *transport.Peer, channel int, message []byte, binary bool) {
	now := time.Now()
	d.in.Add(int64(len(message)))
	if d.broken {
		return
	}
	if !d.messages.AllowN(now, 1) || !d.bytes.AllowN(now, len(message)) {
		d.end(tenant.EndRateLimited)
		return
	}
	c := &d.channels[channel]
	if messaging(c.Label) {
		d.publish(c, message, binary)
		return
	}
	if c.Compress {
		plain, err := inflate(message, inflatedMost)
		if err != nil {
			d.conn.sfu.counters.dropData(dataBadCompression, 1)
			return
		}
		message = plain
	} else {
		message = bytes.Clone(message)
	}
	d.signal(Signal{Kind: SignalData, Label: c.Label, Data: message, Binary: binary})
}

// DataClosed is told when the client has closed a channel, or its association has
// ended.
func (d *data) DataClosed(_ *transport.Peer, channel int, reason error) {
	switch {
	case errors.Is(reason, transport.ErrDataAbuse):
		d.end(tenant.EndProtocol)
	case channel < 0:
		d.signal(Signal{Kind: SignalDataClosed})
		d.post(func(w *worker) { w.dataOpened(d.conn.member) })
	default:
		d.signal(Signal{Kind: SignalDataClosed, Label: d.channels[channel].Label})
	}
}

// signal tells the door; one that does not listen loses its connection.
func (d *data) signal(s Signal) {
	if !d.conn.signal(s) {
		d.end(tenant.EndProtocol)
	}
}

// end ends the connection of a client that goes too far.
func (d *data) end(reason string) {
	if !d.broken {
		d.broken = true
		d.conn.Disconnect(reason)
	}
}
