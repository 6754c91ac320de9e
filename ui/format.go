package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hibari/hibari/internal/tenant"
)

// clock writes a duration as m:ss or h:mm:ss, as live.js does.
func clock(d time.Duration) string {
	s := max(0, int64(d/time.Second))
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// ago writes how long t is past, as live.js does; "in …" when it is to come.
func ago(t, now time.Time) string {
	d := now.Sub(t)
	switch {
	case d < -time.Hour:
		return fmt.Sprintf("in %d h", int(-d/time.Hour))
	case d < -time.Minute:
		return fmt.Sprintf("in %d min", int(-d/time.Minute))
	case d < -10*time.Second:
		return fmt.Sprintf("in %d s", int(-d/time.Second))
	case d < 10*time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d/time.Second))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d/time.Minute))
	case d < 24*time.Hour:
		return fmt.Sprintf("%d h ago", int(d/time.Hour))
	case d < 48*time.Hour:
		return "1 day ago"
	}
	return fmt.Sprintf("%d days ago", int(d/(24*time.Hour)))
}

// whole writes n with a comma at each thousand.
func whole[N ~int | ~int64](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return sign + b.String()
}

// size writes bytes in the unit that leaves at most four digits.
func size(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), 0
	for value >= 999.95 && unit < 5 {
		value, unit = value/1000, unit+1
	}
	return fmt.Sprintf("%.1f %s", value, []string{"B", "kB", "MB", "GB", "TB", "PB"}[unit])
}

// hours writes seconds as hours, minutes and seconds, in words.
func hours(seconds int64) string {
	h, m, s := seconds/3600, seconds/60%60, seconds%60
	switch {
	case h > 0:
		return fmt.Sprintf("%s h %d min", whole(h), m)
	case m > 0:
		return fmt.Sprintf("%d min %d s", m, s)
	}
	return fmt.Sprintf("%d s", s)
}

// plural writes n and its noun.
func plural[N ~int | ~int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return whole(n) + " " + many
}

// titled writes a word with a capital.
func titled(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

// share is part of all as the width of a bar 100 wide.
func share(part, all int) string {
	if all <= 0 {
		return "0"
	}
	return strconv.FormatFloat(min(100, 100*float64(part)/float64(all)), 'f', 1, 64)
}

// shortID is enough of an id to tell it from its neighbours.
func shortID(id string) string {
	prefix, rest, found := strings.Cut(id, "_")
	if !found {
		prefix, rest = "", id
	} else {
		prefix += "_"
	}
	if len(rest) <= 12 {
		return id
	}
	return prefix + rest[:8] + "…"
}

// roleWord says what a connection does.
func roleWord(r tenant.Role) string {
	switch r {
	case tenant.SendOnly:
		return "publishes"
	case tenant.RecvOnly:
		return "watches"
	case tenant.SendRecv:
		return "both ways"
	}
	return string(r)
}

// stamp writes a moment in the tenant's time zone, which it names.
func (v *visit) stamp(t time.Time) string {
	return t.In(v.zone).Format("2006-01-02 15:04:05 MST")
}

// channelPath is the page of a channel; path.Join would undo the escaping.
func channelPath(channel string) string { return "/console/channels/" + url.PathEscape(channel) }

func demoPath(channel string) string { return "/demo/" + url.PathEscape(channel) }

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// indented is JSON for people; what is no JSON is shown as it is.
func indented(document []byte) string {
	var b bytes.Buffer
	if json.Indent(&b, document, "", "  ") != nil {
		return string(document)
	}
	return b.String()
}
