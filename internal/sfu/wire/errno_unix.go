//go:build unix && (!linux || !(amd64 || arm64) || portable)

package wire

import "syscall"

// errNoBuffers is how the system says that the socket is full.
const errNoBuffers = syscall.ENOBUFS
