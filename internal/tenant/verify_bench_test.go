package tenant_test

import (
	"syscall"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// BenchmarkVerify verifies tokens of each algorithm with the database closed: a
// key that is known costs it nothing. What counts is the CPU's time, the garbage
// collector's included: machines that measure have other things to do, too.
func BenchmarkVerify(b *testing.B) {
	h := newHouse(b)
	pool := h.secondPool()
	store := h.newStore(pool)
	ec, ed := pair(b)
	claims := with(map[string]any{"role": []string{"sendonly", "recvonly"}, "client_id": "alice", "jti": tenant.NewID(),
		"max_duration": 3600, "metadata": map[string]any{"plan": "gold", "seat": 12}})
	claims["exp"] = claims["exp"].(int64) + 3600
	tokens := map[string]string{"HS256": h.token(claims), "HS256 without kid": h.confide(sign(map[string]any{"alg": "HS256"},
		map[string]any{"exp": claims["exp"], "channel_id": "room@" + string(h.made.Tenant)}, h.made.SigningKey))}
	for algorithm, key := range map[string]struct {
		text string
		sign func(kid string) string
	}{
		"ES256": {publicPEM(&ec.PublicKey), func(kid string) string { return signed(b, kid, ec, claims) }},
		"EdDSA": {publicPEM(ed.Public()), func(kid string) string { return signed(b, kid, ed, claims) }},
	} {
		_, made, err := h.store.AddSigningKey(b.Context(), h.scope, tenant.NewSigningKey{PublicKey: key.text})
		if err != nil {
			b.Fatal(err)
		}
		tokens[algorithm] = h.confide(key.sign(made.ID))
	}
	if err := store.Refresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	pool.Close()
	for _, algorithm := range []string{"HS256", "HS256 without kid", "ES256", "EdDSA"} {
		b.Run(algorithm, func(b *testing.B) {
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				if _, _, err := store.Verify(b.Context(), tenant.TokenWish{Token: tokens[algorithm], Channel: "room", Role: tenant.SendOnly}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/(cpuTime(b)-before).Seconds(), "verify/s-of-CPU")
		})
	}
}

// cpuTime is the processor time that the process has used.
func cpuTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
