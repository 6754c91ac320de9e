package tenant

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Seats divide something that all tenants of a node share, such as the
// connections of its database pool: each tenant has so many at once and no
// more, so that one who asks for everything takes it from itself alone. Who
// finds all seats of its tenant taken waits a moment in a short queue.
//
// The methods may be called from any goroutine.
type Seats struct {
	// Static.
	what     string        // takes the seats, in the words of the one who is refused
	each     int           // seats of a tenant
	waiting  int           // how many of a tenant may wait for one
	patience time.Duration // how long they do

	refused atomic.Int64

	mu sync.Mutex
	// Guarded by mu. A tenant is there while it has or awaits a seat.
	byTenant map[ID]*seats
}

// seats are one tenant's.
type seats struct {
	users int           // guarded by Seats.mu: who have a seat or wait for one
	taken chan struct{} // one for each seat that is taken
}

// NewSeats returns each seats for every tenant, and as many waiting places as
// waiting says, each for the patience at most. What names in the plural what
// takes a seat, for people: "requests".
func NewSeats(what string, each, waiting int, patience time.Duration) *Seats {
	return &Seats{what: what, each: each, waiting: waiting, patience: patience, byTenant: map[ID]*seats{}}
}

// Take waits for a seat of the tenant. Who gets one calls leave, once. The error
// is the context's or a *Refusal, rate_limited: all are taken and those before
// us do not leave.
func (s *Seats) Take(ctx context.Context, id ID) (leave func(), err error) {
	own := s.enter(id)
	if own == nil {
		return nil, s.refuse()
	}
	leave = func() {
		<-own.taken
		s.exit(id, own)
	}
	select {
	case own.taken <- struct{}{}:
		return leave, nil
	default:
	}
	waiting, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	select {
	case own.taken <- struct{}{}:
		return leave, nil
	case <-waiting.Done():
	}
	s.exit(id, own)
	if err := ctx.Err(); err != nil {
		return nil, err // whoever asked does not wait any longer
	}
	return nil, s.refuse()
}

// seatKey is where a context holds the way to leave a seat early.
type seatKey struct{}

// WithSeat returns a context through which whoever needs the seat no longer, but has
// not answered yet, leaves it (LeaveSeat), and a leave that may be called again.
func WithSeat(ctx context.Context, leave func()) (context.Context, func()) {
	leave = sync.OnceFunc(leave)
	return context.WithValue(ctx, seatKey{}, leave), leave
}

// LeaveSeat leaves the context's seat, if there is one: what is still waited for
// costs the others nothing.
func LeaveSeat(ctx context.Context) {
	if leave, ok := ctx.Value(seatKey{}).(func()); ok {
		leave()
	}
}

// enter counts somebody in; nil: the queue is full, too.
func (s *Seats) enter(id ID) *seats {
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.byTenant[id]
	if own == nil {
		own = &seats{taken: make(chan struct{}, s.each)}
		s.byTenant[id] = own
	}
	if own.users == s.each+s.waiting {
		return nil
	}
	own.users++
	return own
}

func (s *Seats) exit(id ID, own *seats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if own.users--; own.users == 0 {
		delete(s.byTenant, id)
	}
}

func (s *Seats) refuse() *Refusal {
	s.refused.Add(1)
	return Refuse(RateLimited, "%d %s of this tenant are open at this node; wait for one to end, then try again", s.each, s.what)
}

// Refused returns how many found no seat since the start, of all tenants.
func (s *Seats) Refused() int64 { return s.refused.Load() }
