package sfu

import "time"

// rate measures how much comes of a layer.
type rate struct {
	bytes int64
	at    time.Time // the last measurement
	bits  float64   // a second, smoothed; 0: not known
}

// rateInterval is how long it is measured at a time.
const rateInterval = 500 * time.Millisecond

// measure brings the rate up to date.
func (r *rate) measure(now time.Time) {
	switch since := now.Sub(r.at); {
	case r.at.IsZero():
		r.at, r.bytes = now, 0
	case since >= rateInterval:
		bits := float64(8*r.bytes) / since.Seconds()
		if r.bits == 0 {
			r.bits = bits
		}
		r.bits += (bits - r.bits) / 3
		r.at, r.bytes = now, 0
	}
}
