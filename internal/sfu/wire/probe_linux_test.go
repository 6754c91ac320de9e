package wire_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// TestProbeSeesWhatAnInterfaceDoes looks at real interfaces, and again after ethtool
// has turned things off.
func TestProbeSeesWhatAnInterfaceDoes(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	device := lan(t, unix.IFF_NOARP)
	setMTU(t, device, 1300)
	here, loopback, foreign := netip.MustParseAddr("10.9.0.1"), netip.MustParseAddr("127.0.0.9"), netip.MustParseAddr("203.0.113.5")
	probe := func() wire.Probe {
		t.Helper()
		p, err := wire.NewProbe("0.0.0.0:7700", []netip.Addr{here, loopback, foreign})
		if err != nil {
			t.Fatal(err)
		}
		// Nothing leads out, so the foreign address belongs nowhere.
		if len(p.Interfaces) != 2 || p.Interfaces[0].Name != device || p.Interfaces[1].Name != "lo" ||
			!slices.Equal(p.Interfaces[0].Addrs, []netip.Addr{here}) || !slices.Equal(p.Interfaces[1].Addrs, []netip.Addr{loopback}) {
			t.Fatalf("found %+v", p.Interfaces)
		}
		return p
	}
	p := probe()
	if p.SendBuffer <= 0 || p.SendBuffer > p.BufferAsked || p.ReceiveBuffer <= 0 || p.ReceiveBuffer > p.BufferAsked {
		t.Errorf("granted %d and %d of %d", p.SendBuffer, p.ReceiveBuffer, p.BufferAsked)
	}
	i := p.Interfaces[0]
	if i.MTU != 1300 || i.Checksum != wire.OffloadOn || i.Generic != wire.OffloadOn || i.Segmentation != wire.OffloadOn {
		t.Errorf("before: %+v", i)
	}
	setFeature(t, device, unix.ETHTOOL_SGSO, 0)
	setFeature(t, device, unix.ETHTOOL_STXCSUM, 0) // what cuts must sum
	i = probe().Interfaces[0]
	if i.Checksum != wire.OffloadOff || i.Generic != wire.OffloadOff || i.Segmentation == wire.OffloadOn {
		t.Errorf("after: %+v", i)
	}
}

func TestProbeNeedsAnAddress(t *testing.T) {
	for _, addr := range []string{"", "198.51.100.1:7700"} {
		if p, err := wire.NewProbe(addr, nil); err == nil {
			t.Errorf("%q: probed %+v", addr, p)
		}
	}
}

// setFeature is ethtool -K.
func setFeature(t *testing.T, device string, what, value uint32) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	data := binary.NativeEndian.AppendUint32(nil, what)
	data = binary.NativeEndian.AppendUint32(data, value)
	var request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:], device)
	request.data = unsafe.Pointer(&data[0])
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Fatal(errno)
	}
}
