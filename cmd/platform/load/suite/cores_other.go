//go:build !linux

package suite

import (
	"os/exec"
	"syscall"
)

// cores says who runs where; here nobody can.
type cores struct {
	server, tool struct{}
}

func (cores) enough(int) bool { return false }

func (cores) first(int) struct{} { return struct{}{} }

func shareCores() cores { return cores{} }

func (cores) start(cmd *exec.Cmd, _ struct{}) error { return cmd.Start() }

func (cores) stay() error { return nil }

func (cores) on(_ struct{}, f func() error) error { return f() }

func ownGroup() *syscall.SysProcAttr { return nil }
