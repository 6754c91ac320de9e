package load

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// usage is what the server has used; nothing if its process is not known.
func (r *run) usage() (usage, error) {
	if r.PID == 0 {
		return usage{}, nil
	}
	return processUsage(r.PID)
}

// ProcessCPU is what a process of this machine has used, on Linux.
func ProcessCPU(pid int) (time.Duration, error) {
	u, err := processUsage(pid)
	return u.cpu, err
}

// ownCPU is what the load tool itself has used; 0 where that is not known.
func ownCPU() time.Duration {
	u, err := processUsage(os.Getpid())
	if err != nil {
		return 0
	}
	return u.cpu
}

// serverSent is the server's own count of what it sent and what it dropped.
type serverSent struct {
	packets, trains, calls float64
	drops                  map[string]float64 // by reason
}

func (s serverSent) since(before serverSent) serverSent {
	out := serverSent{s.packets - before.packets, s.trains - before.trains, s.calls - before.calls, map[string]float64{}}
	for reason, n := range s.drops {
		if n -= before.drops[reason]; n > 0 {
			out.drops[reason] = n
		}
	}
	return out
}

// serverSent asks the server's /metrics; zeros if it has none.
func (r *run) serverSent(ctx context.Context) (serverSent, error) {
	s := serverSent{drops: map[string]float64{}}
	if r.Metrics == "" {
		return s, nil
	}
	all, err := scrape(ctx, r.Metrics)
	if err != nil {
		return s, err
	}
	s.packets, s.trains, s.calls = all["hibari_rtp_packets_sent_total"], all["hibari_rtp_trains_total"], all["hibari_send_calls_total"]
	for name, n := range all {
		for _, kind := range []string{"hibari_rtp_packets_dropped_total", "hibari_datagrams_dropped_total"} {
			if reason, ok := strings.CutPrefix(name, kind+`{reason="`); ok {
				s.drops[strings.TrimSuffix(reason, `"}`)] += n
			}
		}
	}
	return s, nil
}

// scrape reads Prometheus metrics in their text form, by name with labels.
func scrape(ctx context.Context, url string) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("couldn't read the server's metrics: %w", err)
	}
	defer response.Body.Close()
	all := map[string]float64{}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, ok := cutLast(lines.Text(), " ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		if all[name], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, fmt.Errorf("couldn't read the server's metrics: %w", err)
		}
	}
	return all, lines.Err()
}

// cutLast cuts around the last separator: a label's value may have spaces.
func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}
