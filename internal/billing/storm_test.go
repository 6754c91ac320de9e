package billing_test

import (
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
)

// processes starts three nodes.
func (b *bench) processes() []*child {
	b.t.Helper()
	b.guard()
	return []*child{b.startProcess(processSpec{}), b.startProcess(processSpec{}), b.startProcess(processSpec{})}
}

// sample checks what must hold at every moment, again and again, until the returned
// function is called.
func (b *bench) sample(scope tenant.Scope) (stop func()) {
	done := make(chan struct{})
	var sampling sync.WaitGroup
	sampling.Go(func() {
		for n := 1; ; n++ {
			if err := b.checkInvariants(scope); err != nil {
				b.t.Error(err)
				return
			}
			select {
			case <-done:
				b.t.Log(n, "samples")
				return
			default:
			}
		}
	})
	return func() { close(done); sampling.Wait() }
}

// all has the processes do a task at the same time.
func all(nodes []*child, make func(i int) task) (came []outcome) {
	for i, c := range nodes {
		c.ask(make(i))
	}
	for _, c := range nodes {
		came = append(came, c.answer())
	}
	return came
}

// 64 clients on three nodes ask for the last place at the same moment, again and again:
// one has it, the others are told how many there are of how many. And when that one
// leaves, the place is there for the next, on another node.
func TestLastPlaceOnThreeNodes(t *testing.T) {
	b := newBench(t)
	nodes := b.processes()
	const licence = 5
	scope := b.newTenant(licence, licence)
	for range licence - 1 {
		b.open(scope, "old", tenant.RecvOnly)
	}
	stop := b.sample(scope)
	for round := range 12 {
		came := all(nodes, func(i int) task {
			return task{Do: "open", Tenant: scope.Tenant(), Channel: "room" + string(rune('0'+i)), N: []int{22, 21, 21}[i]}
		})
		winner, refused := -1, 0
		for i, o := range came {
			refused += o.Refused[tenant.TenantFull]
			if len(o.Admitted) > 0 {
				winner = i
			}
		}
		if winner < 0 || refused != 63 || len(came[winner].Admitted) != 1 {
			t.Fatalf("round %d: %+v", round, came)
		}
		nodes[winner].do(task{Do: "close", IDs: came[winner].Admitted})
		next := nodes[(winner+1)%3]
		again := next.do(task{Do: "open", Tenant: scope.Tenant(), Channel: "freed", N: 1})
		if len(again.Admitted) != 1 {
			t.Fatalf("round %d: a freed place could not be taken: %+v", round, again)
		}
		next.do(task{Do: "close", IDs: again.Admitted})
	}
	stop()
	b.check(scope)
}

// The tenant's limit and its channels' are hit at the same moment.
func TestBothLimitsOnThreeNodes(t *testing.T) {
	b := newBench(t)
	nodes := b.processes()
	scope := b.newTenant(300, 150)
	stop := b.sample(scope)
	came := all(nodes, func(i int) task {
		return task{Do: "open", Tenant: scope.Tenant(), Channel: string(rune('a' + i)), N: 170}
	})
	stop()
	admitted, refused := 0, 0
	for _, o := range came {
		if len(o.Admitted) > 150 {
			t.Errorf("a channel of 150 has %d", len(o.Admitted))
		}
		admitted += len(o.Admitted)
		refused += o.Refused[tenant.TenantFull] + o.Refused[tenant.ChannelFull]
	}
	if admitted != 300 || refused != 510-300 {
		t.Errorf("%d were admitted and %d refused", admitted, refused)
	}
	b.check(scope)
	// All leave at once, each twice, and the same crowd fills the places again.
	all(nodes, func(i int) task { return task{Do: "close", IDs: came[i].Admitted} })
	if licence, err := b.Licence(t.Context(), scope); err != nil || licence.Connections != 0 {
		t.Fatal(licence, err)
	}
	b.check(scope)
}

// A channel that three nodes would start at once starts on one of them.
func TestChannelStartsOnOneOfThreeNodes(t *testing.T) {
	b := newBench(t)
	nodes := b.processes()
	scope := b.newTenant(300, 300)
	for _, channel := range []string{"a", "b", "c", "d"} {
		came := all(nodes, func(int) task { return task{Do: "open", Tenant: scope.Tenant(), Channel: channel, N: 10} })
		homes := 0
		for _, o := range came {
			switch {
			case len(o.Admitted) == 10:
				homes++
			case o.Sent != 10:
				t.Fatalf("%+v", came)
			}
		}
		if homes != 1 {
			t.Fatalf("%s lives on %d nodes: %+v", channel, homes, came)
		}
	}
	b.check(scope)
}

// The licence changes all the time while clients come and go on three nodes: none is
// ever let in beyond what it is at that moment, which the database itself guards.
func TestLicenceChangesInAStorm(t *testing.T) {
	b := newBench(t)
	nodes := b.processes()
	scope := b.newTenant(10, 6)
	stop := b.sample(scope)
	done := make(chan struct{})
	var changing sync.WaitGroup
	changing.Go(func() {
		random := rand.New(rand.NewPCG(1, 2))
		for changes := 0; ; changes++ {
			select {
			case <-done:
				t.Log(changes, "changes")
				return
			default:
			}
			if err := b.SetLicence(t.Context(), scope, 1+random.IntN(20), 1+random.IntN(8)); err != nil {
				t.Error(err)
			}
		}
	})
	came := all(nodes, func(i int) task {
		return task{Do: "churn", Tenant: scope.Tenant(), Channel: string(rune('a' + i)), N: 10, Seed: uint64(i)}
	})
	close(done)
	changing.Wait()
	stop()
	for i, o := range came {
		if len(o.Admitted) == 0 || len(o.Refused) == 0 {
			t.Errorf("node %d: %d admitted, refused: %v", i, len(o.Admitted), o.Refused)
		}
	}
	if licence, err := b.Licence(t.Context(), scope); err != nil || licence.Connections != 0 {
		t.Error(licence, err)
	}
	b.check(scope)
}
