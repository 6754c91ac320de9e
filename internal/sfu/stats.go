package sfu

import "sync/atomic"

// Stats counts what an SFU has done since its start.
type Stats struct {
	Channels    int                  // now
	Connections int                  // now
	PacketsIn   int64                // RTP packets taken from publishers
	Forwarded   int64                // RTP packets sealed for viewers, resends included
	Resent      int64                // of these, answers to NACKs
	KeyRequests int64                // key frames asked of publishers
	Trains      int64                // messages handed to the kernel; Forwarded/Trains is the mean train length
	FramesShed  int64                // video frames dropped for the viewers that they had not reached in time
	Changes     int64                // changes of metadata refused because they were too many
	Pushes      int64                // pushes of tenants' servers refused because they were too many
	PushDrops   int64                // pushes not sent to a client that has left too much unread
	KeyAsks     int64                // key frames that tenants' servers asked for and that were refused because they were too many
	Panics      int64                // channels ended by a panic
	Stalls      int64                // channels ended by the watchdog
	DataDrops   map[DropReason]int64 // messages of data channels not sent on, by reason
	Drops       map[DropReason]int64 // packets dropped, by reason; every reason is there
}

// DropReason names why a packet was dropped.
type DropReason string

// drop is a DropReason as an index.
type drop uint8

const (
	dropInboxFull drop = iota
	dropUnprotect
	dropMalformed
	dropNotAnswered
	dropPadding
	dropDuplicate
	dropAwaitingKeyFrame
	dropCodecRefused
	dropBeforeStart
	dropSeal
	dropSocketFull
	dropRefused
	dropExpired
	dropOverload
	dropRepairCredit
	dropUnknownLayer
	dropUnwatched
	dropCount
)

var dropNames = [dropCount]DropReason{
	dropInboxFull:        "inbox_full",         // the channel's worker did not keep up
	dropUnprotect:        "unprotect_failed",   // forged, repeated, or before the keys
	dropMalformed:        "malformed",          // no RTP or RTCP
	dropNotAnswered:      "not_answered",       // the publisher's answer does not send this
	dropPadding:          "padding",            // a bandwidth probe without media
	dropDuplicate:        "duplicate",          // here already, or too old
	dropAwaitingKeyFrame: "awaiting_key_frame", // a viewer cannot start in mid-picture
	dropCodecRefused:     "codec_refused",      // the viewer's answer does not list the codec
	dropBeforeStart:      "before_start",       // late, from before the viewer's first packet; or it has been sent it already
	dropSeal:             "seal_failed",        // too large, or the transport closed
	dropSocketFull:       "socket_full",        // the kernel's send buffer was full
	dropRefused:          "refused",            // the kernel refused to send it
	dropExpired:          "expired",            // asked for again, but no longer kept
	dropOverload:         "overload",           // video that could not be sent in time
	dropRepairCredit:     "repair_credit",      // asked for again by a viewer that asks for too much
	dropUnknownLayer:     "unknown_layer",      // of no simulcast layer that was agreed on
	dropUnwatched:        "unwatched",          // of a simulcast layer that nobody gets
}

// dataDrop is the DropReason of a message as an index.
type dataDrop uint8

const (
	dataDirection dataDrop = iota
	dataBadCompression
	dataReceiverFull
	dataReceiverGone
	dataSignallingFull
	dataTooLarge
	dataDropCount
)

var dataDropNames = [dataDropCount]DropReason{
	dataDirection:      "direction",       // sent on a channel that the client may only receive on
	dataBadCompression: "bad_compression", // not zlib, or too long without
	dataReceiverFull:   "receiver_full",   // too much waits for the receiver
	dataReceiverGone:   "receiver_gone",   // it is leaving, or has closed the channel
	dataSignallingFull: "signalling_full", // too much waits for the client to be sent signalling
	dataTooLarge:       "too_large",       // longer than the receiver takes
}

// counters are the SFU's; workers add to them once a round.
type counters struct {
	packetsIn, forwarded, resent atomic.Int64
	keyRequests, trains          atomic.Int64
	framesShed                   atomic.Int64
	changesRefused               atomic.Int64
	pushesRefused, pushesDropped atomic.Int64
	keyAsksRefused               atomic.Int64
	panics, stalls               atomic.Int64
	drops                        [dropCount]atomic.Int64
	dataDrops                    [dataDropCount]atomic.Int64
}

func (c *counters) dropData(reason dataDrop, n int64) { c.dataDrops[reason].Add(n) }

func (c *counters) drop(reason drop, n int64) { c.drops[reason].Add(n) }

// tally is one worker's counts since they were last added to the counters.
type tally struct {
	packetsIn, forwarded, resent int64
	keyRequests, trains          int64
	drops                        [dropCount]int64
}

// flush adds the tally to c and clears it.
func (t *tally) flush(c *counters) {
	add := func(to *atomic.Int64, n int64) {
		if n != 0 {
			to.Add(n)
		}
	}
	add(&c.packetsIn, t.packetsIn)
	add(&c.forwarded, t.forwarded)
	add(&c.resent, t.resent)
	add(&c.keyRequests, t.keyRequests)
	add(&c.trains, t.trains)
	for i := range t.drops {
		add(&c.drops[i], t.drops[i])
	}
	*t = tally{}
}

// Stats is a snapshot of the counters.
func (s *SFU) Stats() Stats {
	s.mu.Lock()
	channels, connections := len(s.channels), len(s.conns)
	s.mu.Unlock()
	c := s.counters
	stats := Stats{
		Channels:    channels,
		Connections: connections,
		PacketsIn:   c.packetsIn.Load(),
		Forwarded:   c.forwarded.Load(),
		Resent:      c.resent.Load(),
		KeyRequests: c.keyRequests.Load(),
		Trains:      c.trains.Load(),
		FramesShed:  c.framesShed.Load(),
		Changes:     c.changesRefused.Load(),
		Pushes:      c.pushesRefused.Load(),
		PushDrops:   c.pushesDropped.Load(),
		KeyAsks:     c.keyAsksRefused.Load(),
		Panics:      c.panics.Load(),
		Stalls:      c.stalls.Load(),
		DataDrops:   make(map[DropReason]int64, dataDropCount),
		Drops:       make(map[DropReason]int64, dropCount),
	}
	for i, name := range dataDropNames {
		stats.DataDrops[name] = c.dataDrops[i].Load()
	}
	for i, name := range dropNames {
		stats.Drops[name] = c.drops[i].Load()
	}
	return stats
}
