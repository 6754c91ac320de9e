package main

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A server that takes a question and says nothing is given up, but neither
// while a migration may run nor when nothing was asked.
func TestSilentPostgresIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		p := &patience{}
		conn := patientConn{ours, p}
		ask := func() (answer chan error) {
			t.Helper()
			go theirs.Read(make([]byte, 1))
			if _, err := conn.Write([]byte("?")); err != nil {
				t.Fatal(err)
			}
			answer = make(chan error, 1)
			go func() {
				_, err := conn.Read(make([]byte, 1))
				answer <- err
			}()
			return answer
		}

		migrated := ask()
		time.Sleep(time.Hour)
		theirs.Write([]byte("!"))
		if err := <-migrated; err != nil {
			t.Errorf("a migration was cut short: %v", err)
		}
		p.end()
		time.Sleep(time.Hour) // idle
		answered := ask()
		time.Sleep(answerLimit - time.Second)
		theirs.Write([]byte("!"))
		if err := <-answered; err != nil {
			t.Errorf("an answer in time was not taken: %v", err)
		}
		asked := time.Now()
		err := <-ask()
		if took := time.Since(asked); !errors.Is(err, os.ErrDeadlineExceeded) || took != answerLimit {
			t.Errorf("%v after %s", err, took)
		}
	})
}
