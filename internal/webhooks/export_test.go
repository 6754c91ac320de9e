package webhooks

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// PlainPost is what somebody would write who has an event and a URL, and no database:
// the loop that benchmarks stand beside.
func PlainPost(ctx context.Context, client *http.Client, to, secret string, e tenant.Event) error {
	body, err := envelope(e)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	if err := sign(r.Header, []string{secret}, e.ID, time.Now(), body); err != nil {
		return err
	}
	answer, err := client.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// ParseRetryAfter lets the external fuzz test reach a parser of outside bytes.
var ParseRetryAfter = parseRetryAfter

// Harmless and StorableValue let the external fuzz test compare them.
var (
	Harmless      = harmless
	StorableValue = storableValue
)

// ClassOf and WordsOf are what is said of a failed request.
func ClassOf(err error) ErrorClass { return new(Egress).explain(err).class }
func WordsOf(err error) string     { return new(Egress).explain(err).words }

// ReadStreamQuery lets the external fuzz test reach the parameters of /stream.
func ReadStreamQuery(values url.Values) (after int64, filter Filter, err error) {
	q, err := readStreamQuery(values)
	return q.after, q.filter, err
}

// Circuit lets the property test drive one.
type Circuit struct{ circuit }

func (c *Circuit) Admit(now time.Time) bool { return c.admit(now) }
func (c *Circuit) Settle(now time.Time, asked, turn int64, failed bool) bool {
	return c.settle(now, asked, turn, failed)
}
func (c *Circuit) Open() bool { return c.open }

// CircuitFailures and CircuitProbe are a circuit's bounds.
const (
	CircuitFailures = circuitFailures
	CircuitProbe    = circuitProbe
)

// AnswerHead is what the log keeps of an answer.
var AnswerHead = answerHead

// DelayBucket and Quantiles let the external tests compare what is counted with the
// truth.
var DelayBucket = delayBucket

// Quantiles returns p50, p95 and p99 of delays, by way of their buckets.
func Quantiles(delays []time.Duration) [3]time.Duration {
	var p Point
	for _, d := range delays {
		p.delays[delayBucket(d)]++
		p.Delivered++
		p.Slowest = max(p.Slowest, d)
	}
	p.settle()
	return [3]time.Duration{p.P50, p.P95, p.P99}
}
