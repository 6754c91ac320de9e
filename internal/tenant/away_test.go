package tenant_test

import (
	"context"
	"errors"
	"net"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/migrations/dbtest"
)

// What real failures of a real database mean.
func TestDatabaseAway(t *testing.T) {
	url := dbtest.URL(t)
	connect := func() *pgx.Conn {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close(context.Background()) })
		return conn
	}
	conn := connect()
	check := func(what string, err error, away bool) {
		t.Helper()
		if err == nil || tenant.DatabaseAway(err) != away {
			t.Errorf("%s: %v counts as away: %v", what, err, !away)
		}
	}

	_, err := conn.Exec(t.Context(), `select 1/0`)
	check("a mistake", err, false)
	_, err = conn.Exec(t.Context(), `insert into tenant (tenant_id, name) values ('t', '')`)
	check("a broken constraint", err, false)
	check("nothing found", conn.QueryRow(t.Context(), `select 1 where false`).Scan(new(int)), false)
	check("another error", errors.New("no"), false)
	if tenant.DatabaseAway(nil) {
		t.Error("no error counts as away")
	}

	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = connect().Exec(gone, `select 1`)
	check("a caller that left", err, false)
	late, cancel := context.WithTimeout(t.Context(), 1)
	defer cancel()
	_, err = connect().Exec(late, `select pg_sleep(60)`)
	check("no answer in time", err, true)

	victim := connect()
	if _, err := conn.Exec(t.Context(), `select pg_terminate_backend($1)`, victim.PgConn().PID()); err != nil {
		t.Fatal(err)
	}
	_, err = victim.Exec(t.Context(), `select 1`)
	check("a terminated connection", err, true)
	_, err = victim.Exec(t.Context(), `select 1`)
	check("a closed connection", err, true)

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	listener.Close()
	_, err = pgx.Connect(t.Context(), "postgres://u@127.0.0.1:"+strconv.Itoa(port)+"/d?sslmode=disable")
	check("nobody listens", err, true)
}
