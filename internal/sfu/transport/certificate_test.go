package transport

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
	"weak"
)

func TestIdentityLastsItsLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := &identities{lifetime: time.Hour}
		first, err := ids.at(time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if key, ok := first.certificate.PrivateKey.(*ecdsa.PrivateKey); !ok || key.Curve != elliptic.P256() {
			t.Errorf("the key is %T, want ECDSA on P-256", first.certificate.PrivateKey)
		}
		time.Sleep(time.Hour - time.Nanosecond)
		if same, _ := ids.at(time.Now()); same != first {
			t.Error("replaced before its time")
		}
		time.Sleep(time.Nanosecond)
		second, _ := ids.at(time.Now())
		if second == first || second.fingerprint == first.fingerprint {
			t.Error("not replaced in time")
		}
		if n := ids.made(); n != 2 {
			t.Errorf("%d made, want 2", n)
		}
	})
}

// The last peer takes its identity with it.
func TestOldIdentityIsFreed(t *testing.T) {
	ids := &identities{lifetime: time.Hour}
	now := time.Now()
	first, err := ids.at(now)
	if err != nil {
		t.Fatal(err)
	}
	p, watch := &Peer{identity: first}, weak.Make(first)
	first = nil
	if _, err := ids.at(now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	if watch.Value() == nil {
		t.Error("freed while a peer has it")
	}
	runtime.KeepAlive(p)
	runtime.GC()
	runtime.GC()
	if watch.Value() != nil {
		t.Error("kept although no peer has it")
	}
}

func BenchmarkNewCertificate(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := newCertificate(time.Now()); err != nil {
			b.Fatal(err)
		}
	}
}
