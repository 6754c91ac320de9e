package sfu_test

import (
	"testing"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/tenant"
)

// The transport of a connection with a farewell stays after its end until the door
// hangs up, the client goes, or the time is over; without one it ends at once.
func TestFarewell(t *testing.T) {
	for name, test := range map[string]struct {
		farewell time.Duration
		finish   func(*sfu.Connection, *sfutest.Session)
		stays    bool // until finish
	}{
		"hung up":            {time.Hour, func(c *sfu.Connection, _ *sfutest.Session) { c.HangUp() }, true},
		"client goes":        {time.Hour, func(_ *sfu.Connection, s *sfutest.Session) { s.Client.Close() }, true},
		"time is over":       {100 * time.Millisecond, func(*sfu.Connection, *sfutest.Session) {}, false},
		"without one":        {0, func(*sfu.Connection, *sfutest.Session) {}, false},
		"hung up in advance": {time.Hour, func(*sfu.Connection, *sfutest.Session) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSFU(t)
			r := request(tenant.RecvOnly)
			r.Farewell = test.farewell
			viewer := join(t, s, r, sfutest.Options{})
			connected(t, viewer)
			c := viewer.Connection
			if name == "hung up in advance" {
				c.HangUp()
			}
			select {
			case <-c.Left():
				t.Fatal("left before the end")
			default:
			}
			c.Disconnect(tenant.EndAPI)
			<-c.Done()
			if len(s.Connections()) != 0 {
				t.Error("it is still there")
			}
			if test.stays {
				select {
				case <-c.Left():
					t.Error("left without a farewell")
				default:
				}
			}
			test.finish(c, viewer)
			select {
			case <-c.Left():
			case <-time.After(10 * time.Second):
				t.Error("never left")
			}
		})
	}
}
