// Package stats keeps what is known of connections' media over time: samples of the
// media plane's counters, taken each 10 s from every connection of this node and kept
// for 24 h, and the newest report that a client made of itself.
//
//	sfu.Reading ──► Sample ──► backlog ──► connection_sample   (one statement for a fifth of the node's connections, each 2 s)
//	client's report ──► Client, in the next Sample
//	                └─► client_report                          (the newest of each connection, as it came)
//
// Counts in a Sample are totals since the connection's media was up, as in W3C's
// webrtc-stats, so that a sample that is missing costs resolution and no count; an
// Interval is the difference of two.
package stats
