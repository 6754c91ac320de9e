package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/hibari/hibari/internal/cluster"
	"github.com/hibari/hibari/internal/sfu/wire"
)

// TestDoctorAdvises has machines that could do better, and one that couldn't.
func TestDoctorAdvises(t *testing.T) {
	good := wire.Interface{
		Name: "eth0", MTU: 1500, Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")},
		Segmentation: wire.OffloadOn, Checksum: wire.OffloadOn, Generic: wire.OffloadOn,
	}
	with := func(change func(*wire.Interface)) finding {
		i := good
		change(&i)
		return checkInterface(i)
	}
	for name, test := range map[string]struct {
		found  finding
		advice string // empty: none
	}{
		"a good interface":  {checkInterface(good), ""},
		"no segmentation":   {with(func(i *wire.Interface) { i.Segmentation = wire.OffloadNone }), ""},
		"unknown":           {with(func(i *wire.Interface) { i.Segmentation = wire.OffloadUnknown }), ""},
		"segmentation off":  {with(func(i *wire.Interface) { i.Segmentation = wire.OffloadOff }), "ethtool -K eth0 tx-udp-segmentation on"},
		"everything off":    {with(func(i *wire.Interface) { i.Segmentation, i.Checksum, i.Generic = "off", "off", "off" }), "ethtool -K eth0 tx on gso on tx-udp-segmentation on"},
		"no checksums":      {with(func(i *wire.Interface) { i.Checksum = wire.OffloadNone }), "may refuse trains"},
		"a tunnel":          {with(func(i *wire.Interface) { i.MTU = 1420 }), "more than 1392 bytes leave in pieces"},
		"a narrow tunnel":   {with(func(i *wire.Interface) { i.MTU = 1200 }), "raise it"},
		"trains":            {checkTrains(wire.Probe{Trains: true}), ""},
		"no trains":         {checkTrains(wire.Probe{}), "Linux 4.18"},
		"full buffers":      {checkBuffers(wire.Probe{BufferAsked: 8 << 20, SendBuffer: 8 << 20, ReceiveBuffer: 8 << 20}), ""},
		"unknown buffers":   {checkBuffers(wire.Probe{BufferAsked: 8 << 20}), ""},
		"small buffers":     {checkBuffers(wire.Probe{BufferAsked: 8 << 20, SendBuffer: 1 << 20, ReceiveBuffer: 1 << 20}), "sysctl -w net.core.wmem_max=8388608 net.core.rmem_max=8388608"},
		"a small one":       {checkBuffers(wire.Probe{BufferAsked: 8 << 20, SendBuffer: 8 << 20, ReceiveBuffer: 1 << 20}), "sysctl -w net.core.rmem_max=8388608 and"},
		"a browser's MTU":   {with(func(i *wire.Interface) { i.MTU = 1280 }), "more than 1252 bytes leave in pieces"},
		"an Ethernet's MTU": {with(func(i *wire.Interface) { i.MTU = 1499 }), "more than 1471 bytes leave in pieces"},
	} {
		if !test.found.OK || test.found.Detail == "" || (test.found.Advice == "") != (test.advice == "") || !strings.Contains(test.found.Advice, test.advice) {
			t.Errorf("%s: %+v, want advice %q", name, test.found, test.advice)
		}
	}
}

// TestDoctorLooksAtNodes finds two that are up and have one URL.
func TestDoctorLooksAtNodes(t *testing.T) {
	now := time.Now()
	node := func(id, url string, lease time.Duration) cluster.Info {
		return cluster.Info{ID: id, PublicURL: url, LeaseUntil: now.Add(lease)}
	}
	ended := node("old", "https://a.example", time.Hour)
	ended.EndedAt = &now
	good := []cluster.Info{node("a", "https://a.example", time.Second), node("b", "https://b.example", time.Second), ended, node("dead", "https://b.example", -time.Second)}
	for want, nodes := range map[string][]cluster.Info{"0 are up": nil, "1 is up": good[:1], "2 are up": good} {
		if detail, err := checkNodes(nodes, now); err != nil || !strings.HasPrefix(detail, want) {
			t.Errorf("want %s, got %q, %v", want, detail, err)
		}
	}
	_, err := checkNodes(append(good, node("c", "https://a.example", time.Second)), now)
	if err == nil || !strings.Contains(err.Error(), "a and c both have") || !strings.Contains(err.Error(), "HIBARI_PUBLIC_URL") {
		t.Errorf("two with one URL: %v", err)
	}
}
