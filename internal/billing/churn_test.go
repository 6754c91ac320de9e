package billing_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/billing"
	"github.com/hibari/hibari/internal/tenant"
)

// Everything at once, at the limit: no step fails (a deadlock would be an
// error), no sample ever sees more places than the licence has or counters
// that are not their rows, and at the end every story is complete.
func TestChurn(t *testing.T) {
	b := newBench(t)
	const limit, workers, turns = 12, 8, 60
	scopes := []tenant.Scope{b.newTenant(limit, 5), b.newTenant(limit, 5), b.newTenant(limit, 5)}
	var mu sync.Mutex
	nodes := []string{b.newNode(), b.newNode(), b.newNode()} // guarded by mu

	spare := make([]string, workers*turns) // takes the place of an ended one
	for i := range spare {
		spare[i] = b.newNode()
	}

	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			var mine []string
			for turn := range turns {
				i := random.IntN(len(nodes))
				mu.Lock()
				node := nodes[i]
				mu.Unlock()
				var err error
				switch step := random.IntN(10); {
				case step < 4:
					o := opening(scopes[random.IntN(3)], []string{"a", "b", "c"}[random.IntN(3)], tenant.SendRecv)
					var r *tenant.Refusal
					_, err = b.Open(t.Context(), node, o)
					if err == nil {
						mine = append(mine, o.ConnectionID)
						err = b.Connected(t.Context(), o.ConnectionID, 0)
					} else if errors.As(err, &r) || errors.Is(err, billing.ErrNodeEnded) || errors.As(err, new(*tenant.Elsewhere)) {
						err = nil
					}
				case step < 7 && len(mine) > 0:
					k := random.IntN(len(mine))
					err = b.Close(t.Context(), mine[k], tenant.Ending{Reason: tenant.EndClient, Duration: time.Duration(random.Int64N(1e11))})
				case step < 9:
					var marks []billing.Mark
					for _, k := range random.Perm(len(mine)) {
						marks = append(marks, billing.Mark{ConnectionID: mine[k], Connected: time.Duration(random.Int64N(2e11))})
					}
					err = b.Beat(t.Context(), node, marks)
				default:
					fresh := spare[worker*turns+turn]
					mu.Lock()
					nodes[i] = fresh
					mu.Unlock()
					// As cluster does it: nothing can be opened on it after this.
					_, err = b.pool.Exec(t.Context(), `update node set state = 'lost'
						where node_id in (select node_id from node where node_id = $1 for update)`, node)
					if err == nil {
						_, err = b.EndNode(t.Context(), node)
					}
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for samples := 0; ; samples++ {
		for _, scope := range scopes {
			if n := one[int](b, `select count(*) from live_connection where tenant_id = $1`, scope.Tenant()); n > limit {
				t.Fatalf("%d places of %d are taken", n, limit)
			}
			b.check(scope) // each rule is one statement, so it sees one moment
		}
		select {
		case <-done:
			t.Log(samples, "samples")
			for _, node := range nodes {
				b.exec(`update node set state = 'lost' where node_id = $1`, node)
				if _, err := b.EndNode(t.Context(), node); err != nil {
					t.Fatal(err)
				}
			}
			for _, scope := range scopes {
				b.check(scope)
				if licence, err := b.Licence(t.Context(), scope); err != nil || licence.Connections != 0 {
					t.Fatal(licence, err)
				}
			}
			return
		default:
		}
	}
}
