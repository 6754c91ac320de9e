package main

import (
	"net/netip"
	"slices"
	"testing"
)

// TestOfferedIPs wants clients to be sent only where something listens.
func TestOfferedIPs(t *testing.T) {
	loopback, public := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("203.0.113.7")
	for name, c := range map[string]struct {
		config config
		want   []netip.Addr
	}{
		"as configured":         {config{mediaIPs: []netip.Addr{public}, mediaAddr: "127.0.0.1:7700", httpAddr: "127.0.0.1:8080"}, []netip.Addr{public}},
		"what the port is on":   {config{mediaAddr: "127.0.0.1:7700", httpAddr: ":8080"}, []netip.Addr{loopback}},
		"what the port is on 6": {config{mediaAddr: "[::1]:7700", httpAddr: ":8080"}, []netip.Addr{netip.IPv6Loopback()}},
	} {
		if got := offeredIPs(&c.config); !slices.Equal(got, c.want) {
			t.Errorf("%s: offered %v, want %v", name, got, c.want)
		}
	}
	if local := offeredIPs(&config{mediaAddr: ":7700", httpAddr: "127.0.0.1:8080"}); !slices.Contains(local, loopback) {
		t.Errorf("a server for this machine alone offers %v, without loopback", local)
	}
}
