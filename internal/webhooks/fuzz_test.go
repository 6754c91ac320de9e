package webhooks_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/webhooks"
)

func FuzzParseAfter(f *testing.F) {
	for _, s := range []string{"", "0", "12", "-1", "+1", "1e3", "9223372036854775807", "9223372036854775808", " 1", "１"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		seq, err := webhooks.ParseAfter(text)
		switch {
		case err != nil && seq != 0:
			t.Errorf("%q: %d with an error", text, seq)
		case err == nil && text == "" && seq != webhooks.FromNow:
			t.Errorf("nothing is %d", seq)
		case err == nil && text != "":
			if again, err := webhooks.ParseAfter(strconv.FormatInt(seq, 10)); err != nil || again != seq || seq < 0 {
				t.Errorf("%q is %d, which is %d, %v", text, seq, again, err)
			}
		}
	})
}

// Whatever the parameters of a stream are, they are refused or mean what they say.
func FuzzStreamQuery(f *testing.F) {
	for _, s := range []string{"", "after=3&types=ping,channel.started&types=ping", "after=-1", "types=,,", "types=x", "format=sora2015&channel_id=a%00b",
		"after=1&after=x", "connection_id=" + strings.Repeat("C", 300), "types=%ff", ";;&&=&=", "AFTER=1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, _ := url.ParseQuery(query) // as net/http does: what can be read
		after, filter, err := webhooks.ReadStreamQuery(values)
		if err != nil {
			if len(err.Error()) > 300 {
				t.Errorf("a refusal of %d bytes", len(err.Error()))
			}
			return
		}
		if after < webhooks.FromNow || after == webhooks.FromNow && values.Get("after") != "" {
			t.Errorf("%q begins at %d", query, after)
		}
		if filter.Channel != values.Get("channel_id") || filter.Connection != values.Get("connection_id") || len(filter.Types) > len(webhooks.Types) {
			t.Errorf("%q is %+v", query, filter)
		}
		for _, name := range filter.Types {
			if !slices.Contains(webhooks.Types, name) {
				t.Errorf("%q asks for %q", query, name)
			}
		}
	})
}

// What is taken for harmless is what would not be changed if it were looked at closely.
func FuzzHarmless(f *testing.F) {
	for _, s := range []string{`{}`, `{"a":"\u0000"}`, `{"a":1e400}`, `{"a":[1.5e400,-0,0.1]}`, `{"e5":"5e"}`, `{"a":"\\u0000"}`,
		`{"a":123456789012345678901234567890}`, "{\"a\":\"\xff\"}", `{"a":"日本"}`, `"\ud800"`, `{"\u0000":1}`} {
		f.Add([]byte(s))
	}
	read := func(data []byte) any {
		decoder := json.NewDecoder(bytes.NewReader(data))
		decoder.UseNumber()
		var value any
		if decoder.Decode(&value) != nil {
			return nil
		}
		return value
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !webhooks.Harmless(data) || !json.Valid(data) {
			return
		}
		if cleaned := webhooks.StorableValue(read(data)); !reflect.DeepEqual(cleaned, read(data)) {
			t.Errorf("%q would become %v", data, cleaned)
		}
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "0", "120", "-5", "99999999999999999999", "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 21 Oct 1926 07:28:00 GMT", "soon"} {
		f.Add(s)
	}
	now := time.Date(2026, 10, 21, 7, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		if wait := webhooks.ParseRetryAfter(text, now); wait < 0 || wait > 30*24*time.Hour {
			t.Errorf("%q is %v", text, wait)
		}
	})
}

func TestRetryAfterValues(t *testing.T) {
	now := time.Date(2026, 10, 21, 7, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"120": 2 * time.Minute, " 7 ": 7 * time.Second, "Wed, 21 Oct 2026 07:28:00 GMT": 28 * time.Minute,
		"Wed, 21 Oct 1926 07:28:00 GMT": 0, "soon": 0, "": 0, "-1": 0,
	} {
		if got := webhooks.ParseRetryAfter(text, now); got != want {
			t.Errorf("%q is %v, want %v", text, got, want)
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, address := range append(append([]string{}, forbidden...), allowed...) {
		f.Add(literal(address))
	}
	for _, s := range []string{"https://example.com:99999/", "http://[::ffff:7f00:1]:80/", "https://a@b@c/", "https://%31%32%37.0.0.1/", "https://0x7f.1/", "https://ex\x00ample/"} {
		f.Add(s)
	}
	production := webhooks.Egress{Production: true}
	f.Fuzz(func(t *testing.T, text string) {
		if production.CheckURL(text) != nil {
			return
		}
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "https" || u.User != nil || u.Hostname() == "" || (u.Port() != "" && u.Port() != "443" && u.Port() != "80") {
			// A port may have leading zeros.
			if n, numErr := strconv.Atoi(u.Port()); err != nil || numErr != nil || n != 443 && n != 80 {
				t.Fatalf("%q passed", text)
			}
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
			addr = addr.Unmap()
			if addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast() || addr.IsMulticast() || addr.IsUnspecified() || addr.Zone() != "" {
				t.Fatalf("%q passed", text)
			}
		}
	})
}

func TestScheduleProperties(t *testing.T) {
	total := time.Duration(0)
	for _, step := range webhooks.Published {
		total += step
	}
	if len(webhooks.Published) != 12 || total < 75*time.Hour || total > 77*time.Hour {
		t.Errorf("%d tries in %v: not what is promised", len(webhooks.Published), total)
	}
	rapid.Check(t, func(t *rapid.T) {
		failed := rapid.IntRange(1, 20).Draw(t, "failed")
		wish := time.Duration(rapid.Int64Range(0, int64(100*24*time.Hour)).Draw(t, "wish"))
		wait, again := webhooks.Published.Next(failed, wish)
		if again != (failed < 12) {
			t.Fatalf("again is %v after %d", again, failed)
		}
		if !again {
			return
		}
		step := webhooks.Published[failed]
		low, high := step*8/10, step*12/10
		if wish > 0 {
			low, high = step, 2*step
		}
		if wait < low || wait > high {
			t.Fatalf("wait %v is not in %v to %v", wait, low, high)
		}
		if wish >= step && wish <= 2*step && wish > 0 && wait != wish {
			t.Fatalf("wait %v, though %v was asked for", wait, wish)
		}
	})
}
