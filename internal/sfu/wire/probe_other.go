//go:build !linux

package wire

// granted is unknown on this system.
func (s *Socket) granted() (send, receive int) { return 0, 0 }

// offloads are unknown on this system.
func offloads(string) (segmentation, checksum, generic Offload) {
	return OffloadUnknown, OffloadUnknown, OffloadUnknown
}
