package wire

// path is empty: the net package writes addresses itself.
type path struct{}

func (s *Socket) setPath(*Route) {}

// sendto sends one datagram.
func (s *Socket) sendto(b []byte, to *Route) error {
	_, err := s.conn.WriteToUDPAddrPort(b, to.remote)
	return err
}

// Poll takes nothing on this system: everything comes through Receive.
func (in *Inbound) Poll() (int, error) { return 0, nil }
