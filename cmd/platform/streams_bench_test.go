package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// BenchmarkStreams measures what a thousand open streams cost: what joins take with
// none open, with a thousand of the joining tenant, and with a thousand of fifty
// tenants of which one joins at a time. All of it is one run on one Postgres; the
// readers are another process. A metric is the ratio to a look without streams
// right before, the median of the iterations, beside the absolute figures.
//
//	go test ./cmd/platform -run '^$' -bench Streams -benchtime 3x
func BenchmarkStreams(b *testing.B) {
	p, url := newServers(b)
	one := []tenant.Created{benchTenant(b, p, 0)}
	fifty := make([]tenant.Created, 50)
	for i := range fifty {
		fifty[i] = benchTenant(b, p, i+1)
	}
	figures := map[string][]float64{}
	note := func(name string, v float64) { figures[name] = append(figures[name], v) }
	for b.Loop() {
		for name, tenants := range map[string][]tenant.Created{"one": one, "fifty": fifty} {
			idle := joinsOf(b, p, tenants)
			before := memoryInUse()
			readers := openReaders(b, url, tenants, 1000)
			for p.hooks.Stats().Streams < 1000 {
				time.Sleep(10 * time.Millisecond)
			}
			note("kB/stream", float64(memoryInUse()-before)/1000/1000)
			told := p.hooks.Stats().StreamEvents
			busy := joinsOf(b, p, tenants)
			report := readers.stop(b)
			written := float64(p.hooks.Stats().StreamEvents - told)
			note(name+"-join-p50-ratio", busy.p50/idle.p50)
			note(name+"-join-p99-ratio", busy.p99/idle.p99)
			note(name+"-join-p50-ms", busy.p50)
			note(name+"-join-p99-ms", busy.p99)
			note(name+"-alone-p50-ms", idle.p50)
			note(name+"-alone-p99-ms", idle.p99)
			note(name+"-event-to-frame-p50-ms", report.P50)
			note(name+"-event-to-frame-p99-ms", report.P99)
			note(name+"-us-per-frame", max(0, busy.cpu-idle.cpu)*1e6/written)
			for p.hooks.Stats().Streams > 0 {
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
	for name, list := range figures {
		b.ReportMetric(middle(list), name)
	}
	b.ReportMetric(0, "ns/op") // says nothing here
}

func benchTenant(b *testing.B, p *platform, n int) tenant.Created {
	made, err := p.tenants.CreateTenant(b.Context(), tenant.NewTenant{Name: fmt.Sprint("t", n), Email: fmt.Sprintf("t%d@example.com", n), Password: "larks sing at dawn"})
	if err != nil {
		b.Fatal(err)
	}
	return made
}

// joins are what the joins of a while took, and the processor of this process with them.
type joins struct{ p50, p99, cpu float64 } // ms, ms, s

// joinsOf lets clients join and leave, 30 a second, of one tenant after the other.
func joinsOf(b *testing.B, p *platform, tenants []tenant.Created) joins {
	b.Helper()
	var took []float64
	pace := time.NewTicker(time.Second / quietRounds)
	defer pace.Stop()
	began := ownProcessor()
	for end, n := time.Now().Add(measureFor), 0; time.Now().Before(end); n++ {
		<-pace.C
		start := time.Now()
		if err := p.join(b.Context(), tenant.OperatorScope(tenants[n%len(tenants)].Tenant), "room"); err != nil {
			b.Fatal(err)
		}
		took = append(took, float64(time.Since(start).Microseconds())/1000)
	}
	slices.Sort(took)
	return joins{took[len(took)/2], took[len(took)*99/100], ownProcessor() - began}
}

// ownProcessor returns the seconds of processor this process has used.
func ownProcessor() float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}

func memoryInUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// readersEnv makes a run of the test binary a process that reads streams.
const readersEnv = "HIBARI_STREAM_READERS"

// readersWish is what such a process is asked for.
type readersWish struct {
	URL  string
	Keys []string
	N    int
}

// stopReading ends the readers of such a process.
var stopReading atomic.Bool

// readersReport is what it says at its end: how long after an event its frames came.
type readersReport struct{ P50, P99 float64 } // ms

type readers struct {
	process *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
}

func openReaders(b *testing.B, url string, tenants []tenant.Created, n int) *readers {
	b.Helper()
	wish := readersWish{URL: url, N: n}
	for _, made := range tenants {
		wish.Keys = append(wish.Keys, made.APIKey)
	}
	text, err := json.Marshal(wish)
	if err != nil {
		b.Fatal(err)
	}
	r := &readers{process: exec.Command(os.Args[0], "-test.run=^TestReaders$")}
	r.process.Env = append(os.Environ(), readersEnv+"="+string(text))
	r.process.Stderr = os.Stderr
	out, err := r.process.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	r.out = bufio.NewReader(out)
	if r.in, err = r.process.StdinPipe(); err != nil {
		b.Fatal(err)
	}
	if err := r.process.Start(); err != nil {
		b.Fatal(err)
	}
	if line, err := r.out.ReadString('\n'); err != nil || line != "open\n" {
		b.Fatalf("the readers say %q, %v", line, err)
	}
	return r
}

func (r *readers) stop(b *testing.B) (report readersReport) {
	b.Helper()
	r.in.Close()
	if err := json.NewDecoder(r.out).Decode(&report); err != nil {
		b.Fatal(err)
	}
	r.process.Process.Kill()
	r.process.Wait()
	return report
}

// TestReaders is the process that reads streams: it does nothing in an ordinary run.
func TestReaders(t *testing.T) {
	var wish readersWish
	if json.Unmarshal([]byte(os.Getenv(readersEnv)), &wish) != nil {
		return
	}
	var mu sync.Mutex
	var took []float64
	var opening, reading sync.WaitGroup
	gate := make(chan struct{}, 16)
	for n := range wish.N {
		opening.Add(1)
		reading.Go(func() {
			gate <- struct{}{}
			conn, in, err := openRaw(wish.URL, wish.Keys[n%len(wish.Keys)])
			<-gate
			opening.Done()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			own := readRaw(conn, in)
			mu.Lock()
			took = append(took, own...)
			mu.Unlock()
		})
	}
	opening.Wait()
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin) // until we are told to stop
	stopReading.Store(true)
	reading.Wait()
	slices.Sort(took)
	report := readersReport{}
	if len(took) > 0 {
		report = readersReport{took[len(took)/2], took[len(took)*99/100]}
	}
	json.NewEncoder(os.Stdout).Encode(report)
}

// openRaw opens a stream without a library, so that reading it costs little.
func openRaw(url, key string) (net.Conn, *bufio.Reader, error) {
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		return nil, nil, err
	}
	fmt.Fprintf(conn, "GET /stream HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", key)
	in := bufio.NewReaderSize(conn, 32<<10)
	answer, err := http.ReadResponse(in, nil)
	if err == nil && answer.StatusCode != http.StatusSwitchingProtocols {
		err = fmt.Errorf("status %d", answer.StatusCode)
	}
	return conn, in, err
}

// readRaw reads frames until it is told to stop and returns how long after their
// events the first of each piece came, in ms.
func readRaw(conn net.Conn, in *bufio.Reader) (took []float64) {
	stamp := []byte(`"timestamp":"`)
	for {
		conn.SetReadDeadline(time.Now().Add(time.Second))
		fresh := in.Buffered() == 0
		head, err := in.Peek(2)
		if err != nil {
			if stopReading.Load() {
				return took
			}
			if os.IsTimeout(err) {
				continue
			}
			return took
		}
		in.Discard(2)
		length := int(head[1])
		switch length {
		case 126:
			long, err := in.Peek(2)
			if err != nil {
				return took
			}
			length = int(binary.BigEndian.Uint16(long))
			in.Discard(2)
		case 127:
			return took // none is so long here
		}
		if head[0]&0xf == 9 {
			conn.Write([]byte{0x8a, 0x80, 0, 0, 0, 0})
		}
		if fresh {
			payload, _ := in.Peek(min(length, 256))
			if _, rest, ok := bytes.Cut(payload, stamp); ok {
				text, _, _ := bytes.Cut(rest, []byte{'"'})
				if at, err := time.Parse(time.RFC3339Nano, string(text)); err == nil {
					took = append(took, float64(time.Since(at).Microseconds())/1000)
				}
			}
		}
		if _, err := in.Discard(length); err != nil {
			return took
		}
	}
}
