package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// unsampled has nothing to sample: the test gives samples by Ended.
type unsampled struct{}

func (unsampled) Readings(list []sfu.Reading, _, _ int) []sfu.Reading { return list }

// figures are what the test reads of connectionStats.
type figures struct {
	At      time.Time
	Seconds float64
	RTT     *float64                         `json:"round_trip_time_ms"`
	In      struct{ Audio, Video *struct{} } `json:"inbound"`
	Out     struct {
		Audio *struct{}
		Video *struct {
			BitRate  int64    `json:"bitrate"`
			Lost     int64    `json:"packets_lost"`
			Fraction *float64 `json:"fraction_lost"`
			Jitter   *float64 `json:"jitter_ms"`
			Frames   int64    `json:"frames_sent"`
			Rate     float64  `json:"frames_per_second"`
		}
	} `json:"outbound"`
	Shown  *struct{ None, R0, R1, R2 int } `json:"layers_received"`
	Client *struct {
		RTT     *float64 `json:"current_round_trip_time_ms"`
		Freezes int64    `json:"freeze_count"`
	}
}

// A connection's statistics as a tenant's server reads them: over time page by page,
// the newest of a channel, and what its client said.
func TestStatistics(t *testing.T) {
	s := newService(t)
	c := s.caller(t, "lark")
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.stats.Run(ctx, unsampled{}, func(id string) string { return id }) })
	defer running.Wait()
	defer cancel()

	id, _ := c.open("hello", tenant.RecvOnly)
	talker, _ := c.open("talk", tenant.SendOnly)
	type series struct {
		Items       []figures
		Next        *string
		DataThrough *time.Time `json:"data_through"`
	}
	var empty series
	c.get("/v1/connections/" + id + "/stats").want(http.StatusOK).into(&empty)
	if len(empty.Items) != 0 || empty.DataThrough != nil {
		t.Errorf("before the first sample there is %+v", empty)
	}
	report := `[{"id":"P","type":"candidate-pair","selected":true,"currentRoundTripTime":0.05},{"id":"I","type":"inbound-rtp","kind":"video","freezeCount":2}]`
	s.stats.Report(c.made.Tenant, id, json.RawMessage(report))
	for i := int64(1); i <= 6; i++ {
		r := sfu.Reading{Tenant: c.made.Tenant, ConnectionID: id, At: time.Now().Add(-time.Duration(6-i) * 10 * time.Second), Connected: time.Duration(10*i) * time.Second,
			RTT: 40 * time.Millisecond, Shown: sfu.LayerCounts{0, 0, 0, 1}}
		r.Out.Video = sfu.Flow{Bytes: 1_250_000 * i, Packets: 1000 * i, Expected: 1000 * i, Lost: 20 * i, Frames: 300 * i, Jitter: 3 * time.Millisecond}
		s.stats.Ended(r)
	}
	var all series
	for deadline := time.Now().Add(20 * time.Second); len(all.Items) < 6 && time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		all = series{}
		c.get("/v1/connections/" + id + "/stats").want(http.StatusOK).into(&all)
	}
	if len(all.Items) != 6 || all.Next != nil || all.DataThrough == nil || !all.DataThrough.Equal(all.Items[5].At) {
		t.Fatalf("there is %+v", all)
	}
	for i, f := range all.Items {
		v := f.Out.Video
		if v == nil || f.Seconds != 10 || v.BitRate != 1_000_000 || v.Lost != 20 || v.Fraction == nil || *v.Fraction != 0.02 || v.Jitter == nil || *v.Jitter != 3 ||
			v.Frames != 300 || v.Rate != 30 || f.RTT == nil || *f.RTT != 40 || f.Shown == nil || f.Shown.R2 != 1 || f.Out.Audio != nil || f.In.Video != nil {
			t.Errorf("interval %d is %+v", i, f)
		}
		if told := f.Client; (told != nil) != (i == 0) || told != nil && (told.Freezes != 2 || told.RTT == nil || *told.RTT != 50) {
			t.Errorf("in interval %d the client reported %+v", i, told)
		}
	}
	var paged []figures
	for next := ""; ; {
		var p series
		c.get("/v1/connections/" + id + "/stats?limit=4&cursor=" + next).want(http.StatusOK).into(&p)
		paged = append(paged, p.Items...)
		if p.Next == nil {
			break
		}
		next = *p.Next
	}
	if len(paged) != 6 || !paged[4].At.Equal(all.Items[4].At) || paged[4].Seconds != 10 {
		t.Errorf("by pages there is %+v", paged)
	}
	for _, query := range []string{"?from=yesterday", "?step=7", "?step=0", "?cursor=x", "?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z"} {
		c.get("/v1/connections/" + id + "/stats" + query).want(http.StatusUnprocessableEntity)
	}
	var channel struct {
		Items []struct {
			ID           string `json:"connection_id"`
			Last, Totals *figures
		}
	}
	c.get("/v1/channels/hello/stats").want(http.StatusOK).into(&channel)
	if len(channel.Items) != 1 || channel.Items[0].ID != id || channel.Items[0].Last == nil || channel.Items[0].Last.Out.Video.Frames != 300 || channel.Items[0].Totals.Out.Video.Frames != 1800 {
		t.Errorf("of the channel there is %+v", channel)
	}
	c.get("/v1/channels/nobody/stats").want(http.StatusNotFound)
	s.stats.Report(c.made.Tenant, talker, json.RawMessage(report))
	var said struct {
		At    *time.Time
		Stats []map[string]any
	}
	c.get("/v1/connections/" + id + "/rtc-stats").want(http.StatusOK).into(&said) // its newest sample ended it
	if said.At != nil || said.Stats == nil {
		t.Errorf("who is not asked any more said %+v", said)
	}
	for deadline := time.Now().Add(20 * time.Second); said.At == nil && time.Now().Before(deadline); <-time.After(100 * time.Millisecond) {
		c.get("/v1/connections/" + talker + "/rtc-stats").want(http.StatusOK).into(&said)
	}
	if said.At == nil || len(said.Stats) != 2 || said.Stats[1]["freezeCount"] != 2.0 {
		t.Errorf("the client said %+v", said)
	}
	c.get("/v1/connections/nobody/rtc-stats").want(http.StatusNotFound)
}
