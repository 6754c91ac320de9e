package load

import "context"

// Visits makes clients that come and go one by one, as people do. Safe for use by
// several goroutines.
type Visits struct{ r *run }

// NewVisits takes from c how the clients come in and what they send; how many there
// are is for the caller to say. A viewer has joined when media can flow: there may be
// nobody to watch. The caller closes what it gets.
func NewVisits(c Config) (*Visits, error) {
	c.Channels, c.Publishers, c.Viewers = 1, 0, 1
	if err := c.check(); err != nil {
		return nil, err
	}
	r, err := newRun(c)
	if err != nil {
		return nil, err
	}
	r.publishers = make([]*publisher, 1) // they have no phase of their own
	return &Visits{r}, nil
}

// Publish has a client join the channel and send until leave is called.
func (v *Visits) Publish(ctx context.Context, channel string) (leave func(), err error) {
	p, err := startPublisher(ctx, v.r, 0, v.stage(channel))
	if err != nil {
		return nil, err
	}
	return p.close, nil
}

// Watch has a client join the channel and watch it until leave is called.
func (v *Visits) Watch(ctx context.Context, channel string) (leave func(), err error) {
	w, err := startLeanViewer(ctx, v.r, v.stage(channel))
	if err != nil && w != nil {
		w.close()
	}
	if err != nil {
		return nil, err
	}
	return w.close, nil
}

func (v *Visits) stage(channel string) *stage {
	s := *v.r.stages[0]
	s.channel = channel
	return &s
}

// Close stops what looks after the clients, who have all left.
func (v *Visits) Close() { v.r.poller.close() }
