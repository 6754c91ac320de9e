package webhooks

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Schedule is how long to wait before the first try, the second, and so on;
// after the last the delivery is dead.
type Schedule []time.Duration

// Published is the schedule that tenants are promised: 12 tries in about 76 h,
// the early ones close together because our events are about what is live.
var Published = Schedule{
	0, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour,
}

// jitter spreads a step by this share to either side, so that the retries of a
// receiver's outage do not all come back at once.
const jitter = 0.2

// Next returns how long to wait after the failed-th try has failed (1 is the
// first), and false if that was the last. A retryAfter greater than 0 is the
// receiver's wish; it is granted between once and twice the step.
func (s Schedule) Next(failed int, retryAfter time.Duration) (time.Duration, bool) {
	if failed >= len(s) {
		return 0, false
	}
	step := s[failed]
	if retryAfter > 0 {
		return min(max(retryAfter, step), 2*step), true
	}
	return time.Duration(float64(step) * (1 - jitter + 2*jitter*rand.Float64())), true
}

// maxRetryAfter bounds a wish before arithmetic is done with it.
const maxRetryAfter = 30 * 24 * time.Hour

// parseRetryAfter reads a Retry-After header (RFC 9110 §10.2.3): seconds or a
// date. It returns 0 for none, nonsense, or the past.
func parseRetryAfter(text string, now time.Time) time.Duration {
	text = strings.TrimSpace(text)
	if text == "" {
		return 0
	}
	if strings.Trim(text, "0123456789") == "" {
		seconds, err := strconv.ParseInt(text, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}
