// Package wire moves UDP datagrams between one socket and the program in
// batches. It knows nothing of what is inside them.
//
// Inwards, one goroutine waits in [Inbound.Receive], which fills up to 32 pooled
// [Buffer]s with one recvmmsg; others may take what has come with [Inbound.Poll].
// Outwards, a worker writes packets straight into the memory of its [Arena] and
// flushes it; neighbouring packets of the same [Route] and size leave as one
// UDP_SEGMENT (GSO) train, and up to 64 messages leave with one sendmmsg.
//
// Nothing here waits for room, and every message is tried once, whatever became of
// those before it; what the kernel does not take is dropped and counted by its
// reason. A route whose trains the kernel or the path refuses sends packet by packet
// and tries again later, ever more seldom. [NewProbe] says beforehand what to expect
// of a machine.
//
// The Linux half is in *_linux.go; every other system gets the same behaviour,
// one system call per datagram, from *_other.go and other_*.go.
package wire
