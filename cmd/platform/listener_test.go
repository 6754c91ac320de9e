package main

import (
	"io"
	"net"
	"testing"
	"time"
)

// Who comes when the house is full is turned away at once; who leaves makes
// room.
func TestBoundedListenerHasRoomForSoMany(t *testing.T) {
	port, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := newBoundedListener(port)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if listener.most < 100 {
		t.Fatalf("there is room for %d only", listener.most)
	}
	listener.most = 2
	accepted := make(chan net.Conn, 10)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted <- conn
		}
	}()
	call := func() net.Conn {
		t.Helper()
		conn, err := net.Dial("tcp", port.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	call()
	call()
	first := <-accepted
	<-accepted
	late := call()
	late.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := late.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("one too many was told %v", err)
	}
	first.Close()
	first.Close() // counts once
	call()
	<-accepted
	call()
	late = call()
	late.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := late.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("one too many was told %v", err)
	}
	if n := listener.turned.Load(); n < 2 || listener.open.Load() != 2 {
		t.Errorf("%d were turned away, %d are open", n, listener.open.Load())
	}
}
