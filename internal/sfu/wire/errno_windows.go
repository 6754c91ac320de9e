package wire

import "golang.org/x/sys/windows"

// How the system says why it does not send.
const (
	errFull            = windows.WSAEWOULDBLOCK
	errNoBuffers       = windows.WSAENOBUFS
	errNoMemory        = windows.ERROR_NOT_ENOUGH_MEMORY
	errTooBig          = windows.WSAEMSGSIZE
	errNetUnreachable  = windows.WSAENETUNREACH
	errHostUnreachable = windows.WSAEHOSTUNREACH
	errNetDown         = windows.WSAENETDOWN
	errHostDown        = windows.WSAEHOSTDOWN
	errNotPermitted    = windows.ERROR_ACCESS_DENIED
	errAccess          = windows.WSAEACCES
)
