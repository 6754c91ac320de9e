package sfu_test

import (
	"errors"
	"testing"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// Each key frame that the tenant's server asks for is one request to the publisher,
// up to a limit.
func TestRequestKeyFrame(t *testing.T) {
	s := newSFU(t)
	p := publish(t, s, av)
	v := view(t, s)
	flows(t, v, p.Connection.ID())
	before := p.Sent().KeyRequests
	for range 3 {
		if err := p.Connection.RequestKeyFrame(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "three requests come", func() bool { return p.Sent().KeyRequests-before >= 3 })
	var refused error
	for range 10 {
		if refused = p.Connection.RequestKeyFrame(); refused != nil {
			break
		}
	}
	if !errors.Is(refused, sfu.ErrTooOften) || s.Stats().KeyAsks != 1 {
		t.Errorf("asked without end: %v, %d refused", refused, s.Stats().KeyAsks)
	}
	if err := v.Connection.RequestKeyFrame(); !errors.Is(err, sfu.ErrNoVideo) {
		t.Errorf("a viewer: %v", err)
	}
	v.Connection.Disconnect(tenant.EndAPI)
	<-v.Connection.Done()
	if err := v.Connection.RequestKeyFrame(); !errors.Is(err, sfu.ErrNoVideo) && !errors.Is(err, sfu.ErrNoChannel) {
		t.Errorf("one that has left: %v", err)
	}
}
