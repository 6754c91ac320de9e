// Package signaling is the door through which clients come in: signalling in the
// dialects of WebRTC SFU Sora, today's and that of 2015, on one URL, over a
// WebSocket and, in today's dialect, over DataChannels; and that of Ayame for
// peer-to-peer calls on another URL. WHIP and WHEP clients come in by HTTP.
//
// One connect, in reading order:
//
//	Signaling   upgrades the request and runs a session
//	session     reads `connect` and recognises its dialect
//	whip        or it is one POST, with the client's offer
//	Door.enter  the policy: token, auth webhook, licence place, media; the only
//	            way in, for every dialect. Who comes to a channel of another node
//	            is sent there (redirect)
//	venue       where it leads: a channel of the media plane, or a room of two
//	call        tells the ledger when media is up and when it all ended,
//	            until the ledger has taken it
//	session     offer, answer, candidates, re-offers, pings, the end
//	tell        what the media plane has to say, in the client's words
//	packing     these words as a frame, or for a DataChannel
//	channels    `switched`, and signalling over DataChannels from then on
//	rpc         calls of a client over its DataChannel, and what it can call
//	            (procedures)
//	carrier     frames, several with one system call
//	socket      closes with a code and a reason that help a developer
//
// Goroutines, their owners and ends:
//
//	the handler's own   session.setUp  until the client has its offer, or none
//	session.run         session        until the connection ends, or the socket if
//	                                   the client needs it
//	wishSession.run     wishSession    until the connection ends
//	caller.run          caller         until the socket or the call of an Ayame client ends
//	socket.runReader    session        until the socket is closed
//	call.runTold        call           until the ledger knows that media is up, or the
//	                                   connection ends
//	call.settle         sfu, peer      from the connection's end until the ledger has
//	                                   taken it, or Wait gave up
//	call.runAbandoned   Door           likewise, of a call that came to no life
//
// So a client that just watches costs two goroutines, both waiting; one that has
// left its WebSocket costs one, beside what the media plane keeps for DataChannels.
//
// A connection outlives its socket only if the client was told so (`switched` with
// ignore_disconnect_websocket): then the media transport says whether it is there.
// A ledger place never outlives its connection: the function that took the place
// has the one that frees it follow the connection's end.
//
// A client is told of its end once, by the path it listens to: the WebSocket's
// close frame for as long as it keeps the WebSocket, else `close` on a DataChannel;
// one that said disconnect on a DataChannel waits for its channels to close. A
// channel that closes before any of these is an end of its own to a client, so the
// transport stays until the last word has arrived (sfu.Connection.HangUp).
package signaling
