package sfu

import (
	"context"
	"log/slog"

	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// Config says what an SFU works with.
type Config struct {
	Transport *transport.Endpoint // the media port; stays the caller's to close, after the SFU
	Log       *slog.Logger        // nil: nothing is logged
}

// SFU forwards media between the connections of channels.
type SFU struct{}

// New starts an SFU.
func New(c Config) *SFU { return &SFU{} }

// Join takes an admitted client into its channel, which it makes on demand. It
// fails with ErrClosed, ErrDuplicate or the context's error.
func (s *SFU) Join(ctx context.Context, r JoinRequest) (*Connection, error) { return nil, ErrClosed }

// Disconnect ends a connection of a tenant and reports whether there was one.
func (s *SFU) Disconnect(t tenant.ID, connectionID, reason string) bool { return false }

// Connections is a snapshot of all connections of all tenants. It never waits
// for a channel. Only the process itself (meter, metrics) may call it.
func (s *SFU) Connections() []ConnectionInfo { return nil }

// Close ends every connection and returns when all channels have ended.
func (s *SFU) Close(reason string) {}

// Stats is a snapshot of the counters.
func (s *SFU) Stats() Stats { return Stats{} }

// Stats counts what an SFU has done since its start.
type Stats struct {
	Channels    int                  // now
	Connections int                  // now
	PacketsIn   int64                // RTP packets taken from publishers
	Forwarded   int64                // RTP packets sent to viewers, resends included
	Resent      int64                // of these, answers to NACKs
	KeyRequests int64                // key frames asked of publishers
	Trains      int64                // messages handed to the kernel; Forwarded/Trains is the mean train length
	Drops       map[DropReason]int64 // packets dropped, by reason
}

// DropReason names why a packet was dropped.
type DropReason string
