package transport

import (
	"sync/atomic"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// DropReason names why a datagram was dropped. It doubles as a metric label.
type DropReason string

// The drop reasons.
const (
	DropTruncated   DropReason = "truncated"        // longer than a receive buffer
	DropUnknownKind DropReason = "unknown_kind"     // neither STUN, DTLS nor SRTP by its first byte
	DropNoPeer      DropReason = "no_peer"          // media or DTLS from an address no peer has proved
	DropBadSTUN     DropReason = "bad_stun"         // not a well-formed binding request
	DropUnknownUser DropReason = "unknown_ufrag"    // check for a peer that is not here
	DropBadPassword DropReason = "bad_password"     // check with a wrong MESSAGE-INTEGRITY
	DropAddrTaken   DropReason = "address_taken"    // check from the address of another peer
	DropDTLSFull    DropReason = "dtls_full"        // handshake queue of a peer was full
	DropUnverified  DropReason = "unverified"       // SRTP that does not decrypt, or a replay; DTLS in the clear after the handshake
	DropSendFull    DropReason = "send_full"        // socket had no room
	DropNoBuffers   DropReason = "send_no_buffers"  // kernel had no memory or its queue no room
	DropTooBig      DropReason = "send_too_big"     // longer than the path takes
	DropUnreachable DropReason = "send_unreachable" // no way to the peer
	DropForbidden   DropReason = "send_forbidden"   // a firewall of this machine forbade it
	DropSendRefused DropReason = "send_refused"     // kernel refused to send for another reason
)

// reasons lists them all; the index is the counter's.
var reasons = [...]DropReason{
	DropTruncated, DropUnknownKind, DropNoPeer, DropBadSTUN, DropUnknownUser,
	DropBadPassword, DropAddrTaken, DropDTLSFull, DropUnverified, DropSendFull,
	DropNoBuffers, DropTooBig, DropUnreachable, DropForbidden, DropSendRefused,
}

const (
	truncated = iota
	unknownKind
	noPeer
	badSTUN
	unknownUser
	badPassword
	addressTaken
	dtlsFull
	unverified
	sendFull
	sendNoBuffers
	sendTooBig
	sendUnreachable
	sendForbidden
	sendRefused
)

// Stats counts datagrams since the start of an endpoint.
type Stats struct {
	PacketsIn, BytesIn   int64             // everything received
	PacketsOut, BytesOut int64             // media sent through batches
	Messages, Calls      int64             // kernel messages (trains and single packets) and system calls it took
	Trains               int64             // of the messages, those of two packets or more
	TrainsRefused        int64             // trains the kernel refused, sent packet by packet
	TrainsRegained       int64             // routes that refused trains and took one again
	Single               int64             // peers whose route refuses trains now
	Checks               int64             // valid ICE checks answered
	Handshakes           map[Profile]int64 // DTLS handshakes that succeeded, by what they agreed on
	Certificates         int64             // DTLS certificates made, the first included
	Peers                int64             // peers open now, those included that take leave in order
	Attending            int64             // goroutines of peers: handshakes and DTLS connections not put away
	MessagesIn           int64             // data messages from clients, and their bytes
	MessageBytesIn       int64
	MessagesOut          int64 // data messages to clients, and their bytes
	MessageBytesOut      int64
	StrayChannels        int64 // data channels that clients tried to open
	Drops                map[DropReason]int64
}

// counters are updated by the reader and by every worker's flush.
type counters struct {
	packetsIn, bytesIn   atomic.Int64
	packetsOut, bytesOut atomic.Int64
	messages, calls      atomic.Int64
	trains               atomic.Int64
	trainsRefused        atomic.Int64
	trainsRegained       atomic.Int64
	checks               atomic.Int64
	strays               atomic.Int64
	messagesIn           atomic.Int64
	messageBytesIn       atomic.Int64
	messagesOut          atomic.Int64
	messageBytesOut      atomic.Int64
	handshakes           [len(profiles)]atomic.Int64
	drops                [len(reasons)]atomic.Int64
}

func (c *counters) drop(reason int) { c.drops[reason].Add(1) }

func (c *counters) sent(s wire.Stats) {
	c.packetsOut.Add(int64(s.Packets))
	c.bytesOut.Add(int64(s.Bytes))
	c.messages.Add(int64(s.Messages))
	c.calls.Add(int64(s.Calls))
	c.trains.Add(int64(s.Trains))
	if s.TrainsRefused+s.TrainsRegained > 0 {
		c.trainsRefused.Add(int64(s.TrainsRefused))
		c.trainsRegained.Add(int64(s.TrainsRegained))
	}
	if s.Dropped() > 0 {
		c.drops[sendFull].Add(int64(s.Full))
		c.drops[sendNoBuffers].Add(int64(s.NoBuffers))
		c.drops[sendTooBig].Add(int64(s.TooBig))
		c.drops[sendUnreachable].Add(int64(s.Unreachable))
		c.drops[sendForbidden].Add(int64(s.Forbidden))
		c.drops[sendRefused].Add(int64(s.Refused))
	}
}

// Stats is a snapshot of the endpoint's counters.
func (e *Endpoint) Stats() Stats {
	c := &e.stats
	e.mu.Lock()
	active := e.active
	e.mu.Unlock()
	s := Stats{
		PacketsIn: c.packetsIn.Load(), BytesIn: c.bytesIn.Load(),
		PacketsOut: c.packetsOut.Load(), BytesOut: c.bytesOut.Load(),
		Messages: c.messages.Load(), Calls: c.calls.Load(), Trains: c.trains.Load(),
		TrainsRefused: c.trainsRefused.Load(), TrainsRegained: c.trainsRegained.Load(), Single: e.routes.single(),
		Checks: c.checks.Load(), Handshakes: make(map[Profile]int64, len(profiles)), Certificates: e.identities.made(),
		Peers: int64(e.routes.count()), Attending: int64(active),
		MessagesIn: c.messagesIn.Load(), MessageBytesIn: c.messageBytesIn.Load(),
		MessagesOut: c.messagesOut.Load(), MessageBytesOut: c.messageBytesOut.Load(), StrayChannels: c.strays.Load(),
		Drops: make(map[DropReason]int64, len(reasons)),
	}
	for i, p := range profiles {
		s.Handshakes[p.name] = c.handshakes[i].Load()
	}
	for i, r := range reasons {
		s.Drops[r] = c.drops[i].Load()
	}
	return s
}
