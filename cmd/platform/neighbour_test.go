package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/time/rate"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// BenchmarkNeighbour measures what one tenant feels of another that does all it
// may: its clients knock at the limit of the door and find the licence full, its
// servers call without pause from more callers than have seats, all its streams
// are open, and its webhooks go to a server that never answers. Both are served by
// one process on one Postgres. An iteration is some seconds of the quiet tenant
// alone and as many beside the loud one; a metric is the ratio of the two, the
// median of the iterations, beside the absolute figures.
//
//	go test ./cmd/platform -run '^$' -bench Neighbour -benchtime 5x
func BenchmarkNeighbour(b *testing.B) {
	p, url := newServers(b)
	loud, quiet := newLoud(b, p, url), newQuiet(b, p, url)
	ratios, alone, beside := map[string][]float64{}, map[string][]float64{}, map[string][]float64{}
	for b.Loop() {
		without := quiet.measure(b)
		stop := loud.start(b)
		with := quiet.measure(b)
		stop()
		for name, took := range with {
			ratios[name] = append(ratios[name], took/without[name])
			alone[name], beside[name] = append(alone[name], without[name]), append(beside[name], took)
		}
	}
	for name, list := range ratios {
		b.ReportMetric(middle(list), name+"-ratio")
		b.ReportMetric(middle(alone[name]), name+"-alone-ms")
		b.ReportMetric(middle(beside[name]), name+"-beside-ms")
	}
	b.ReportMetric(0, "ns/op") // says nothing here
}

func middle(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

// measureFor is how long one look at the quiet tenant takes, and quietRounds how
// often a second it does a little of everything: well below what a tenant may.
const (
	measureFor  = 6 * time.Second
	quietRounds = 30
)

// listConnectionsOf calls the API as a tenant's server.
func listConnectionsOf(ctx context.Context, url, key string) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		return 0, err
	}
	r.Header.Set("Authorization", "Bearer "+key)
	r.Header.Set("x-sora-target", "Sora_20151104.ListConnections")
	w, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err
	}
	defer w.Body.Close()
	_, err = io.Copy(io.Discard, w.Body)
	return w.StatusCode, err
}

// quietTenant does a little of everything.
type quietTenant struct {
	p     *platform
	url   string
	made  tenant.Created
	scope tenant.Scope
	hook  string // its endpoint's id
	came  chan struct{}
}

func newQuiet(b *testing.B, p *platform, url string) *quietTenant {
	made, _ := p.made(b, "quiet", "room")
	q := &quietTenant{p: p, url: url, made: made, scope: tenant.OperatorScope(made.Tenant), came: make(chan struct{}, 1)}
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { q.came <- struct{}{} }))
	b.Cleanup(receiver.Close)
	_, endpoint, err := p.hooks.CreateEndpoint(b.Context(), q.scope, receiver.URL, webhooks.Choice{Types: []string{string(tenant.Ping)}})
	if err != nil {
		b.Fatal(err)
	}
	q.hook = endpoint.ID
	return q
}

// join is what a connect costs before media: token, place, event; and its end.
func (p *platform) join(ctx context.Context, scope tenant.Scope, channel string) error {
	token, err := p.tenants.SignToken(ctx, scope, tenant.TokenRequest{Channel: channel})
	if err != nil {
		return err
	}
	claim, channel, err := p.tenants.Verify(ctx, tenant.TokenWish{Token: token, Channel: channel, Role: tenant.RecvOnly})
	if err != nil {
		return err
	}
	o := tenant.Opening{ConnectionID: tenant.NewID(), Tenant: claim.Tenant, Channel: channel, Role: tenant.RecvOnly, ClientID: "c", Protocol: "sora"}
	if _, err := p.ledger.Open(ctx, p.node.ID(), o); err != nil {
		return err
	}
	return p.ledger.Close(ctx, o.ConnectionID, tenant.Ending{Reason: tenant.EndClient})
}

// measure returns the milliseconds at the middle and at the 99th percentile of
// joins, calls and deliveries.
func (q *quietTenant) measure(b *testing.B) map[string]float64 {
	b.Helper()
	took := map[string][]float64{}
	timed := func(name string, f func() error) {
		began := time.Now()
		if err := f(); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		took[name] = append(took[name], float64(time.Since(began).Microseconds())/1000)
	}
	pace := time.NewTicker(time.Second / quietRounds)
	defer pace.Stop()
	for end := time.Now().Add(measureFor); time.Now().Before(end); {
		<-pace.C
		timed("join", func() error { return q.p.join(b.Context(), q.scope, "room") })
		timed("call", func() error {
			status, err := listConnectionsOf(b.Context(), q.url, q.made.APIKey)
			if err == nil && status != http.StatusOK {
				b.Fatalf("the quiet tenant's call: status %d", status)
			}
			return err
		})
		timed("delivery", func() error {
			if _, err := q.p.hooks.SendTest(b.Context(), q.scope, q.hook); err != nil {
				return err
			}
			<-q.came
			return nil
		})
	}
	figures := map[string]float64{}
	for name, list := range took {
		slices.Sort(list)
		figures[name+"-p50"], figures[name+"-p99"] = list[len(list)/2], list[len(list)*99/100]
	}
	return figures
}

// loudTenant does all it may.
type loudTenant struct {
	p     *platform
	url   string
	made  tenant.Created
	scope tenant.Scope
	hooks []string // endpoints that hang
}

func newLoud(b *testing.B, p *platform, url string) *loudTenant {
	made, _ := p.made(b, "loud", "room")
	l := &loudTenant{p: p, url: url, made: made, scope: tenant.OperatorScope(made.Tenant)}
	hanging := make(chan struct{})
	receiver := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hanging }))
	b.Cleanup(func() { close(hanging); receiver.Close() })
	for range 8 {
		_, endpoint, err := p.hooks.CreateEndpoint(b.Context(), l.scope, receiver.URL, webhooks.Choice{})
		if err != nil {
			b.Fatal(err)
		}
		l.hooks = append(l.hooks, endpoint.ID)
	}
	for range 100 { // a full house, to be listed
		o := tenant.Opening{ConnectionID: tenant.NewID(), Tenant: made.Tenant, Channel: "room", Role: tenant.RecvOnly, ClientID: "c", Protocol: "sora"}
		if _, err := p.ledger.Open(b.Context(), p.node.ID(), o); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.ledger.SetLicence(b.Context(), l.scope, 101, 101); err != nil {
		b.Fatal(err)
	}
	return l
}

// start makes noise until stop returns.
func (l *loudTenant) start(b *testing.B) (stop func()) {
	ctx, cancel := context.WithCancel(b.Context())
	refused := l.p.paces.Refused()
	var all sync.WaitGroup
	knocks := rate.NewLimiter(100, 1) // as signaling.Limits.ConnectRate, its burst used up
	for range 64 {
		all.Go(func() {
			for knocks.Wait(ctx) == nil {
				o := tenant.Opening{ConnectionID: tenant.NewID(), Tenant: l.made.Tenant, Channel: "room", Role: tenant.RecvOnly, ClientID: "c", Protocol: "sora"}
				if _, err := l.p.ledger.Open(ctx, l.p.node.ID(), o); err != nil {
					l.p.ledger.Reject(ctx, o, tenant.Refuse(tenant.TenantFull, "full"))
				}
			}
		})
	}
	for range 32 {
		all.Go(func() {
			for ctx.Err() == nil {
				if status, _ := listConnectionsOf(ctx, l.url, l.made.APIKey); status == http.StatusTooManyRequests {
					time.Sleep(100 * time.Millisecond) // a server that minds Retry-After a little
				}
			}
		})
		all.Go(func() {
			conn, _, err := websocket.Dial(ctx, l.url+"/stream", &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + l.made.APIKey}}})
			if err != nil {
				return
			}
			defer conn.CloseNow()
			for {
				if _, _, err := conn.Read(ctx); err != nil {
					return
				}
			}
		})
	}
	for l.p.paces.Refused() == refused { // until it is at its limits
		time.Sleep(10 * time.Millisecond)
	}
	return func() {
		cancel()
		all.Wait()
	}
}
