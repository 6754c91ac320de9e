package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"

	"github.com/hibari/hibari/internal/sfu/wire"
)

// checkMedia finds out whether the media port can be had or is in use by a
// server, and which addresses clients would be offered.
func checkMedia(c *config) (string, error) {
	offered := make([]string, 0, 4)
	for _, ip := range offeredIPs(c) {
		offered = append(offered, ip.String())
	}
	detail := fmt.Sprintf("UDP %s, offered at %s", c.mediaAddr, strings.Join(offered, ", "))
	conn, err := net.ListenPacket("udp", c.mediaAddr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return detail + " (in use, by a running platform if http is ok)", nil
	}
	if err != nil {
		return "", fmt.Errorf("HIBARI_MEDIA_ADDR: %w", err)
	}
	return detail, conn.Close()
}

// checkWire finds out what the kernel and the interfaces do for the media port.
func checkWire(c *config) []finding {
	p, err := wire.NewProbe(c.mediaAddr, offeredIPs(c))
	if err != nil {
		return []finding{{Check: "trains", Detail: err.Error()}}
	}
	findings := []finding{checkTrains(p), checkBuffers(p)}
	for _, i := range p.Interfaces {
		findings = append(findings, checkInterface(i))
	}
	return findings
}

// checkTrains says whether the kernel sends a frame's packets in one go.
func checkTrains(p wire.Probe) finding {
	f := finding{Check: "trains", OK: true, Data: map[string]bool{"udp_segment": p.Trains}}
	f.Detail = "the kernel sends a frame's packets to a viewer in one go (UDP_SEGMENT)"
	if !p.Trains {
		f.Detail = "not available on this system: each packet is sent by itself, at about three times the cost"
		f.Advice = "serve media from 64-bit Linux 4.18 or later"
	}
	return f
}

// checkBuffers compares the kernel buffers with what the media port asks for.
func checkBuffers(p wire.Probe) finding {
	f := finding{Check: "buffers", OK: true, Data: map[string]int{
		"asked": p.BufferAsked, "send": p.SendBuffer, "receive": p.ReceiveBuffer,
	}}
	if p.SendBuffer == 0 || p.ReceiveBuffer == 0 {
		f.Detail = fmt.Sprintf("%d KiB asked each way; this system does not say what it grants", p.BufferAsked>>10)
		return f
	}
	f.Detail = fmt.Sprintf("%d KiB to send, %d KiB to receive, of %d KiB asked", p.SendBuffer>>10, p.ReceiveBuffer>>10, p.BufferAsked>>10)
	var raise []string
	if p.SendBuffer < p.BufferAsked {
		raise = append(raise, fmt.Sprintf("net.core.wmem_max=%d", p.BufferAsked))
	}
	if p.ReceiveBuffer < p.BufferAsked {
		raise = append(raise, fmt.Sprintf("net.core.rmem_max=%d", p.BufferAsked))
	}
	if len(raise) > 0 {
		f.Advice = "bursts may not fit: run sysctl -w " + strings.Join(raise, " ") + " and start the platform again"
	}
	return f
}

// The MTUs of a path that a packet of the largest size and one of a browser's usual
// size need, over IPv4.
const (
	fullMTU  = wire.MaxDatagram + 28
	usualMTU = 1280
)

// checkInterface says what an interface does of the work of sending trains.
func checkInterface(i wire.Interface) finding {
	addrs := make([]string, 0, len(i.Addrs))
	for _, a := range i.Addrs {
		addrs = append(addrs, a.String())
	}
	f := finding{Check: "interface", OK: true, Data: i}
	f.Detail = fmt.Sprintf("%s for %s: MTU %d, tx-udp-segmentation %s, checksum %s, generic segmentation %s",
		i.Name, strings.Join(addrs, ", "), i.MTU, i.Segmentation, i.Checksum, i.Generic)
	var advice []string
	if features := turnedOff(i); len(features) > 0 {
		advice = append(advice, fmt.Sprintf("to send trains for less, run ethtool -K %s %s", i.Name, strings.Join(features, " ")))
	}
	if i.Checksum == wire.OffloadNone {
		advice = append(advice, "a device that does not sum UDP may refuse trains; older kernels do for it")
	}
	switch {
	case i.MTU < usualMTU:
		advice = append(advice, fmt.Sprintf("an MTU of less than %d splits browsers' packets: raise it", usualMTU))
	case i.MTU < fullMTU:
		advice = append(advice, fmt.Sprintf("packets of more than %d bytes leave in pieces", i.MTU-28))
	}
	f.Advice = strings.Join(advice, "; ")
	return f
}

// turnedOff returns what ethtool -K should turn on.
func turnedOff(i wire.Interface) (features []string) {
	for _, f := range []struct {
		state   wire.Offload
		feature string
	}{
		{i.Checksum, "tx on"},
		{i.Generic, "gso on"},
		{i.Segmentation, "tx-udp-segmentation on"},
	} {
		if f.state == wire.OffloadOff {
			features = append(features, f.feature)
		}
	}
	return features
}

// logWire writes one line at the start on what the doctor says at length.
func logWire(c *config, log *slog.Logger) {
	p, err := wire.NewProbe(c.mediaAddr, offeredIPs(c))
	if err != nil {
		log.Warn("couldn't look at the media port", "error", err)
		return
	}
	attrs := []any{"trains", p.Trains, "send_buffer", p.SendBuffer, "receive_buffer", p.ReceiveBuffer}
	advised := checkTrains(p).Advice + checkBuffers(p).Advice
	for _, i := range p.Interfaces {
		attrs = append(attrs, slog.Group(i.Name, "mtu", i.MTU, "tx_udp_segmentation", i.Segmentation, "tx_checksum", i.Checksum))
		advised += checkInterface(i).Advice
	}
	if advised != "" {
		attrs = append(attrs, "advice", "see platform doctor")
	}
	log.Info("media port", attrs...)
}
