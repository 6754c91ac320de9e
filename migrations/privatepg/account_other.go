//go:build !linux

package privatepg

import "syscall"

// passBarriers reports false: only Linux can lend a single privilege.
func passBarriers(*syscall.SysProcAttr) bool { return false }
