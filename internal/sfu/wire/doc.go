// Package wire moves UDP datagrams between one socket and the program in
// batches. It knows nothing of what is inside them.
//
// Inwards, one goroutine waits in [Inbound.Receive], which fills up to 32 pooled
// [Buffer]s with one recvmmsg; others may take what has come with [Inbound.Poll]. Outwards, a worker writes packets straight into
// the memory of its [Arena] and flushes it; neighbouring packets of the same
// [Route] and size leave as one UDP_SEGMENT (GSO) train, and up to 64 trains
// leave with one sendmmsg. Where the kernel or the path refuses trains the
// route remembers that and its packets go out singly. A full socket drops:
// nothing here waits for room.
//
// The Linux half is in *_linux.go; every other system gets the same behaviour,
// one system call per datagram, from *_other.go and other_*.go.
package wire
