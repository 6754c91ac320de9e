// Package sfu is the media plane: channels, the connections in them, and the
// packets between these. It knows no HTTP and no SQL; a door (package signaling)
// admits a client, calls [SFU.Join], carries the SDP to and fro and acts on the
// connection's [Signal]s.
//
// # One packet
//
//	wire        recvmmsg: a batch of datagrams
//	transport   whose is it? SRTP → member.Datagrams
//	channel     deliver: into the inbox, one wake per batch       (full: dropped, counted)
//	─────────── from here on the channel's worker, alone ───────────
//	arrival     Unprotect in place, parse, payload type → track, layer and codec
//	packet      History keeps one copy for everybody; Gaps notes what is missing
//	codec       does a key frame begin here?
//	fanout      frame whole, or held for 2 ms: on its way, a stretch of some 128
//	            packets at a time, audio before video; between two stretches the
//	            worker takes what has come and lets other channels run
//	forward     for each viewer, for each packet:
//	              renumber, header, SealRTP from the shared copy into the batch
//	wire        sendmmsg: a viewer's packets of a frame leave as one train
//
// Budgets, per packet of 1,000 bytes in trains of eight, on the core of
// docs/performance.md; functions on the way name theirs, and each leaf has a
// benchmark:
//
//	once for all viewers   4 µs: 1 to read it, 0.4 to decrypt, 0.6 to look at it
//	                       and keep it, the rest to be woken (less under load)
//	for each viewer        1.8 µs: 0.05 forward, 0.4 seal, 0.7 the kernel's half,
//	                       0.6 the receiving half, which only loopback charges us
//
// Nothing on this path locks (but for the inbox, once per batch), allocates or
// starts a timer. Every drop has a [DropReason]. Retransmissions are sealed from
// the same History. What a frame has not reached in time goes without it
// (overload.go).
//
// # Several layers
//
// With simulcast a publisher's track comes in up to three layers, each with its
// own source and history. A view gets one of them under one SSRC:
//
//	wish        what the client asked for: at most a layer, none, or the best
//	allotment   what the way to it carries
//	turn        to another layer, at that one's next key frame
//	forward     numbers, timestamps and picture IDs go on (packet.Renumber,
//	            mediaClock, codec.Pictures)
//
// A track of one layer costs what it would without all that. A layer that nobody
// gets is not kept, and nothing is asked of it.
//
// # Who is shown whom
//
//	filter      what a receiver wants to be shown at all: no section for the rest
//	bundle      nothing of its own user's other connections, nor news of them
//	spotlight   who speaks: a machine that knows no clock, fed with the level of each
//	            packet of a voice (arrival), asked ten times a second
//	focus       what follows from it: whose voice is sent, which layer is wished for
//
// # One connection
//
//	Join → first offer → Answer → transport up → SignalConnected, notifications
//	     → re-offers, one at a time (negotiate.go) → … → SignalEnded, Done
//	or   → the client's offer, answered once (answerer.go) → transport up → …
//
// # Goroutines
//
//	goroutine             owner           owns                          ends when
//	worker.run            channel         everything inside a channel   the last connection left; a panic;
//	                                                                    the watchdog gave the channel up
//	crew.run              SFU             nothing; is lent a stretch    SFU.Close
//	                                      of a frame by a worker, who
//	                                      waits for it
//	SFU.runWatchdog       SFU             nothing                       SFU.Close
//	reader, sweeper, …    transport       the port                      Endpoint.Close
//	a peer's data         transport       its association: it calls     the association, or Peer.Close
//	                                      the methods of data
//
// Outsiders post calls to a worker and never wait for it, except Join and
// Answer, which wait for their reply or the end of the channel. Workers wait for
// nobody: signals to doors are buffered, and a door that does not read loses its
// connection.
//
// Messages between clients go from the sender's data goroutine straight to the
// receivers' associations (messaging.go); the worker only says who receives.
//
// # Who closes what
//
// A worker ends a connection (remove → Connection.finish): the transport says
// goodbye, SignalEnded is sent, Signals and Done are closed. If the worker died,
// channel.shut does the same for all connections from outside. The channel ends
// itself when empty; a Join that comes at that moment takes a new one. The media
// port belongs to whoever made it and is closed after [SFU.Close].
package sfu
