// Follow a tenant's events and lose none, whatever restarts: yours or ours.
//
//	HIBARI_URL=http://localhost:8080 HIBARI_API_KEY=hib_live_… go run . position.txt
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// event is an event of the envelope, or a frame of the stream's own.
type event struct {
	ID, Type     string
	Seq          int64
	AfterSeconds float64 `json:"after_seconds"`
}

func main() {
	file := os.Args[1]
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		began := time.Now()
		err := follow(file)
		switch websocket.CloseStatus(err) {
		case websocket.StatusPolicyViolation: // another key, or a position that is not ours: nothing gets better by itself
			log.Fatal(err)
		case 4410: // away for more than a day: the REST API still has it
			err = catchUp(file)
		}
		if err != nil {
			log.Print(err)
		}
		if err == nil || time.Since(began) > time.Minute {
			wait = time.Second
		}
		time.Sleep(rand.N(wait)) // not all of your servers at the same moment
	}
}

// follow handles what the stream tells until it ends. It returns nil if the stream
// should just be opened again.
func follow(file string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	conn, _, err := websocket.Dial(ctx, os.Getenv("HIBARI_URL")+"/stream?after="+position(file), &websocket.DialOptions{HTTPHeader: bearer()})
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(1 << 20)
	for {
		// A heartbeat comes every 15 seconds: without two of them the line is dead.
		reading, done := context.WithTimeout(ctx, 40*time.Second)
		_, text, err := conn.Read(reading)
		done()
		if err != nil {
			return err
		}
		var e event
		if err := json.Unmarshal(text, &e); err != nil {
			return err
		}
		switch e.Type {
		case "hello", "heartbeat": // where we stand: everything up to here has been told
			save(file, e.Seq)
		case "reconnect":
			time.Sleep(time.Duration(e.AfterSeconds * float64(time.Second)))
			return nil // what comes meanwhile comes again, after our position
		default:
			handle(e, text)
			save(file, e.Seq)
		}
	}
}

// catchUp handles what is older than the stream goes back.
func catchUp(file string) error {
	for next := new(position(file)); next != nil; {
		r, err := http.NewRequest("GET", os.Getenv("HIBARI_URL")+"/v1/events?limit=1000&after="+*next, nil)
		if err != nil {
			return err
		}
		r.Header = bearer()
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		var page struct {
			Items []json.RawMessage
			Next  *string
		}
		err = json.NewDecoder(answer.Body).Decode(&page)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			return fmt.Errorf("GET /v1/events: %s, %v", answer.Status, err)
		}
		for _, text := range page.Items {
			var e event
			if err := json.Unmarshal(text, &e); err != nil {
				return err
			}
			handle(e, text)
			save(file, e.Seq)
		}
		next = page.Next
	}
	return nil
}

// handle is yours. It may see an event again if it dies before its position is
// saved: save both in one transaction of your database, or drop what you have by id.
func handle(e event, text []byte) { fmt.Println(string(text)) }

// position is the last seq that was handled; "" begins with what happens from now on.
func position(file string) string {
	text, _ := os.ReadFile(file)
	return strings.TrimSpace(string(text))
}

// save replaces the file at once, so that it is never half written.
func save(file string, seq int64) {
	if err := os.WriteFile(file+".new", []byte(strconv.FormatInt(seq, 10)), 0o600); err != nil {
		log.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		log.Fatal(err)
	}
}

func bearer() http.Header {
	return http.Header{"Authorization": {"Bearer " + os.Getenv("HIBARI_API_KEY")}}
}
