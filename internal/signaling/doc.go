// Package signaling is the door through which clients come in: WebSocket
// signalling in the dialects of WebRTC SFU Sora, today's and that of 2015, on
// one URL.
//
// One connect, in reading order:
//
//	Signaling   upgrades the request and runs a session
//	session     reads `connect` and recognises its dialect
//	Door.enter  the policy: token, draining, licence place, media; the only
//	            way in, for every dialect
//	call.run    tells the ledger when media is up and when it all ended,
//	            until the ledger has taken it
//	session     offer, answer, candidates, re-offers, notifications, pings
//	socket      closes with a code and a reason that help a developer
//
// Goroutines, their owners and ends:
//
//	the handler's own   session.run   until the socket or the connection ends
//	socket.runReader    session       until the socket is closed
//	socket.runPings     session       2015 dialect only; until the socket is closed
//	call.run            Door          until the ledger has taken the connection's
//	                                  end, or Wait gave up
//
// A connection never outlives its socket, and a ledger place never outlives
// its connection: the goroutine that frees the place is started by the
// function that took it.
package signaling
