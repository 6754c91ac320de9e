package sfu_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu"
	"github.com/hibari/hibari/internal/tenant"
)

// rule is a condition of a filter.
func rule(field, operator string, values ...string) tenant.FilterRule {
	return tenant.FilterRule{Field: field, Operator: operator, Values: values}
}

// filter is a filter without a priority.
func filter(action string, rules ...[]tenant.FilterRule) tenant.ForwardingFilter {
	return tenant.ForwardingFilter{Action: action, Rules: rules}
}

func first(f tenant.ForwardingFilter) tenant.ForwardingFilter { f.Priority = new(1); return f }

func TestForwardingFilters(t *testing.T) {
	type rules = []tenant.FilterRule
	ann, bob := rules{rule("client_id", "is_in", "ann")}, rules{rule("client_id", "is_in", "bob")}
	annsVoice := rules{ann[0], rule("kind", "is_in", "audio")}
	everything := rules{}
	for _, test := range []struct {
		name    string
		filters []tenant.ForwardingFilter
		want    string // of ann's voice, ann's picture, bob's voice, bob's picture
	}{
		{"none", nil, "avAV"},
		{"block one", []tenant.ForwardingFilter{filter("block", ann)}, "AV"},
		{"allow one only", []tenant.ForwardingFilter{filter("allow", ann)}, "av"},
		{"block all but one", []tenant.ForwardingFilter{filter("block", rules{rule("client_id", "is_not_in", "ann", "eve")})}, "av"},
		{"block a connection", []tenant.ForwardingFilter{filter("block", rules{rule("connection_id", "is_in", "BOB")})}, "av"},
		{"no pictures", []tenant.ForwardingFilter{filter("block", rules{rule("kind", "is_in", "video")})}, "aA"},
		{"both conditions of a list", []tenant.ForwardingFilter{filter("block", annsVoice)}, "vAV"},
		{"any list", []tenant.ForwardingFilter{filter("block", annsVoice, bob)}, "v"},
		{"nothing meets no lists", []tenant.ForwardingFilter{filter("block")}, "avAV"},
		{"nothing is allowed", []tenant.ForwardingFilter{filter("allow")}, ""},
		{"everything meets an empty list", []tenant.ForwardingFilter{filter("block", everything)}, ""},
		{"an exception goes first", []tenant.ForwardingFilter{filter("block", rules{rule("kind", "is_in", "audio")}), first(filter("allow", ann))}, "avV"},
		{"what no filter meets, the last decides", []tenant.ForwardingFilter{first(filter("block", annsVoice)), filter("allow", ann)}, "v"},
		{"of one priority, the first", []tenant.ForwardingFilter{filter("allow", ann), filter("block", ann)}, "avAV"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSFU(t)
			of := func(id, client string) sfu.JoinRequest {
				return request(tenant.SendOnly, func(r *sfu.JoinRequest) { r.ConnectionID, r.ClientID = id, client })
			}
			f, err := s.NewFed(request(tenant.RecvOnly, func(r *sfu.JoinRequest) { r.Filters = test.filters }), of("ANN", "ann"), of("BOB", "bob"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			got := ""
			for i, letters := range []string{"av", "AV"} {
				for k, kind := range []string{"audio", "video"} {
					if f.ShowsKind(0, 1+i, kind) {
						got += letters[k : k+1]
					}
				}
			}
			if got != test.want {
				t.Errorf("shown %q, want %q", got, test.want)
			}
		})
	}
}

// Whatever the filters: an own, plainer evaluation of them comes to the same.
func TestForwardingFiltersAgainstAModel(t *testing.T) {
	s := newSFU(t)
	fields := map[string][]string{"connection_id": {"A", "B", "C"}, "client_id": {"a", "b"}, "kind": {"audio", "video"}}
	rapid.Check(t, func(rt *rapid.T) {
		drawn := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) tenant.ForwardingFilter {
			f := filter(rapid.SampledFrom([]string{"allow", "block"}).Draw(rt, "action"))
			if rapid.Bool().Draw(rt, "prior") {
				f.Priority = new(rapid.IntRange(-2, 2).Draw(rt, "priority"))
			}
			f.Rules = rapid.SliceOfN(rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) tenant.FilterRule {
				field := rapid.SampledFrom([]string{"connection_id", "client_id", "kind"}).Draw(rt, "field")
				return rule(field, rapid.SampledFrom([]string{"is_in", "is_not_in"}).Draw(rt, "operator"),
					rapid.SliceOfN(rapid.SampledFrom(fields[field]), 0, 2).Draw(rt, "values")...)
			}), 0, 3), 0, 3).Draw(rt, "rules")
			return f
		}), 0, 4).Draw(rt, "filters")

		ordered := slices.Clone(drawn)
		order := func(f tenant.ForwardingFilter) int {
			if f.Priority != nil {
				return *f.Priority
			}
			return 32767
		}
		slices.SortStableFunc(ordered, func(a, b tenant.ForwardingFilter) int { return order(a) - order(b) })
		var verdict func(rest []tenant.ForwardingFilter, of map[string]string) bool
		verdict = func(rest []tenant.ForwardingFilter, of map[string]string) bool {
			if len(rest) == 0 {
				return true
			}
			met := false
			for _, list := range rest[0].Rules {
				all := true
				for _, r := range list {
					all = all && slices.Contains(r.Values, of[r.Field]) == (r.Operator == "is_in")
				}
				met = met || all
			}
			switch {
			case met:
				return rest[0].Action == "allow"
			case len(rest) == 1:
				return rest[0].Action == "block"
			}
			return verdict(rest[1:], of)
		}

		requests := []sfu.JoinRequest{request(tenant.RecvOnly, func(r *sfu.JoinRequest) { r.Filters = drawn })}
		for i, id := range fields["connection_id"] {
			requests = append(requests, request(tenant.SendOnly, func(r *sfu.JoinRequest) {
				r.ConnectionID, r.ClientID = id, fields["client_id"][i%2]
			}))
		}
		f, err := s.NewFed(requests...)
		if err != nil {
			rt.Fatal(err)
		}
		defer f.Close()
		for i, r := range requests[1:] {
			for _, kind := range fields["kind"] {
				want := verdict(ordered, map[string]string{"connection_id": r.ConnectionID, "client_id": r.ClientID, "kind": kind})
				if got := f.ShowsKind(0, 1+i, kind); got != want {
					rt.Fatalf("%s of %s/%s is shown: %v, want %v by %+v", kind, r.ConnectionID, r.ClientID, got, want, ordered)
				}
			}
		}
	})
}

// Who blocks a full channel is told of all of it and stays, though its door reads
// slowly.
func TestMuchIsBlocked(t *testing.T) {
	const publishers = 200
	s := newSFU(t)
	requests := []sfu.JoinRequest{request(tenant.RecvOnly, func(r *sfu.JoinRequest) { r.Filters = []tenant.ForwardingFilter{filter("allow")} })}
	for range publishers {
		requests = append(requests, request(tenant.SendOnly))
	}
	f, err := s.NewFed(requests...)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Announce()
	told := map[sfu.Forwarding]int{}
	for range 30 {
		f.Wait(time.Second)
		for _, signal := range f.Take(0) {
			if d, ok := signal.Notify.Details.(*sfu.Forwarding); ok {
				told[*d]++
			}
			if signal.Kind == sfu.SignalEnded {
				t.Fatalf("it lost its connection: %s", signal.Reason)
			}
		}
	}
	if len(told) != 2*publishers {
		t.Errorf("told of %d blocked tracks, want %d", len(told), 2*publishers)
	}
	for d, n := range told {
		if n != 1 {
			t.Errorf("told %d times of %+v", n, d)
		}
	}
}

// A filter keeps the media of real clients away, from the first offer on and of
// who comes later, and its owner is told, once for each.
func TestFilteredPublishersAreNotShown(t *testing.T) {
	s := newSFU(t)
	early := publish(t, s, av, func(r *sfu.JoinRequest) { r.ClientID = "noisy" })
	other := publish(t, s, av)
	unfiltered := view(t, s)
	flows(t, unfiltered, early.Connection.ID())

	v := view(t, s, func(r *sfu.JoinRequest) {
		r.Filters = []tenant.ForwardingFilter{filter("block", []tenant.FilterRule{rule("client_id", "is_in", "noisy"), rule("kind", "is_in", "video")})}
	})
	flows(t, v, other.Connection.ID())
	late := publish(t, s, av, func(r *sfu.JoinRequest) { r.ClientID = "noisy" })
	flows(t, unfiltered, late.Connection.ID())
	more(t, v, late.Connection.ID(), "audio")
	more(t, v, early.Connection.ID(), "audio")
	for _, p := range []string{early.Connection.ID(), late.Connection.ID()} {
		if n := v.Stream(p, "video").Packets; n != 0 {
			t.Errorf("%d packets of a blocked video", n)
		}
		told := 0
		for _, n := range v.Signals(sfu.SignalNotify) {
			if d, ok := n.Notify.Details.(*sfu.Forwarding); ok && d.Source == p {
				told++
				if n.Notify.EventType != "forwarding.blocked" || d.Kind != "video" || d.Destination != v.Connection.ID() {
					t.Errorf("told %s %+v", n.Notify.EventType, d)
				}
			}
		}
		if told != 1 {
			t.Errorf("told %d times that %s is blocked", told, p)
		}
	}
}
