package ui

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// authRange is a choice of the page's drawings.
type authRange struct {
	key, name string
	span      time.Duration
	parts     int // of the drawings
}

var authRanges = []authRange{
	{"1h", "1 hour", time.Hour, 60}, {"24h", "24 hours", 24 * time.Hour, 48},
	{"7d", "7 days", 7 * 24 * time.Hour, 42}, {"14d", "14 days", 14 * 24 * time.Hour, 56},
}

// authData is the page of the auth webhook: how it does, and what it was asked.
type authData struct {
	url      string // "": nobody is asked
	dead     bool   // this process takes it for dead
	chosen   authRange
	whole    webhooks.AuthSpan
	cut      bool // there were more than are looked at
	bars     authBars
	latency  plot
	query    webhooks.AuthQuery
	attempts []webhooks.AuthAttempt
	next     string // where the list goes on; "": nowhere
}

const authPageSize = 50

var authDecisions = []option{
	{"", "All"}, {"allowed", "Let in"}, {"rejected", "Rejected"}, {"timeout", "No answer in time"}, {"unavailable", "Out of reach"},
	{"bad_response", "Senseless answer"}, {"breaker_open", "Not asked"},
}

// decisionWord says what came of a question.
func decisionWord(d webhooks.AuthDecision) string {
	for _, o := range authDecisions {
		if o.Value == string(d) {
			return strings.ToLower(o.Name)
		}
	}
	return string(d)
}

func decisionBadge(d webhooks.AuthDecision) string {
	switch d {
	case webhooks.AuthAllowed:
		return "good"
	case webhooks.AuthSaidNo:
		return "warn"
	}
	return "bad"
}

// auth shows the page.
func (c *Console) auth(w http.ResponseWriter, r *http.Request, v *visit) error {
	ctx, scope, q := r.Context(), v.login.Scope, r.URL.Query()
	set, err := c.Tenants.Settings(ctx, scope)
	if err != nil {
		return err
	}
	d := authData{url: set.AuthURL, dead: c.Hooks.AuthTaken(scope), chosen: authRanges[1], query: webhooks.AuthQuery{
		Decision: webhooks.AuthDecision(q.Get("decision")), Channel: strings.TrimSpace(q.Get("channel")), ClientID: strings.TrimSpace(q.Get("client")),
		ConnectionID: strings.TrimSpace(q.Get("connection")), Before: q.Get("before"), Limit: authPageSize + 1}}
	for _, choice := range authRanges {
		if choice.key == q.Get("range") {
			d.chosen = choice
		}
	}
	d.attempts, err = c.Hooks.AuthAttempts(ctx, scope, d.query)
	if field := (*tenant.FieldError)(nil); errors.As(err, &field) { // a link that was cut short
		return tenant.ErrNotFound
	}
	if err != nil {
		return err
	}
	if len(d.attempts) > authPageSize {
		d.attempts = d.attempts[:authPageSize]
		d.next = d.attempts[authPageSize-1].AuthPlace()
	}
	until := v.now.Add(time.Second)
	var spans []webhooks.AuthSpan
	if d.whole, spans, d.cut, err = c.Hooks.AuthSummary(ctx, scope, until.Add(-d.chosen.span), until, d.chosen.parts); err != nil {
		return err
	}
	d.draw(v, spans, until)
	return v.page(w, r, http.StatusOK, authPage(v, d))
}

func (d authData) filtered() bool {
	return d.query.Decision != "" || d.query.Channel != "" || d.query.ClientID != "" || d.query.ConnectionID != "" || d.query.Before != ""
}

// at is the path of the page with another range, or further down the list.
func (d authData) at(span, before string) string {
	values := url.Values{"range": {span}}
	for name, value := range map[string]string{"decision": string(d.query.Decision), "channel": d.query.Channel, "client": d.query.ClientID,
		"connection": d.query.ConnectionID, "before": before} {
		if value != "" {
			values.Set(name, value)
		}
	}
	return "/console/auth?" + values.Encode()
}

// authBars is what came of questions over time, as a drawing.
type authBars struct {
	lines []chartLine
	ticks []chartTick
	bars  []authBar
}

type authBar struct {
	slotX, slotWidth float64
	x, width         float64
	parts            []authPart // from the bottom up
	title            string
}

type authPart struct {
	class     string
	y, height float64
}

func (d *authData) draw(v *visit, spans []webhooks.AuthSpan, until time.Time) {
	most := int64(1)
	slowest := 10.0
	for _, s := range spans {
		most = max(most, s.Count())
		slowest = max(slowest, s.P99)
	}
	step := niceStep(most)
	top := step * max(1, (most+step-1)/step)
	for at := int64(0); at <= top; at += step {
		d.bars.lines = append(d.bars.lines, chartLine{chartBottom - (chartBottom-chartTop)*float64(at)/float64(top), whole(at)})
	}
	format := "15:04"
	if d.chosen.span > 48*time.Hour {
		format = "2 Jan"
	}
	slot := (chartRight - chartLeft) / float64(len(spans))
	for part := 0; part <= 4; part++ {
		at := until.Add(-d.chosen.span * time.Duration(4-part) / 4)
		d.bars.ticks = append(d.bars.ticks, chartTick{chartLeft + (chartRight-chartLeft)*float64(part)/4, at.In(v.zone).Format(format)})
		d.latency.ticks = append(d.latency.ticks, chartTick{plotLeft + (plotRight-plotLeft-6)*float64(part)/4, at.In(v.zone).Format(format)}) // the last label has to fit
	}
	for i, s := range spans {
		b := authBar{slotX: chartLeft + slot*float64(i), slotWidth: slot, width: max(1, slot*0.72)}
		b.x = b.slotX + (slot-b.width)/2
		b.title = fmt.Sprintf("%s: %s let in, %s rejected, %s failed", v.stamp(s.From), whole(s.Decisions[webhooks.AuthAllowed]), whole(s.Decisions[webhooks.AuthSaidNo]), whole(s.Failed()))
		y := chartBottom
		for _, p := range []struct {
			class string
			n     int64
		}{{"allowed", s.Decisions[webhooks.AuthAllowed]}, {"rejected", s.Decisions[webhooks.AuthSaidNo]}, {"failed", s.Failed()}} {
			if height := (chartBottom - chartTop) * float64(p.n) / float64(top); height > 0 {
				y -= height
				b.parts = append(b.parts, authPart{"part-" + p.class, y, height})
			}
		}
		d.bars.bars = append(d.bars.bars, b)
	}
	d.drawLatency(spans, niceTop(slowest))
}

// drawLatency draws the percentiles, with a gap where nobody was asked.
func (d *authData) drawLatency(spans []webhooks.AuthSpan, top float64) {
	d.latency.title, d.latency.empty = "Time to the answer", true
	y := func(value float64) float64 { return plotBottom - (plotBottom-plotTop)*min(value/top, 1) }
	for _, at := range []float64{0, top / 2, top} {
		d.latency.lines = append(d.latency.lines, chartLine{y(at), milliseconds(at)})
	}
	for _, p := range []struct {
		name  string
		all   float64
		value func(webhooks.AuthSpan) float64
	}{
		{"p50", d.whole.P50, func(s webhooks.AuthSpan) float64 { return s.P50 }},
		{"p95", d.whole.P95, func(s webhooks.AuthSpan) float64 { return s.P95 }},
		{"p99", d.whole.P99, func(s webhooks.AuthSpan) float64 { return s.P99 }},
	} {
		line := plotSeries{name: p.name, newest: milliseconds(p.all)}
		var path strings.Builder
		var run []plotDot
		end := func() {
			if len(run) == 1 {
				line.dots = append(line.dots, run[0])
			}
			for i, dot := range run {
				if len(run) > 1 {
					fmt.Fprintf(&path, "%c%s %s", "ML"[min(i, 1)], pixels(dot.x), pixels(dot.y))
				}
			}
			run = nil
		}
		for i, s := range spans {
			if s.Count() == s.Decisions[webhooks.AuthBreakerOpen] {
				end()
				continue
			}
			d.latency.empty = false
			run = append(run, plotDot{plotLeft + (plotRight-plotLeft)*(float64(i)+0.5)/float64(len(spans)), y(p.value(s))})
		}
		end()
		line.path = path.String()
		d.latency.series = append(d.latency.series, line)
	}
}

// milliseconds writes a time to the answer.
func milliseconds(ms float64) string {
	if ms >= 1000 {
		return strconv.FormatFloat(ms/1000, 'f', 1, 64) + " s"
	}
	return strconv.FormatFloat(ms, 'f', 0, 64) + " ms"
}

// authAttempt shows one question.
func (c *Console) authAttempt(w http.ResponseWriter, r *http.Request, v *visit) error {
	a, err := c.Hooks.AuthAttempt(r.Context(), v.login.Scope, param(r, "attempt"))
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, authAttemptPage(v, webhooks.AuthTrial{AuthAttempt: a}))
}

// testAuth asks a test question, and shows what would come of the answer.
func (c *Console) testAuth(w http.ResponseWriter, r *http.Request, v *visit) error {
	hook, err := c.Tenants.AuthWebhook(r.Context(), v.login.Scope)
	if err != nil {
		return err
	}
	trial, err := c.Hooks.AskTest(r.Context(), v.login.Scope, hook)
	if err != nil {
		return err
	}
	return v.page(w, r, http.StatusOK, authAttemptPage(v, trial))
}

// grantText is what a test question would grant, for people; "": nothing is set.
func grantText(grant json.RawMessage) string {
	if string(grant) == "{}" {
		return ""
	}
	return indented(grant)
}

// authTitle names a question.
func authTitle(a webhooks.AuthTrial) string {
	if a.Test {
		return "Test question"
	}
	return "Question about " + a.ClientID
}
