package wire

import "syscall"

// Stats counts what an arena sent and what became of the rest. Packets plus
// Dropped are what was committed.
type Stats struct {
	Packets  int // datagrams handed to the kernel
	Bytes    int // their UDP payload bytes
	Messages int // kernel messages: single datagrams and trains
	Trains   int // messages of two datagrams or more
	Calls    int // system calls

	// Datagrams dropped, by reason.
	Full        int // the socket's send buffer had no room (EAGAIN)
	NoBuffers   int // the kernel had no memory or its queue no room (ENOBUFS, ENOMEM)
	TooBig      int // longer than the path takes, and not to be fragmented (EMSGSIZE)
	Unreachable int // no way to there (ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN)
	Forbidden   int // a firewall of this machine forbade it (EPERM, EACCES)
	Refused     int // refused for any other reason, a closed socket being one

	TrainsRefused  int // trains refused whose packets then went out one by one
	TrainsRegained int // routes that refused trains and took one again
}

// Add adds o to s.
func (s *Stats) Add(o Stats) {
	s.Packets += o.Packets
	s.Bytes += o.Bytes
	s.Messages += o.Messages
	s.Trains += o.Trains
	s.Calls += o.Calls
	s.Full += o.Full
	s.NoBuffers += o.NoBuffers
	s.TooBig += o.TooBig
	s.Unreachable += o.Unreachable
	s.Forbidden += o.Forbidden
	s.Refused += o.Refused
	s.TrainsRefused += o.TrainsRefused
	s.TrainsRegained += o.TrainsRegained
}

// Dropped is how many datagrams were not sent.
func (s *Stats) Dropped() int {
	return s.Full + s.NoBuffers + s.TooBig + s.Unreachable + s.Forbidden + s.Refused
}

// drop counts n datagrams that the kernel refused with errno.
func (s *Stats) drop(errno syscall.Errno, n int) {
	switch errno {
	case errFull:
		s.Full += n
	case errNoBuffers, errNoMemory:
		s.NoBuffers += n
	case errTooBig:
		s.TooBig += n
	case errNetUnreachable, errHostUnreachable, errNetDown, errHostDown:
		s.Unreachable += n
	case errNotPermitted, errAccess:
		s.Forbidden += n
	default:
		s.Refused += n
	}
}
