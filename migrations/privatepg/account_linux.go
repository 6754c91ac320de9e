package privatepg

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// passBarriers lets the process enter folders that are closed to its account,
// /root above all: with the capability to search folders or, in containers
// that don't have it, the one that overrides modes. It reports whether we have
// one of them to give. Ambient capabilities survive the change of account.
func passBarriers(attr *syscall.SysProcAttr) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // two words of 32 capabilities
	if err := unix.Capget(&header, &data[0]); err != nil {
		return false
	}
	for _, c := range []uintptr{unix.CAP_DAC_READ_SEARCH, unix.CAP_DAC_OVERRIDE} {
		if data[c/32].Permitted&(1<<(c%32)) != 0 {
			attr.AmbientCaps = []uintptr{c}
			return true
		}
	}
	return false
}
