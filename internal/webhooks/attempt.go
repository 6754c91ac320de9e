package webhooks

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	attemptTimeout = 15 * time.Second // from dialling to the end of the answer
	answerKept     = 4 << 10          // bytes of the answer shown in the console
	userAgent      = "Hibari-Webhooks/1"
)

// outcome is what came of one attempt.
type outcome struct {
	status     int        // 0: no answer
	problem    string     // "": delivered
	class      ErrorClass // of the problem
	answer     []byte     // the first answerKept bytes of its body
	retryAfter time.Duration
	took       time.Duration
	seen       seen      // what the endpoint's watch made of it
	exchange   *Exchange // what went over the wire; nil: no request was made
}

func (o outcome) delivered() bool { return o.problem == "" }

// gone reports that the receiver asks never to be called again.
func (o outcome) gone() bool { return o.status == http.StatusGone }

// runAttempts sends a delivery that has a slot, and then whichever the slot goes to
// next; what came of it is recorded later, so that the receiver need not wait for our
// database.
func (w *Webhooks) runAttempts(ctx context.Context, j job) {
	for ok := true; ok; j, ok = w.lanes.next(time.Now()) {
		if j.refill {
			w.toClaim.ring()
		}
		began := time.Now()
		o := w.post(ctx, j)
		o.took = time.Since(began)
		// What we stopped ourselves does not count.
		counts := ctx.Err() == nil || o.delivered()
		w.lanes.done(j, o, counts)
		if counts {
			o.seen = w.watched.see(j, o)
			w.results.add(result{job: j, outcome: o})
		}
	}
}

// post makes the signed request.
func (w *Webhooks) post(ctx context.Context, j job) outcome {
	ctx, clock := watch(ctx)
	r, err := w.request(ctx, j)
	if err != nil {
		w.log.Error("webhook request not made", "delivery", j.id, "error", err)
		return failed(failure{class: FailedInternal, words: "we could not prepare the request; our operators can see why"})
	}
	answer, err := w.client.Do(r)
	if err != nil {
		o := failed(w.egress.explain(err))
		o.exchange = clock.stop()
		o.exchange.Sent = sentHead(r)
		return o
	}
	defer answer.Body.Close()
	o := outcome{status: answer.StatusCode}
	var rest int64
	if o.answer, err = io.ReadAll(io.LimitReader(answer.Body, answerKept)); err == nil {
		rest, err = io.Copy(io.Discard, answer.Body)
	}
	o.exchange = clock.stop()
	o.exchange.Sent, o.exchange.Protocol, o.exchange.AnswerBytes = sentHead(r), answer.Proto, int64(len(o.answer))+rest
	o.exchange.Answer, o.exchange.AnswerCut = shownHead(answer.Header, answerHeadKept)
	switch bad := judge(o.status); {
	case bad != nil:
		o.problem, o.class = bad.words, bad.class
		if bad.class == FailedHTTPStatus {
			o.retryAfter = parseRetryAfter(answer.Header.Get("Retry-After"), time.Now())
		}
	case err != nil: // an answer that is endless, too slow or broken off is none
		f := w.egress.explain(err)
		o.problem, o.class = f.words, f.class
	}
	return o
}

func failed(f failure) outcome { return outcome{problem: f.words, class: f.class} }

func (w *Webhooks) request(ctx context.Context, j job) (*http.Request, error) {
	_, body, err := Posted(j.event)
	if err != nil {
		return nil, err
	}
	secrets, err := w.secretsOf(j)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, j.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("couldn't make a request to %s: %w", j.endpoint, err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", userAgent)
	r.Header.Set("webhook-attempt", strconv.Itoa(j.attempt()))
	// Lets net/http repeat the request when a kept connection turns out to be
	// closed; a header without values is not sent. Receivers go by webhook-id.
	r.Header["Idempotency-Key"] = nil
	if j.replay > 0 {
		r.Header.Set("webhook-replay", "true")
	}
	return r, sign(r.Header, secrets, j.event.ID, time.Now(), body)
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'g', 3, 64) + " s" }
