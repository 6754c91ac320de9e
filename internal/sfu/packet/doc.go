// Package packet knows RTP and RTCP packets as bytes: it reads and writes headers
// (RFC 3550, RFC 8285), keeps what was published for a while ([History]), gives
// every viewer numbers of its own ([Renumber]), finds what is missing ([Gaps])
// and when what came came ([Arrivals]), and reads and writes feedback
// ([Compound]). It is a leaf: no sockets, no channels, no goroutines, and nothing
// in it allocates per packet.
//
// Sequence numbers are unwrapped once, where a packet arrives ([Unwrap]), and
// are 64 bits wide everywhere inside; the wire's 16 bits are their low end. So
// nothing else has to think of wrap-around.
package packet
