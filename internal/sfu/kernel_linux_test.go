package sfu_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hibari/hibari/internal/sfu/sfutest"
)

// The same bad networks, but of the kernel's making: the platform and its clients
// live in two network namespaces, with a cable between them. The cable is bad by
// tc's netem or, where the kernel was built without it, by a bridge of our own
// that does what netem would. Any user may do this: a user namespace gives the
// rights.
//
//	near namespace                                   far namespace
//	platform 10.77.0.1 ── near0 ═══ netem ═══════════ far0 ── 10.77.0.2 clients
//	or                    near0 ═ near1 │bridge│ far1 ═ far0

const (
	nearAddr = "10.77.0.1"
	farAddr  = "10.77.0.2"
	// insideEnv tells the test that it runs in its namespaces.
	insideEnv = "SFU_TEST_IN_NAMESPACE"
)

func TestKernelsBadNetworkDoesNotFreezeTheViewer(t *testing.T) {
	if os.Getenv(insideEnv) == "" {
		runInNamespace(t)
		return
	}
	far := newFarSide(t)
	layCable(t, far)
	s := newSFUOn(t, listen(t, at(nearAddr)), patient)
	calls := map[string]lossyCall{}
	for _, codec := range []string{"VP8", "H264"} {
		atFar := func(o *sfutest.Options) { o.Socket = far.listen }
		calls[codec] = newLossyCall(t, s, codec, codec, paths{}, atFar)
	}
	for codec, call := range calls {
		t.Run(codec, func(t *testing.T) {
			audio, video := call.after(t, 2*keyInterval)
			call.neverFreezes(t, audio, video)
			if video.Packets+video.Lost > 0 && s.Stats().Resent == 0 {
				t.Error("nothing was sent again: is the network bad at all?")
			}
		})
	}
	t.Logf("%+v", s.Stats())
}

// runInNamespace runs the test again in a network namespace of its own.
func runInNamespace(t *testing.T) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=3m")
	// Debian keeps tc where an ordinary user's PATH doesn't look.
	cmd.Env = append(os.Environ(), insideEnv+"=1", "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EINVAL):
		t.Fatalf("this machine gives no network namespace to an ordinary user (%v); run the test as root, "+
			"or see user.max_user_namespaces and kernel.apparmor_restrict_unprivileged_userns", err)
	case err != nil:
		t.Fatal(err)
	}
}

// farSide is a thread in a network namespace of its own, which ends with it.
type farSide struct {
	// Static
	calls chan func()
}

func newFarSide(t *testing.T) *farSide {
	t.Helper()
	far := &farSide{calls: make(chan func())}
	entered := make(chan error)
	go far.run(entered)
	if err := <-entered; err != nil {
		t.Fatalf("no second network namespace: %v", err)
	}
	t.Cleanup(func() { close(far.calls) })
	return far
}

func (f *farSide) run(entered chan<- error) {
	runtime.LockOSThread() // and never unlock: nobody else may get this thread
	entered <- unix.Unshare(unix.CLONE_NEWNET)
	for call := range f.calls {
		call()
	}
}

// do runs a function in the far namespace.
func (f *farSide) do(call func() error) error {
	err := make(chan error)
	f.calls <- func() { err <- call() }
	return <-err
}

// listen opens a client's socket.
func (f *farSide) listen() (socket net.PacketConn, err error) {
	err = f.do(func() (err error) {
		socket, err = net.ListenPacket("udp4", farAddr+":0")
		return err
	})
	return socket, err
}

// layCable connects the two namespaces by a bad cable.
func layCable(t *testing.T, far *farSide) {
	t.Helper()
	near := func(commands ...string) {
		t.Helper()
		if err := runAll(commands...); err != nil {
			t.Fatal(err)
		}
	}
	near("ip link set lo up")
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = here.Close() })
	err = far.do(func() error {
		return runAll("ip link set lo up", fmt.Sprintf("ip link add far0 type veth peer name near0 netns /proc/%d/fd/%d", os.Getpid(), here.Fd()))
	})
	if err != nil {
		t.Fatal(err)
	}
	const netem = " root netem delay 10ms 4ms loss 10% reorder 5% duplicate 2%"
	if err := runAll("tc qdisc add dev near0" + netem); err == nil {
		t.Log("the network is netem's")
		err = far.do(func() error { return runAll("tc qdisc add dev far0" + netem) })
		if err != nil {
			t.Fatal(err)
		}
	} else if strings.Contains(err.Error(), "qdisc kind is unknown") || strings.Contains(err.Error(), "answers: No such file") {
		t.Log("this kernel has no netem (CONFIG_NET_SCH_NETEM); the network is our own bridge")
		near("ip link set near0 name far1", "ip link add near0 type veth peer name near1")
		near("ip link set near1 up", "ip link set far1 up")
		bridge(t, "near1", "far1", 1)
		bridge(t, "far1", "near1", 2)
		if err := errors.Join(plainFrames("near0"), far.do(func() error { return plainFrames("far0") })); err != nil {
			t.Fatal(err)
		}
	} else {
		t.Fatal(err)
	}
	near("ip addr add "+nearAddr+"/24 dev near0", "ip link set near0 up")
	err = far.do(func() error { return runAll("ip addr add "+farAddr+"/24 dev far0", "ip link set far0 up") })
	if err != nil {
		t.Fatal(err)
	}
}

// runAll runs commands in the namespace of the calling thread.
func runAll(commands ...string) error {
	for _, c := range commands {
		words := strings.Fields(c)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w (scripts/install.sh test installs iproute2)\n%s", c, err, out)
		}
	}
	return nil
}

// bridge carries frames from one device to another along a bad path, as long as
// the test runs.
func bridge(t *testing.T, from, to string, seed uint64) {
	t.Helper()
	in, out := packetSocket(t, from), packetSocket(t, to)
	all := sfutest.Impairment{Loss: 0.1, Reorder: 0.05, Duplicate: 0.02, Delay: 8 * time.Millisecond, Jitter: 4 * time.Millisecond}
	link := sfutest.NewLink(sfutest.Path{Seed: seed, Media: all, Kinds: map[sfutest.DatagramKind]sfutest.Impairment{
		sfutest.STUN: all, sfutest.DTLS: all, sfutest.Other: {}, // address resolution is nobody's concern here
	}})
	t.Cleanup(func() { t.Logf("%s to %s: %+v", from, to, link.Passed()) })
	go func() {
		frame := make([]byte, 1<<16)
		for {
			n, err := in.Read(frame)
			if err != nil {
				return // the test is over
			}
			link.Carry(frameKind(frame[:n]), frame[:n], func(b []byte) { _, _ = out.Write(b) })
		}
	}()
}

// frameKind tells what is in an Ethernet frame.
func frameKind(frame []byte) sfutest.DatagramKind {
	const ethernet, udp = 14, 8
	if len(frame) < ethernet+20 || binary.BigEndian.Uint16(frame[12:]) != unix.ETH_P_IP || frame[ethernet+9] != unix.IPPROTO_UDP {
		return sfutest.Other
	}
	start := ethernet + int(frame[ethernet]&0x0f)*4 + udp
	if len(frame) < start {
		return sfutest.Other
	}
	return sfutest.KindOf(frame[start:])
}

// packetSocket reads and writes whole frames of a device.
func packetSocket(t *testing.T, device string) *os.File {
	t.Helper()
	all := bits16(unix.ETH_P_ALL)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(all))
	if err != nil {
		t.Fatalf("no packet socket: %v", err)
	}
	socket := os.NewFile(uintptr(fd), device)
	t.Cleanup(func() { _ = socket.Close() })
	i, err := net.InterfaceByName(device)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: i.Index}))
	if err != nil {
		t.Fatal(err)
	}
	return socket
}

// bits16 is a number in network byte order.
func bits16(n uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], n)
	return binary.NativeEndian.Uint16(b[:])
}

// plainFrames makes a device's frames what they'd be on a real cable: trains cut
// into packets, checksums filled in.
func plainFrames(device string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	for _, command := range []uint32{unix.ETHTOOL_STXCSUM, unix.ETHTOOL_SGSO} {
		value := struct{ command, on uint32 }{command, 0}
		var request struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}
		copy(request.name[:], device)
		request.data = unsafe.Pointer(&value)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
		if errno != 0 {
			return fmt.Errorf("couldn't have %s send plain frames: %w", device, errno)
		}
	}
	return nil
}
