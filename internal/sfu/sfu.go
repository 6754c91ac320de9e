package sfu

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// Config says what an SFU works with.
type Config struct {
	Transport *transport.Endpoint // the media port; stays the caller's to close, after the SFU
	Log       *slog.Logger        // nil: nothing is logged

	SetupTimeout  time.Duration // from the offer to the media transport being up; 0: 15 s
	AnswerTimeout time.Duration // from a later offer to its answer; 0: 10 s
	StallLimit    time.Duration // how long a channel's worker may be busy with one round; 0: 5 s
	MessageRate   int           // messages a second that a client may send on data channels; 0: DefaultMessageRate
	MessageBytes  int           // bytes a second of these; 0: DefaultMessageBytes
	// Ended gets the last reading of each connection whose media was connected, when
	// it ends; nil: nobody does. It must not block.
	Ended    func(Reading)
	Lateness time.Duration // how old a video frame may become before it has reached every viewer; 0: 100 ms

	// ViewerFeedback offers viewers transport-wide congestion control: their
	// packets are numbered, and they report up to 20 times a second which came and
	// when. Nothing estimates bandwidth by it yet, and each of these reports costs
	// some 5 µs, nearly all of it for one more datagram: together a fifth of what
	// it costs to forward 240 packets a second to the viewer. By default viewers
	// get the time of sending, from which they estimate themselves (REMB), about
	// once a second.
	ViewerFeedback bool
}

// SFU forwards media between the connections of channels.
type SFU struct {
	// Static
	cfg      Config
	log      *slog.Logger
	counters *counters
	crew     crew
	stop     chan struct{}  // closed by Close: the watchdog ends
	watching sync.WaitGroup // the watchdog

	// In ns since began; workers store them
	shedAt    atomic.Int64 // a frame was dropped for being late
	shedSince atomic.Int64 // the first of a row of such
	news      news         // locks for itself

	// Guarded by mu
	mu       sync.Mutex
	channels map[channelKey]*channel
	conns    map[string]*Connection // by connection id, of all channels
	closed   bool
}

// channelKey names a channel: names are the tenant's own.
type channelKey struct {
	tenant tenant.ID
	name   string
}

// New starts an SFU. Close ends it.
func New(c Config) *SFU {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.SetupTimeout = orDefault(c.SetupTimeout, 15*time.Second)
	c.AnswerTimeout = orDefault(c.AnswerTimeout, 10*time.Second)
	c.StallLimit = orDefault(c.StallLimit, 5*time.Second)
	c.Lateness = orDefault(c.Lateness, lateness)
	c.MessageRate = orDefault(c.MessageRate, DefaultMessageRate)
	c.MessageBytes = orDefault(c.MessageBytes, DefaultMessageBytes)
	s := &SFU{
		cfg:      c,
		log:      c.Log,
		counters: &counters{},
		stop:     make(chan struct{}),
		channels: map[channelKey]*channel{},
		conns:    map[string]*Connection{},
	}
	s.shedAt.Store(math.MinInt64 / 2) // never
	s.crew.start(s)
	s.startWatchdog()
	return s
}

func orDefault[T int | time.Duration](v, fallback T) T {
	if v > 0 {
		return v
	}
	return fallback
}

// Join takes an admitted client into its channel, which it makes on demand. It
// fails with ErrClosed, ErrDuplicate, ErrTooManyChannels, the context's error or,
// if the client offered, an error that wraps ErrBadOffer or ErrUnusableOffer.
func (s *SFU) Join(ctx context.Context, r JoinRequest) (*Connection, error) {
	if r.BundleID == "" {
		r.BundleID = r.ConnectionID
	}
	if len(r.DataChannels) > transport.MaxDataChannels {
		return nil, ErrTooManyChannels
	}
	if r.Offer != nil {
		r.Slots = r.Role.Receives()
	}
	c := newConnection(s, r)
	if err := s.register(c); err != nil {
		return nil, err
	}
	for {
		ch, err := s.channel(channelKey{r.Tenant, r.Channel})
		if err != nil {
			c.finish(tenant.EndShutdown)
			return nil, err
		}
		joined, err := ch.join(ctx, c)
		if err != nil {
			c.finish(tenant.EndClient)
			return nil, err
		}
		if joined {
			return c, nil
		}
		// The channel emptied and closed between the look-up and the join: take
		// the next one.
	}
}

// register reserves the connection's id.
func (s *SFU) register(c *Connection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if _, ok := s.conns[c.ID()]; ok {
		return ErrDuplicate
	}
	s.conns[c.ID()] = c
	return nil
}

// forget releases the connection's id.
func (s *SFU) forget(c *Connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns[c.ID()] == c {
		delete(s.conns, c.ID())
	}
}

// channel is the open channel of that name, made and started when there is none.
func (s *SFU) channel(key channelKey) (*channel, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if ch := s.channels[key]; ch != nil && !ch.isClosed() {
		return ch, nil
	}
	ch := newChannel(s, key)
	s.channels[key] = ch
	ch.startWorker()
	return ch, nil
}

// dropChannel removes a channel that has closed, unless a new one took its name.
func (s *SFU) dropChannel(ch *channel) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.channels[ch.key] == ch {
		delete(s.channels, ch.key)
	}
}

// Disconnect ends a connection of a tenant and reports whether there was one.
func (s *SFU) Disconnect(t tenant.ID, connectionID, reason string) bool {
	s.mu.Lock()
	c := s.conns[connectionID]
	s.mu.Unlock()
	if c == nil || c.request.Tenant != t {
		return false
	}
	c.Disconnect(reason)
	return true
}

// Connections is a snapshot of all connections of all tenants. It never waits
// for a channel. Only the process itself (meter, metrics) may call it.
func (s *SFU) Connections() []ConnectionInfo {
	s.mu.Lock()
	conns := make([]*Connection, 0, len(s.conns))
	for _, c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	infos := make([]ConnectionInfo, len(conns))
	for i, c := range conns {
		infos[i] = c.Info()
	}
	return infos
}

// Close ends every connection and returns when all channels have ended. A
// channel that hangs is given up by the watchdog and does not hold it up longer.
func (s *SFU) Close(reason string) {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	channels := s.openChannels()
	s.mu.Unlock()
	for _, ch := range channels {
		ch.post(func(w *worker) { w.removeAll(reason) })
	}
	for _, ch := range channels {
		<-ch.done
	}
	if first {
		close(s.stop)
		s.crew.stop()
	}
	s.watching.Wait()
}

// openChannels lists the channels; the caller holds mu.
func (s *SFU) openChannels() []*channel {
	channels := make([]*channel, 0, len(s.channels))
	for _, ch := range s.channels {
		channels = append(channels, ch)
	}
	return channels
}
