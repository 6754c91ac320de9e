package wire

import (
	"bytes"
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"
)

// granted is what the kernel gave of socketMemory to send and to receive. It doubles
// what is asked, for its own bookkeeping, and says the double.
func (s *Socket) granted() (send, receive int) {
	_ = s.raw.Control(func(fd uintptr) {
		send, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF)
		receive, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF)
	})
	return send / 2, receive / 2
}

// Of <linux/ethtool.h>: the set of strings that names the features, and the size of
// each; and the most features we read, of which kernels have less than a hundred.
const (
	ethtoolNamesSet  = 4 // ETH_SS_FEATURES
	ethtoolNameBytes = 32
	ethtoolMost      = 1024
)

// offloads asks the driver of an interface what it does. Anybody may ask.
func offloads(device string) (segmentation, checksum, generic Offload) {
	segmentation, checksum, generic = OffloadUnknown, OffloadUnknown, OffloadUnknown
	features := readFeatures(device)
	if len(features) == 0 {
		return
	}
	state := func(names ...string) Offload {
		best := OffloadNone
		for _, name := range names {
			switch features[name] {
			case OffloadOn:
				return OffloadOn
			case OffloadOff:
				best = OffloadOff
			}
		}
		return best
	}
	// A device sums either every protocol or those it knows.
	return state("tx-udp-segmentation"), state("tx-checksum-ip-generic", "tx-checksum-ipv4"), state("tx-generic-segmentation")
}

// readFeatures is the state of each feature of an interface by the kernel's name for
// it; nil if it can't be told.
func readFeatures(device string) map[string]Offload {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = unix.Close(fd) }()
	word := binary.NativeEndian

	info := make([]byte, 20) // struct ethtool_sset_info with one length
	word.PutUint32(info, unix.ETHTOOL_GSSET_INFO)
	word.PutUint64(info[8:], 1<<ethtoolNamesSet)
	if !ethtool(fd, device, info) {
		return nil
	}
	n := int(word.Uint32(info[16:]))
	if n == 0 || n > ethtoolMost {
		return nil
	}

	names := make([]byte, 12+n*ethtoolNameBytes) // struct ethtool_gstrings
	word.PutUint32(names, unix.ETHTOOL_GSTRINGS)
	word.PutUint32(names[4:], ethtoolNamesSet)
	word.PutUint32(names[8:], uint32(n))
	blocks := (n + 31) / 32
	bits := make([]byte, 8+16*blocks) // struct ethtool_gfeatures
	word.PutUint32(bits, unix.ETHTOOL_GFEATURES)
	word.PutUint32(bits[4:], uint32(blocks))
	if !ethtool(fd, device, names) || !ethtool(fd, device, bits) {
		return nil
	}

	features := make(map[string]Offload, n)
	for i := range n {
		name, _, _ := bytes.Cut(names[12+i*ethtoolNameBytes:][:ethtoolNameBytes], []byte{0})
		block, bit := bits[8+16*(i/32):], uint32(1)<<(i%32)
		available, active := word.Uint32(block)&bit != 0, word.Uint32(block[8:])&bit != 0
		switch {
		case active:
			features[string(name)] = OffloadOn
		case available:
			features[string(name)] = OffloadOff
		default:
			features[string(name)] = OffloadNone
		}
	}
	return features
}

// ethtool makes one request about an interface, to be answered in data.
func ethtool(fd int, device string, data []byte) bool {
	if len(device) >= unix.IFNAMSIZ {
		return false
	}
	var request struct { // struct ifreq
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24 - unsafe.Sizeof(uintptr(0))]byte
	}
	copy(request.name[:], device)
	request.data = unsafe.Pointer(&data[0])
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	return errno == 0
}
