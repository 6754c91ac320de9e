package wire_test

import (
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inNamespace runs the calling test once more in a process with a network namespace
// of its own, in which there is nothing but a loopback interface, and says whether
// this is that process. Root needs no more for it; others get a user namespace too.
func inNamespace(t *testing.T) bool {
	t.Helper()
	const name = "HIBARI_TEST_NAMESPACE"
	if os.Getenv(name) == t.Name() {
		up(t, "lo", 0)
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), name+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in a network namespace: %v\n%s", err, out)
	}
	return false
}

// interfaceRequest changes an interface.
func interfaceRequest(t *testing.T, device string, request uint, set func(*unix.Ifreq)) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	r, err := unix.NewIfreq(device)
	if err != nil {
		t.Fatal(err)
	}
	set(r)
	if err := unix.IoctlIfreq(fd, request, r); err != nil {
		t.Fatalf("%s: %v", device, err)
	}
}

// up starts an interface with further flags.
func up(t *testing.T, device string, flags uint16) {
	t.Helper()
	interfaceRequest(t, device, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) { r.SetUint16(unix.IFF_UP | flags) })
}

func down(t *testing.T, device string) {
	t.Helper()
	interfaceRequest(t, device, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) { r.SetUint16(0) })
}

func setMTU(t *testing.T, device string, n uint32) {
	t.Helper()
	interfaceRequest(t, device, unix.SIOCSIFMTU, func(r *unix.Ifreq) { r.SetUint32(n) })
}

// lan makes an Ethernet interface with the address 10.9.0.1/8 on which nobody else
// is, and returns its name.
func lan(t *testing.T, flags uint16) string {
	t.Helper()
	link := make([]byte, unix.SizeofIfInfomsg)
	netlink(t, unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, link,
		attribute(unix.IFLA_LINKINFO, attribute(unix.IFLA_INFO_KIND, []byte("veth"))))
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	device := ""
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 {
			up(t, i.Name, flags)
			device = i.Name
		}
	}
	interfaceRequest(t, device, unix.SIOCSIFADDR, func(r *unix.Ifreq) {
		if err := r.SetInet4Addr([]byte{10, 9, 0, 1}); err != nil {
			t.Fatal(err)
		}
	})
	return device
}

// blockQueue gives an interface a queue without room.
func blockQueue(t *testing.T, device string) {
	t.Helper()
	i, err := net.InterfaceByName(device)
	if err != nil {
		t.Fatal(err)
	}
	message := make([]byte, 20) // struct tcmsg
	binary.NativeEndian.PutUint32(message[4:], uint32(i.Index))
	binary.NativeEndian.PutUint32(message[12:], 0xffffffff) // TC_H_ROOT
	limit := make([]byte, 4)                                // struct tc_fifo_qopt
	netlink(t, unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, message,
		attribute(unix.TCA_KIND, []byte("pfifo\x00")), attribute(unix.TCA_OPTIONS, limit))
}

// attribute is a netlink attribute.
func attribute(kind uint16, data []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(data)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = append(b, data...)
	return append(b, make([]byte, -len(b)&3)...)
}

// netlink makes one request and waits for its success.
func netlink(t *testing.T, kind, flags uint16, parts ...[]byte) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	var body []byte
	for _, p := range parts {
		body = append(body, p...)
	}
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	b = append(b, make([]byte, 8)...) // sequence number and port
	b = append(b, body...)
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		t.Fatal(err)
	}
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(answer[4:]) != unix.NLMSG_ERROR {
		t.Fatalf("netlink answered %x", answer[:n])
	}
	if errno := -int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); errno != 0 {
		t.Fatalf("netlink: %v", unix.Errno(errno))
	}
}

// option sets a socket option.
func option(t *testing.T, s interface {
	SyscallConn() (syscall.RawConn, error)
}, level, name, value int) {
	t.Helper()
	raw, err := s.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, name, value) })
	if err != nil || failed != nil {
		t.Fatal(err, failed)
	}
}
