package webhooks

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

const (
	attemptTimeout = 15 * time.Second // from dialling to the end of the answer
	answerKept     = 4 << 10          // bytes of the answer shown in the console
	userAgent      = "Hibari-Webhooks/1"
)

// outcome is what came of one attempt.
type outcome struct {
	status     int    // 0: no answer
	problem    string // "": delivered
	answer     []byte // the first answerKept bytes of its body
	retryAfter time.Duration
	took       time.Duration
}

func (o outcome) delivered() bool { return o.problem == "" }

// gone reports that the receiver asks never to be called again.
func (o outcome) gone() bool { return o.status == http.StatusGone }

// runAttempt sends one claimed delivery and records what came of it.
func (w *Webhooks) runAttempt(ctx context.Context, j job) {
	began := time.Now()
	o := w.post(ctx, j)
	o.took = time.Since(began)
	if ctx.Err() != nil && !o.delivered() {
		w.giveBack(ctx, j) // we stopped it ourselves: it does not count
		return
	}
	w.finish(ctx, j, o)
}

// post makes the signed request.
func (w *Webhooks) post(ctx context.Context, j job) outcome {
	r, err := w.request(ctx, j)
	if err != nil {
		w.log.Error("webhook request not made", "delivery", j.id, "error", err)
		return outcome{problem: "we could not prepare the request; our operators can see why"}
	}
	answer, err := w.client.Do(r)
	if err != nil {
		return outcome{problem: explain(err)}
	}
	defer answer.Body.Close()
	o := outcome{status: answer.StatusCode}
	o.answer, err = io.ReadAll(io.LimitReader(answer.Body, answerKept))
	switch {
	case o.status/100 == 3:
		o.problem = fmt.Sprintf("answered %s: redirects are not followed", statusText(o.status))
	case o.status/100 != 2:
		o.problem = "answered " + statusText(o.status)
		o.retryAfter = parseRetryAfter(answer.Header.Get("Retry-After"), time.Now())
	case err != nil && isTimeout(err):
		o.problem = explain(err)
	}
	return o
}

func (w *Webhooks) request(ctx context.Context, j job) (*http.Request, error) {
	body, err := envelope(j.event)
	if err != nil {
		return nil, err
	}
	secret, err := w.sealer.Open(j.sealed)
	if err != nil {
		return nil, fmt.Errorf("couldn't open the secret of %s: %w", j.endpoint, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, j.url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("couldn't make a request to %s: %w", j.endpoint, err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("User-Agent", userAgent)
	r.Header.Set("webhook-attempt", strconv.Itoa(j.attempt))
	// Lets net/http repeat the request when a kept connection turns out to be
	// closed; a header without values is not sent. Receivers go by webhook-id.
	r.Header["Idempotency-Key"] = nil
	if j.replay > 0 {
		r.Header.Set("webhook-replay", "true")
	}
	return r, sign(r.Header, string(secret), j.event.ID, time.Now(), body)
}

func statusText(status int) string {
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout()
}

// explain says in the words of the person who reads the console why there was
// no answer. It tells nothing about our network but the address refused.
func explain(err error) string {
	var (
		address *AddressError
		field   *tenant.FieldError
		dns     *net.DNSError
		dial    *net.OpError
		verify  *tls.CertificateVerificationError
		host    x509.HostnameError
		record  tls.RecordHeaderError
		inner   *url.Error
	)
	switch {
	case errors.As(err, &address):
		return address.Error()
	case errors.As(err, &field):
		return field.Problem
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("the host name %s does not exist", dns.Name)
	case errors.As(err, &dns):
		return fmt.Sprintf("the host name %s could not be looked up", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "host unreachable"
	case isTimeout(err) && errors.As(err, &dial) && dial.Op == "dial":
		return "no connection after " + seconds(dialTimeout)
	case isTimeout(err):
		return "timed out after " + seconds(attemptTimeout)
	case errors.As(err, &host):
		return "TLS certificate is not for this host name"
	case errors.As(err, &verify):
		return "TLS certificate not trusted: " + verify.Err.Error()
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "the server does not speak TLS on this port"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed without an answer"
	case strings.Contains(err.Error(), "response headers exceeded"): // net/http has no sentinel for it
		return "the header of the answer is longer than 64 KiB"
	case errors.As(err, &inner):
		return inner.Err.Error()
	}
	return err.Error()
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) + " s" }
