package wire

// Stats counts what an arena sent.
type Stats struct {
	Packets  int // datagrams handed to the kernel
	Bytes    int // their UDP payload bytes
	Messages int // kernel messages: single datagrams and trains
	Calls    int // system calls
	Full     int // datagrams dropped because the socket or a queue was full
	Refused  int // datagrams dropped because the kernel refused to send them
}

// Add adds o to s.
func (s *Stats) Add(o Stats) {
	s.Packets += o.Packets
	s.Bytes += o.Bytes
	s.Messages += o.Messages
	s.Calls += o.Calls
	s.Full += o.Full
	s.Refused += o.Refused
}
