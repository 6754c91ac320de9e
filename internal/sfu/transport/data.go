package transport

import (
	"errors"
	"time"
)

// What data channels cost at most, and why a peer's data ends.
var (
	// ErrNoData: the peer carries no data, or none any more.
	ErrNoData = errors.New("peer carries no data")
	// ErrNotOpen: the client has not acknowledged the data channel, or has
	// closed it.
	ErrNotOpen = errors.New("data channel is not open")
	// ErrDataFull: so much waits for the client already that the message would
	// go beyond the channel's limit.
	ErrDataFull = errors.New("client does not take its data fast enough")
	// ErrMessageTooLarge: the message is larger than the receiver of it takes.
	ErrMessageTooLarge = errors.New("data message is too large")
	// ErrDataAbuse: the client opened data channels over and over, or sent into
	// streams before they were open.
	ErrDataAbuse = errors.New("client abuses its SCTP association")
	// ErrDataClosed: the client ended its SCTP association.
	ErrDataClosed = errors.New("client ended its SCTP association")
)

const (
	// SCTPPort is the value of the SDP attribute sctp-port (RFC 8841 §5).
	SCTPPort = 5000
	// MaxDataMessage is the longest message a client may send, in bytes: the
	// value of the SDP attribute max-message-size (RFC 8841 §6).
	MaxDataMessage = 256 << 10
	// MaxDataChannels is how many data channels a peer has at most.
	MaxDataChannels = 64

	// dataWindow is how much a client may have sent that nobody has read, in
	// bytes: two of the longest messages.
	dataWindow = 2 * MaxDataMessage
	// dataFragments bounds the pieces of messages, or messages, that wait in one
	// stream for others to arrive.
	dataFragments = 2048
	// maxStrays is how many data channels a client may try to open by itself;
	// each is refused.
	maxStrays = 16
	// dataFarewell is how long a peer that is closed may take to deliver what was
	// sent and to close its channels in order. SCTP repeats what was lost after a
	// second.
	dataFarewell = 2 * time.Second
	// drainLook is how often a peer that takes leave looks whether all was
	// delivered.
	drainLook = 10 * time.Millisecond
)

// DataChannel is a data channel that we open, in-band (RFC 8832).
type DataChannel struct {
	Label, Protocol string // at most 65,535 bytes each
	Unordered       bool
	// At most one of these is set; without, messages arrive for sure.
	MaxPacketLifeTime *uint16 // ms
	MaxRetransmits    *uint16
	// Buffer is how many bytes may wait for the client, over all its channels,
	// for Send to take one more on this channel.
	Buffer int
}

// DataHandler is told what happens to the data channels of a peer. Its methods
// are called from the peer's one data goroutine, in order, without a lock held.
// While they run nothing else is read from the client, whose sending slows down
// then. They may call Peer.Close and Peer.Send. None but the last is begun after Peer.Close.
type DataHandler interface {
	// DataOpen says that the client has acknowledged every channel.
	DataOpen(p *Peer)
	// DataMessage hands over a message, which is valid during the call.
	DataMessage(p *Peer, channel int, message []byte, binary bool)
	// DataClosed says that the client has closed a channel, or that the whole
	// association is lost, which ErrDataClosed or ErrDataAbuse says in reason.
	// Then channel is -1; the peer lives on without data.
	DataClosed(p *Peer, channel int, reason error)
	// DataLeft says that after Peer.Close the client has closed every channel in
	// turn, or taken too long. It comes from a goroutine of its own.
	DataLeft(p *Peer)
}

// CarryData has the peer carry an SCTP association over its DTLS connection, and
// open these channels, which are then known by their index, as soon as that is
// up. It must be called before SetRemote, on a peer of NewDataPeer. most is the
// longest message that the client takes, in bytes; 0 is any.
func (p *Peer) CarryData(channels []DataChannel, most int, h DataHandler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.phase == waiting && p.remote.Load() == nil {
		p.data.Store(newAssociation(p, channels, most, h))
	}
}

// Send sends a message on a data channel. It does not wait: the error is ErrNoData,
// ErrNotOpen, ErrMessageTooLarge or ErrDataFull, and then nothing was sent. The
// message is the caller's again when Send returns.
func (p *Peer) Send(channel int, message []byte, binary bool) error {
	a := p.data.Load()
	if a == nil || p.left.Load() {
		return ErrNoData
	}
	return a.send(channel, message, binary)
}
