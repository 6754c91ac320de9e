package sfu_test

import (
	"net"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

// Wherever a channel's worker panics, its channel ends and no other loses a packet.
func TestPanicEndsOneChannelOnly(t *testing.T) {
	s := newSFU(t, patient)
	publisher := publish(t, s, av, inChannel("healthy"))
	watcher := view(t, s, inChannel("healthy"))
	id := publisher.Connection.ID()
	flows(t, watcher, id)
	for i, what := range []string{"packet", "fan-out", "tick"} {
		t.Run(what, func(t *testing.T) {
			name := inChannel(what)
			p, v := publish(t, s, av, name), view(t, s, name)
			flows(t, v, p.Connection.ID())
			if !s.Ruin(acme, what, what) {
				t.Fatal("no such channel")
			}
			for _, one := range []*sfutest.Session{p, v} {
				select {
				case <-one.Connection.Done():
				case <-time.After(10 * time.Second):
					t.Fatal("the connection did not end")
				}
				if e := one.Connection.Ending(); e.Reason != tenant.EndFailed {
					t.Errorf("ended as %+v", e)
				}
			}
			if n := s.Stats().Panics; n != int64(i+1) {
				t.Errorf("%d panics, want %d", n, i+1)
			}
			again := publish(t, s, av, name)
			flows(t, view(t, s, name), again.Connection.ID())
		})
	}
	more(t, watcher, id, "video")
	more(t, watcher, id, "audio")
	lostNothing(t, s, watcher, id)
}

// lostNothing checks that a viewer has got everything that it was sent.
func lostNothing(t *testing.T, s *sfu.SFU, v *sfutest.Session, id string) {
	t.Helper()
	for _, kind := range []string{"audio", "video"} {
		eventually(t, "no hole in the "+kind, func() bool { return v.Stream(id, kind).Lost == 0 })
		if got := v.Stream(id, kind); got.Shifts != 0 || got.Corrupt != 0 {
			t.Errorf("%+v; %+v", got, s.Stats())
		}
	}
}

// deafSocket is a socket that nobody reads any more.
type deafSocket struct {
	net.PacketConn
	deaf <-chan struct{}
	gone chan struct{}
}

// ReadFrom reads until the socket is deaf.
func (d deafSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := d.PacketConn.ReadFrom(b)
	select {
	case <-d.deaf:
		<-d.gone
		return 0, nil, net.ErrClosed
	default:
		return n, from, err
	}
}

// Viewers whose sockets are closed, or full because they don't read, cost the
// others nothing.
func TestViewersThatDoNotReadCostOthersNothing(t *testing.T) {
	s := newSFU(t, patient)
	p := publish(t, s, av)
	id := p.Connection.ID()
	fair := view(t, s)
	deaf, gone := make(chan struct{}), make(chan struct{})
	defer close(gone)
	deafOne := join(t, s, request(tenant.RecvOnly), sfutest.Options{Socket: func() (net.PacketConn, error) {
		socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		return deafSocket{socket, deaf, gone}, socket.SetReadBuffer(4096)
	}})
	deadOne := view(t, s)
	for _, v := range []*sfutest.Session{fair, deafOne, deadOne} {
		flows(t, v, id)
	}
	close(deaf)
	if err := deadOne.Silence(); err != nil {
		t.Fatal(err)
	}
	from := fair.Stream(id, "video").Frames
	eventually(t, "a hundred frames more", func() bool { return fair.Stream(id, "video").Frames >= from+100 })
	lostNothing(t, s, fair, id)
	if n := len(s.Connections()); n != 4 {
		t.Errorf("%d connections; the two must still have been there, want 4", n)
	}
}
