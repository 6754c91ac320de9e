//go:build unix

package sfu_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/sfu/sfutest"
	"github.com/hibari/hibari/internal/sfu/transport"
	"github.com/hibari/hibari/internal/tenant"
)

// BenchmarkConnection says what a connection that only watches costs the server,
// without data channels and with as many as signalling over them needs. The
// clients are in a process of their own.
func BenchmarkConnection(b *testing.B) {
	if os.Getenv("SFU_BENCH_CLIENTS") != "" {
		answerAll(b)
		return
	}
	for _, channels := range []int{0, 1, 4} {
		b.Run(fmt.Sprint("channels=", channels), func(b *testing.B) {
			for b.Loop() {
				benchConnections(b, 200, channels)
			}
		})
	}
}

func benchConnections(b *testing.B, n, channels int) {
	endpoint, err := transport.Listen(at("127.0.0.1"))
	if err != nil {
		b.Fatal(err)
	}
	defer endpoint.Close()
	s := sfu.New(sfu.Config{Transport: endpoint})
	defer s.Close(tenant.EndShutdown)
	clients := exec.Command(os.Args[0], "-test.run=^$", "-test.bench=^BenchmarkConnection$", "-test.benchtime=1x")
	clients.Env = append(os.Environ(), "SFU_BENCH_CLIENTS=1")
	offers, err := clients.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	output, err := clients.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := clients.Start(); err != nil {
		b.Fatal(err)
	}
	defer clients.Wait()
	defer offers.Close()
	answers := bufio.NewScanner(output)
	answers.Buffer(nil, 1<<20)

	var conns []*sfu.Connection
	join := func() {
		var list []sfu.DataChannel
		for i := range channels {
			list = append(list, sfu.DataChannel{Label: fmt.Sprint("channel", i), Compress: true})
		}
		conn, err := s.Join(b.Context(), request(tenant.RecvOnly, withData(list...)))
		if err != nil {
			b.Fatal(err)
		}
		offer, _, _ := conn.Offer()
		fmt.Fprintln(offers, base64.StdEncoding.EncodeToString([]byte(offer)))
		for {
			if !answers.Scan() {
				b.Fatal("the clients have gone")
			}
			if text, ok := strings.CutPrefix(answers.Text(), "answer "); ok {
				answer, _ := base64.StdEncoding.DecodeString(text)
				if err := conn.Answer(string(answer)); err != nil {
					b.Fatal(err)
				}
				break
			}
		}
		want := sfu.SignalConnected
		if channels > 0 {
			want = sfu.SignalDataOpen
		}
		for signal := range conn.Signals() {
			if signal.Kind == want {
				break
			}
		}
		conns = append(conns, conn)
	}
	join() // whatever is made once
	before, cpu := measure()
	for range n {
		join()
	}
	joined := cpuTime() - cpu
	after, _ := measure()
	cpu = cpuTime()
	const idle = 10 * time.Second
	time.Sleep(idle)
	idled := cpuTime() - cpu
	b.ReportMetric(float64(after.bytes-before.bytes)/1000/float64(n), "kB/conn")
	b.ReportMetric(float64(after.goroutines-before.goroutines)/float64(n), "goroutines/conn")
	b.ReportMetric(float64(joined.Microseconds())/float64(n), "join-µs/conn")
	b.ReportMetric(float64(idled.Microseconds())/idle.Seconds()/float64(n), "idle-µs/s/conn")
	if channels == 0 {
		return
	}
	cpu = cpuTime()
	const messages = 100
	text := []byte(strings.Repeat(`{"type":"notify"}`, 30))
	for range messages {
		for _, c := range conns {
			_ = c.SendData("channel0", text, false)
		}
		time.Sleep(20 * time.Millisecond)
	}
	b.ReportMetric(float64((cpuTime()-cpu).Microseconds())/messages/float64(n), "µs/message")
}

type cost struct{ bytes, goroutines int64 }

// measure says what memory is in use, stacks included, after things have settled.
func measure() (cost, time.Duration) {
	time.Sleep(4 * time.Second) // peers come to rest
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return cost{int64(m.HeapAlloc + m.StackInuse), int64(runtime.NumGoroutine())}, cpuTime()
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// answerAll is the process of the clients: it answers the offers on its standard
// input.
func answerAll(b *testing.B) {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		offer, err := base64.StdEncoding.DecodeString(in.Text())
		if err != nil {
			b.Fatal(err)
		}
		c, err := sfutest.NewClient(sfutest.Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		answer, err := c.Accept(string(offer))
		if err != nil {
			b.Fatal(err)
		}
		fmt.Println("answer " + base64.StdEncoding.EncodeToString([]byte(answer)))
	}
	if err := in.Err(); err != nil && err != io.EOF {
		b.Fatal(err)
	}
}
