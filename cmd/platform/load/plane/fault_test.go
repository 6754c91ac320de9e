package plane

import (
	"context"
	"net"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibari/hibari/cmd/platform/load"
	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// The load tool sees the loss and the delay that a faulty network puts between
// the server and the viewers, and none where there is none.
func TestFaultsAreSeen(t *testing.T) {
	if runtime.GOOS != "linux" {
		return // a lean viewer's business
	}
	const (
		dropEvery = 10
		delay     = 80 * time.Millisecond
	)
	for name, faulty := range map[string]bool{"as it is": false, "faulty": true} {
		t.Run(name, func(t *testing.T) {
			media, port := listen(t)
			direct := door(media)
			through := func(ctx context.Context, channel, role string, answer func(string) (string, error)) (func(), error) {
				if !faulty || role == "sendonly" {
					return direct(ctx, channel, role, answer)
				}
				r := newRelay(t, port.LocalAddr(), dropEvery, delay)
				return direct(ctx, channel, role, func(offer string) (string, error) { return answer(r.divert(offer)) })
			}
			report, err := load.Run(t.Context(), load.Config{
				Channel: "fault", Channels: 1, Publishers: 1, Viewers: 3, Joining: 3,
				Rate: 240, FrameRate: 30, PacketSize: 1000, Duration: 2 * time.Second, Door: through,
			}, func(line string) { t.Log(line) })
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", report)
			if report.PacketsExpected < 3*240 {
				t.Errorf("only %d packets were expected", report.PacketsExpected)
			}
			if !faulty && (report.PacketsLost != 0 || report.PacketsTwice != 0) {
				t.Errorf("lost %d packets, %d came twice", report.PacketsLost, report.PacketsTwice)
			}
			if faulty && (report.LostRatio < 0.09 || report.LostRatio > 0.11) {
				t.Errorf("lost %.3f, want 1 in %d", report.LostRatio, dropEvery)
			}
			if wait := float64(delay / time.Millisecond); faulty && report.LatencyP50 < wait {
				t.Errorf("latency %v ms, want %v and more", report.LatencyP50, wait)
			}
		})
	}
}

// listen makes an SFU on a port of its own.
func listen(t *testing.T) (*sfu.SFU, *transport.Endpoint) {
	t.Helper()
	port, err := transport.Listen(transport.Config{Addr: "127.0.0.1:0", IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	media := sfu.New(sfu.Config{Transport: port})
	t.Cleanup(func() {
		media.Close(tenant.EndShutdown)
		if err := port.Close(); err != nil {
			t.Error(err)
		}
	})
	return media, port
}

// relay stands between one client and the server. What goes to the client is
// late, and of the media one packet in so many is lost.
type relay struct {
	server          netip.AddrPort
	outside, inside *net.UDPConn // to the client, to the server
	running         sync.WaitGroup

	mu     sync.Mutex // guards client
	client netip.AddrPort
}

func newRelay(t *testing.T, server netip.AddrPort, dropEvery int, delay time.Duration) *relay {
	t.Helper()
	r := &relay{server: server}
	for _, at := range []**net.UDPConn{&r.outside, &r.inside} {
		var err error
		if *at, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}); err != nil {
			t.Fatal(err)
		}
	}
	r.running.Go(r.runIn)
	r.running.Go(func() { r.runOut(dropEvery, delay) })
	t.Cleanup(func() {
		r.outside.Close()
		r.inside.Close()
		r.running.Wait()
	})
	return r
}

// divert has an offer name the relay instead of the server.
func (r *relay) divert(offer string) string {
	own := r.outside.LocalAddr().(*net.UDPAddr).Port
	return strings.ReplaceAll(offer, " "+strconv.Itoa(int(r.server.Port()))+" typ host", " "+strconv.Itoa(own)+" typ host")
}

// runIn passes on what the client sends, until the relay is closed.
func (r *relay) runIn() {
	buffer := make([]byte, 2048)
	for {
		n, from, err := r.outside.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		r.mu.Lock()
		r.client = from
		r.mu.Unlock()
		_, _ = r.inside.WriteToUDPAddrPort(buffer[:n], r.server)
	}
}

// runOut passes on what the server sends, until the relay is closed.
func (r *relay) runOut(dropEvery int, delay time.Duration) {
	var late sync.WaitGroup
	defer late.Wait()
	buffer := make([]byte, 2048)
	for media := 0; ; {
		n, _, err := r.inside.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return
		}
		if isMedia := n > 1 && buffer[0]&0xc0 == 0x80 && (buffer[1] < 192 || buffer[1] > 223); isMedia {
			if media++; media%dropEvery == 0 {
				continue
			}
		}
		packet := append([]byte(nil), buffer[:n]...)
		late.Add(1)
		time.AfterFunc(delay, func() {
			defer late.Done()
			r.mu.Lock()
			client := r.client
			r.mu.Unlock()
			_, _ = r.outside.WriteToUDPAddrPort(packet, client)
		})
	}
}
