package signaling_test

import (
	"net/netip"
	"testing"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// listen opens a media port on loopback.
func listen(t testing.TB) *transport.Endpoint {
	t.Helper()
	e, err := transport.Listen(transport.Config{Addr: "127.0.0.1:0", IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}
