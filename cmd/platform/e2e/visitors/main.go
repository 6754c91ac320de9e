// Command visitors is people who come to a platform's channels and leave them when
// they like, with media that really connects, and who each keep a log of their own
// that owes nothing to the platform: when they asked, when they were told that they
// are in, when they left. TestHour compares it with a bill.
//
// The log goes to standard output, a line of JSON for each visit when it is over. The
// program ends when its standard input does, after the last visitor has left. On the
// address -answer it answers any HTTP request, as soon as nobody is in the door, so that
// who winds its clock can wait for that.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibari/hibari/cmd/platform/load"
)

func main() {
	c := &crowd{}
	flag.StringVar(&c.url, "url", "", "the platform's /signaling, ws or wss")
	flag.StringVar(&c.token, "token", "", "access token for all channels")
	flag.IntVar(&c.channels, "channels", 10, "how many channels there are")
	people := flag.Int("people", 50, "how many come and go at once")
	seed := flag.Uint64("seed", 1, "what their moods come from")
	answer := flag.String("answer", "", "where to answer HTTP requests")
	flag.Parse()
	if err := c.run(*people, *seed, *answer); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// crowd is the people.
type crowd struct {
	// Static.
	url, token string
	channels   int
	visits     *load.Visits

	inDoor atomic.Int64 // who are coming in or going out

	mu  sync.Mutex
	log *json.Encoder // Guarded by mu
}

// run lets people come and go until standard input ends.
func (c *crowd) run(people int, seed uint64, answer string) (err error) {
	c.log = json.NewEncoder(os.Stdout)
	c.visits, err = load.NewVisits(load.Config{Door: enter, Audio: true, Rate: 1, FrameRate: 1, PacketSize: 160})
	if err != nil {
		return err
	}
	defer c.visits.Close()
	failed := make(chan error, 1)
	go func() {
		failed <- http.ListenAndServe(answer, http.HandlerFunc(c.answer))
	}()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	var around sync.WaitGroup
	for i := range people {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		around.Go(func() { c.live(ctx, random) })
	}
	around.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// answer answers when nobody is in the door or, should that take long, all the same:
// there are things in a door that wait for the time.
func (c *crowd) answer(w http.ResponseWriter, _ *http.Request) {
	for range 250 {
		if c.inDoor.Load() == 0 {
			break
		}
		time.Sleep(time.Millisecond) // between two looks
	}
	w.WriteHeader(http.StatusNoContent)
}

// live is one of the people: now in this channel, now in that, until ctx ends.
func (c *crowd) live(ctx context.Context, random *rand.Rand) {
	for wait(ctx, nil, upTo(random, 2*time.Minute)) {
		v := &visit{c: c, told: make(chan struct{}), gone: make(chan struct{})}
		v.Channel = fmt.Sprintf("room-%d", random.IntN(c.channels))
		v.Role = "recvonly"
		if random.IntN(4) == 0 {
			v.Role = "sendonly"
		}
		if err := v.come(ctx); err != nil {
			v.Trouble = err.Error()
		} else {
			wait(ctx, v.gone, mood(random))
		}
		v.leave()
		c.write(v)
	}
}

// mood is how long somebody stays: some look in, most stay for minutes, few for long.
func mood(random *rand.Rand) time.Duration {
	switch random.IntN(4) {
	case 0:
		return upTo(random, 20*time.Second)
	case 1:
		return upTo(random, 15*time.Minute)
	default:
		return upTo(random, 4*time.Minute)
	}
}

func upTo(random *rand.Rand, most time.Duration) time.Duration {
	return time.Duration(random.Int64N(int64(most)))
}

// wait waits for d, or until over is closed, and reports whether ctx lasted.
func wait(ctx context.Context, over <-chan struct{}, d time.Duration) bool {
	select {
	case <-ctx.Done():
	case <-over:
	case <-time.After(d):
	}
	return ctx.Err() == nil
}

func (c *crowd) write(v *visit) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ConnectionID == "" {
		return // nobody let them in: there is nothing to pay for
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.log.Encode(v.Entry) // who reads it is gone
}
