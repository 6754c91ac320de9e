package wire

import "golang.org/x/sys/windows"

// errNoBuffers is how the system says that the socket is full.
const errNoBuffers = windows.WSAENOBUFS
