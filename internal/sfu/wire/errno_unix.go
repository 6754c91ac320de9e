//go:build unix

package wire

import "golang.org/x/sys/unix"

// How the system says why it does not send.
const (
	errFull            = unix.EAGAIN
	errNoBuffers       = unix.ENOBUFS
	errNoMemory        = unix.ENOMEM
	errTooBig          = unix.EMSGSIZE
	errNetUnreachable  = unix.ENETUNREACH
	errHostUnreachable = unix.EHOSTUNREACH
	errNetDown         = unix.ENETDOWN
	errHostDown        = unix.EHOSTDOWN
	errNotPermitted    = unix.EPERM
	errAccess          = unix.EACCES
)
