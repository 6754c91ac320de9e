package api_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/hibari/hibari/internal/api"
	"github.com/hibari/hibari/internal/tenant"
)

func TestRateLimit(t *testing.T) {
	s := newService(t, func(c *api.Config) { c.RequestRate, c.RequestBurst = 0.1, 3 })
	c, other := s.caller(t, "lark"), s.caller(t, "finch")
	viewer := c.as(tenant.Viewer)
	for left := 2; left >= 0; left-- {
		r := c.get("/v1/tenant").want(200)
		if got := r.header.Get("RateLimit"); !strings.HasPrefix(got, `"tenant";r=`+strconv.Itoa(left)+`;`) || r.header.Get("RateLimit-Policy") != `"tenant";q=3;w=30` {
			t.Errorf("with %d left: %q, %q", left, got, r.header.Get("RateLimit-Policy"))
		}
	}
	for _, one := range []*caller{c, viewer} { // all keys of a tenant share it
		r := one.get("/v1/tenant")
		r.problem(429, tenant.RateLimited)
		if wait, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || wait < 5 || wait > 20 {
			t.Errorf("Retry-After: %q", r.header.Get("Retry-After"))
		}
	}
	if s.api.RateLimited() != 2 {
		t.Errorf("counted %d", s.api.RateLimited())
	}
	other.get("/v1/tenant").want(200)
}
