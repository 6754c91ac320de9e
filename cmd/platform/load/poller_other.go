//go:build !linux || !(amd64 || arm64)

package load

import (
	"errors"
	"net/netip"
	"time"
)

// Lean peers are for Linux; elsewhere all are pion's PeerConnections.

type socket struct{}

func openSocket(netip.AddrPort) (*socket, netip.AddrPort, error) {
	return nil, netip.AddrPort{}, errors.ErrUnsupported
}

func (s *socket) send([]byte) {}

func (s *socket) sendTrain([]byte, int) {}

func (s *socket) park() error { return errors.ErrUnsupported }

func (s *socket) close() {}

type poller struct{}

func startPoller(time.Time) (*poller, error) { return nil, nil }

func (p *poller) close() {}

func (p *poller) add(*leanPeer) {}

func (p *poller) remove(*leanPeer) {}
