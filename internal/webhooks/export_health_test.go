package webhooks

import "time"

// SetNow sets the clock by which a process judges what it has seen of an endpoint.
// It is for before Run.
func (w *Webhooks) SetNow(now func() time.Time) { w.watched.now = now }
