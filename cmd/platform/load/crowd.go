package load

import "context"

// Crowd is clients that have joined and stay until Close: for measurements of a
// server in the same process, which need no receipts.
type Crowd struct{ r *run }

// Join has the clients of c join. The caller closes the crowd.
func Join(ctx context.Context, c Config) (*Crowd, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	r, err := newRun(c)
	if err != nil {
		return nil, err
	}
	if err = r.publish(ctx); err == nil {
		err = r.watch(ctx)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return &Crowd{r}, nil
}

// Park has the kernel drop whatever the lean viewers are sent from now on, at
// their sockets' door. They stay in their channels.
func (c *Crowd) Park() error {
	for _, v := range c.r.viewers {
		if lean, ok := v.watcher.(*leanViewer); ok {
			if err := lean.socket.park(); err != nil {
				return err
			}
			lean.parked.Store(true)
		}
	}
	return nil
}

// Published is how many packets the publishers have sent.
func (c *Crowd) Published() (sum uint64) {
	for _, n := range c.r.published() {
		sum += n
	}
	return sum
}

// Close has everybody leave.
func (c *Crowd) Close() { c.r.close() }
