// Package signaling is the door through which clients come in: WebSocket
// signalling in the dialects of WebRTC SFU Sora, today's and that of 2015, on
// one URL, and that of Ayame for peer-to-peer calls on another.
//
// One connect, in reading order:
//
//	Signaling   upgrades the request and runs a session
//	session     reads `connect` and recognises its dialect
//	Door.enter  the policy: token, draining, licence place, media; the only
//	            way in, for every dialect. Who comes to a channel of another node
//	            is sent there (redirect)
//	venue       where it leads: a channel of the media plane, or a room of two
//	call        tells the ledger when media is up and when it all ended,
//	            until the ledger has taken it
//	session     offer, answer, candidates, re-offers, notifications, pings
//	carrier     frames, several with one system call
//	socket      closes with a code and a reason that help a developer
//
// Goroutines, their owners and ends:
//
//	the handler's own   session.setUp  until the client has its offer, or none
//	session.run         session        until the socket or the connection ends
//	caller.run          caller         the same of an Ayame client
//	socket.runReader    session        until the socket is closed
//	call.runTold        call           until the ledger knows that media is up, or the
//	                                   connection ends
//	call.settle         sfu, peer      from the connection's end until the ledger has
//	                                   taken it, or Wait gave up
//	call.runAbandoned   Door           likewise, of a call that came to no life
//
// So a client that just watches costs two goroutines, both waiting.
//
// A connection never outlives its socket, and a ledger place never outlives
// its connection: the function that took the place has the one that frees it
// follow the connection's end.
package signaling
