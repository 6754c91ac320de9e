//go:build !race

// The race detector makes sync.Pool forget at random, so nothing can be said
// about allocations under it.

package transport_test

import (
	"encoding/binary"
	"testing"

	"github.com/hibari/hibari/internal/sfu/transport"
)

func TestSealAndFlushAllocateNothing(t *testing.T) {
	e := listen(t, transport.Config{})
	for _, name := range []string{"AEAD_AES_128_GCM", "AEAD_AES_256_GCM"} {
		p, _, _ := connect(t, e, "127.0.0.1", profiles[name])
		b, h, body := e.NewBatch(), header(1, 0), payload(1100)
		seq := uint16(0)
		if n := testing.AllocsPerRun(100, func() {
			for i := range 8 {
				seq++
				binary.BigEndian.PutUint16(h[2:], seq)
				if err := p.SealRTP(b, h, body, i%2*4); err != nil {
					t.Fatal(err)
				}
			}
			b.Flush()
		}); n != 0 {
			t.Errorf("%s: %v allocations for 8 packets", name, n)
		}
	}
}

func TestUnprotectAllocatesNothing(t *testing.T) {
	e := listen(t, transport.Config{})
	p, o, c := connect(t, e, "127.0.0.1")
	const n = 100
	var batch []transport.Datagram
	for i := range uint16(n + 2) {
		c.send(c.protect(5, i, payload(1000)))
		batch = append(batch, o.datagram())
	}
	i := 0
	if allocs := testing.AllocsPerRun(n, func() {
		if _, _, err := p.Unprotect(&batch[i]); err != nil {
			t.Fatal(err)
		}
		i++
	}); allocs != 0 {
		t.Errorf("%v allocations per packet", allocs)
	}
}

func TestControlIsSealedAndOpenedWithoutAllocating(t *testing.T) {
	for name, profile := range gcmProfiles {
		p := newPair(t, profile)
		const n = 100
		media, control := sealed(t, p, n+3)
		dst, i := make([]byte, 1500), 0
		step := func() {
			for _, b := range [][]byte{media[i], control[i]} {
				if _, _, err := p.ours.Open(b); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := p.ours.SealRTCP(dst, control[0][:40]); err != nil {
				t.Fatal(err)
			}
			i++
		}
		step() // makes the source's state
		if allocs := testing.AllocsPerRun(n, step); allocs != 0 {
			t.Errorf("%s: %v allocations", name, allocs)
		}
	}
}
