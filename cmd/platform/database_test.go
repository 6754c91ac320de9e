package main

import (
	"net"
	"testing"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations/dbtest"
)

// A process that is stopped in a transaction must not keep its locks for ever.
func TestPoolBoundsIdleTransactions(t *testing.T) {
	pool, err := connect(t.Context(), dbtest.URL(t), tenant.WorkerRole, (&net.Dialer{}).DialContext)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	var bound string
	if err := pool.QueryRow(t.Context(), `show idle_in_transaction_session_timeout`).Scan(&bound); err != nil || bound != "10s" {
		t.Fatal(bound, err)
	}
}
