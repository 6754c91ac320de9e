package wire

import "golang.org/x/sys/windows"

// errNoBuffers is how the system says that the socket is full.
const errNoBuffers = windows.WSAENOBUFS

// Poll takes nothing on this system: everything comes through Receive.
func (in *Inbound) Poll() (int, error) { return 0, nil }
