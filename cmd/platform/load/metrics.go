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

// ownCPU is what the load tool itself has used; 0 where that is not known.
func ownCPU() time.Duration {
	u, err := processUsage(os.Getpid())
	if err != nil {
		return 0
	}
	return u.cpu
}

// trains is the server's own count of what it sent.
type trains struct {
	packets, trains float64
}

func (t trains) since(before trains) trains {
	return trains{t.packets - before.packets, t.trains - before.trains}
}

// trains asks the server's /metrics; zeros if it has none.
func (r *run) trains(ctx context.Context) (trains, error) {
	var t trains
	if r.Metrics == "" {
		return t, nil
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Metrics, nil)
	if err != nil {
		return t, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return t, fmt.Errorf("couldn't read the server's metrics: %w", err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "hibari_rtp_packets_sent_total":
			t.packets, err = strconv.ParseFloat(value, 64)
		case "hibari_rtp_trains_total":
			t.trains, err = strconv.ParseFloat(value, 64)
		}
		if err != nil {
			return t, fmt.Errorf("couldn't read the server's metrics: %w", err)
		}
	}
	return t, lines.Err()
}
