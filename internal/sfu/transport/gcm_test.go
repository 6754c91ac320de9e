package transport_test

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"slices"
	"testing"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"pgregory.net/rapid"

	"github.com/hibari/hibari/internal/sfu/transport"
)

// gcmProfiles are those whose packets are sealed and opened without pion.
var gcmProfiles = map[string]srtp.ProtectionProfile{
	"128": srtp.ProtectionProfileAeadAes128Gcm,
	"256": srtp.ProtectionProfileAeadAes256Gcm,
}

// keysOf are master keys of a profile, ours and the other side's.
func keysOf(profile srtp.ProtectionProfile) srtp.SessionKeys {
	n, _ := profile.KeyLen()
	row := func(first, n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(first + i)
		}
		return b
	}
	return srtp.SessionKeys{LocalMasterKey: row(1, n), LocalMasterSalt: row(50, 12),
		RemoteMasterKey: row(100, n), RemoteMasterSalt: row(150, 12)}
}

// pair is our state of a connection and pion's of the other end.
type pair struct {
	ours    transport.Media
	out, in *srtp.Context // pion's; in also decrypts what it sends itself (theirs)
	theirs  *srtp.Context // pion in our place
}

func newPair(t rapid.TB, profile srtp.ProtectionProfile, options ...srtp.ContextOption) pair {
	t.Helper()
	k := keysOf(profile)
	ours, err := transport.NewMedia(profile, k)
	if err != nil {
		t.Fatal(err)
	}
	context := func(key, salt []byte, options ...srtp.ContextOption) *srtp.Context {
		c, err := srtp.CreateContext(key, salt, profile, options...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	replay := []srtp.ContextOption{srtp.SRTPReplayProtection(1024), srtp.SRTCPReplayProtection(1024)}
	return pair{ours: ours,
		out:    context(k.RemoteMasterKey, k.RemoteMasterSalt, options...),
		in:     context(k.LocalMasterKey, k.LocalMasterSalt, replay...),
		theirs: context(k.RemoteMasterKey, k.RemoteMasterSalt, replay...),
	}
}

// open hands a packet to both and checks that they say the same.
func (p *pair) open(t rapid.TB, b []byte) (taken bool) {
	t.Helper()
	ours, isRTCP, err := p.ours.Open(bytes.Clone(b))
	var theirs []byte
	var theirErr error
	if isRTCP {
		theirs, theirErr = p.theirs.DecryptRTCP(nil, bytes.Clone(b), nil)
	} else {
		theirs, theirErr = p.theirs.DecryptRTP(nil, bytes.Clone(b), nil)
	}
	if (err == nil) != (theirErr == nil) {
		t.Fatalf("we say %v, pion says %v of %x", err, theirErr, b)
	}
	if err == nil && !bytes.Equal(ours, theirs) {
		t.Fatalf("%x opens as\n%x, to pion as\n%x", b, ours, theirs)
	}
	return err == nil
}

// TestSealedPacketsAreThoseOfPion compares bytes: any header and payload, sources
// that take turns, numbers that jump both ways and roll over.
func TestSealedPacketsAreThoseOfPion(t *testing.T) {
	for name, profile := range gcmProfiles {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				k := keysOf(profile)
				ours, err := transport.NewMedia(profile, k)
				if err != nil {
					t.Fatal(err)
				}
				theirs, err := srtp.CreateContext(k.LocalMasterKey, k.LocalMasterSalt, profile)
				if err != nil {
					t.Fatal(err)
				}
				at := map[uint32]int{}
				for range rapid.IntRange(1, 60).Draw(t, "packets") {
					ssrc := rapid.Uint32Range(1, 3).Draw(t, "ssrc")
					index := rapid.IntRange(0, 65535).Draw(t, "first")
					if newest, ok := at[ssrc]; ok {
						index = newest + rapid.IntRange(-1000, 30000).Draw(t, "step")
					}
					if index < 0 {
						continue // it has none; another test has that
					}
					w := rtp.Packet{Header: rtp.Header{Version: 2, SSRC: ssrc, SequenceNumber: uint16(index)},
						Payload: rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload"), PaddingSize: rapid.Byte().Draw(t, "padding")}
					w.CSRC = rapid.SliceOfN(rapid.Uint32(), 0, 15).Draw(t, "csrc")
					if rapid.Bool().Draw(t, "extended") {
						_ = w.SetExtension(3, rapid.SliceOfN(rapid.Byte(), 1, 16).Draw(t, "extension"))
					}
					header, _ := w.Header.Marshal()
					got, err := ours.SealRTP(make([]byte, 2000), header, w.Payload, int(w.PaddingSize))
					at[ssrc] = max(at[ssrc], index)
					if err != nil {
						t.Fatal(err)
					}
					w.Header.Padding = w.PaddingSize > 0
					plain, err := w.Marshal()
					if err != nil {
						t.Fatal(err)
					}
					want, err := theirs.EncryptRTP(nil, plain, nil)
					if err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got, want) {
						t.Fatalf("number %d of %d is sealed as\n%x, by pion as\n%x", index, ssrc, got, want)
					}
				}
			})
		})
	}
}

// TestOpenAgreesWithPion sends pion's packets through a network that loses,
// reorders, repeats and changes them; both receivers take the same ones.
func TestOpenAgreesWithPion(t *testing.T) {
	for name, profile := range gcmProfiles {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				var options []srtp.ContextOption
				if rapid.IntRange(0, 3).Draw(t, "clear") == 0 {
					options = append(options, srtp.SRTCPNoEncryption())
				}
				p := newPair(t, profile, options...)
				start := uint32(rapid.IntRange(0, 2000).Draw(t, "control"))
				if rapid.Bool().Draw(t, "last") {
					start = 1<<31 - 1 - uint32(rapid.IntRange(0, 30).Draw(t, "left"))
				}
				at := map[uint32]int{}
				var sent [][]byte
				taken := 0
				for range rapid.IntRange(1, 100).Draw(t, "packets") {
					ssrc := rapid.Uint32Range(1, 3).Draw(t, "ssrc")
					if _, ok := at[ssrc]; !ok {
						at[ssrc] = rapid.IntRange(0, 65535).Draw(t, "first")
						p.out.SetIndex(ssrc, start)
					}
					var b []byte
					var err error
					if rapid.IntRange(0, 2).Draw(t, "kind") == 0 {
						plain, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: ssrc}, &rtcp.PictureLossIndication{MediaSSRC: 7}})
						if b, err = p.out.EncryptRTCP(nil, plain[:8*rapid.IntRange(1, 2).Draw(t, "words")], nil); err != nil {
							continue // no index is left
						}
					} else {
						at[ssrc] += rapid.OneOf(rapid.IntRange(0, 3), rapid.IntRange(1, 1100), rapid.IntRange(1, 32000)).Draw(t, "step")
						h := header(ssrc, uint16(at[ssrc]))
						if b, err = p.out.EncryptRTP(nil, append(h, payload(rapid.IntRange(0, 50).Draw(t, "size"))...), nil); err != nil {
							t.Fatal(err)
						}
					}
					sent = append(sent, b)
					for rapid.IntRange(0, 3).Draw(t, "more") > 0 {
						back := min(rapid.OneOf(rapid.Just(1), rapid.IntRange(1, 10)).Draw(t, "back"), len(sent))
						one := bytes.Clone(sent[len(sent)-back])
						if rapid.IntRange(0, 5).Draw(t, "change") == 0 {
							i := rapid.IntRange(1, len(one)-1).Draw(t, "at")
							if i == 1 || i < 13 && i > 11 {
								continue // another kind of packet, or an extension that is none
							}
							one[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
							if p.open(t, one) {
								t.Fatal("a changed packet was taken")
							}
							continue
						}
						if p.open(t, one) {
							taken++
						}
					}
				}
			})
		})
	}
}

func TestControlIndicesEndBeforeTheyRepeat(t *testing.T) {
	for name, profile := range gcmProfiles {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, profile)
			p.ours.SetControlIndex(1<<31 - 4)
			plain, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 5}})
			for i := range 5 {
				b, err := p.ours.SealRTCP(make([]byte, 100), plain)
				if (err == nil) != (i < 3) {
					t.Fatalf("packet %d: %v", i, err)
				}
				if err != nil {
					continue
				}
				if got, err := p.in.DecryptRTCP(nil, b, nil); err != nil || !bytes.Equal(got, plain) {
					t.Fatalf("packet %d: pion says %v", i, err)
				}
			}
		})
	}
}

func TestRolloverCountersEndBeforeTheyRepeat(t *testing.T) {
	p := newPair(t, gcmProfiles["128"])
	p.ours.SetIndex(7, 1<<48-3)
	for i, seq := range []uint16{65534, 65535, 0, 1, 65533} {
		if _, err := p.ours.SealRTP(make([]byte, 100), header(7, seq), payload(10), 0); (err == nil) != (seq > 60000) {
			t.Errorf("packet %d, number %d: %v", i, seq, err)
		}
	}
}

// TestControlSourcesShareIndices: pion takes compounds of several SSRCs in turn.
func TestControlSourcesShareIndices(t *testing.T) {
	p := newPair(t, gcmProfiles["128"])
	seen := map[string]bool{}
	for i := range uint32(50) {
		plain, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.SenderReport{SSRC: i % 3}})
		b, err := p.ours.SealRTCP(make([]byte, 100), plain)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.in.DecryptRTCP(nil, b, nil); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("packet %d: %v", i, err)
		}
		if index := string(b[len(b)-4:]); seen[index] {
			t.Fatal("an index was used twice")
		} else {
			seen[index] = true
		}
	}
}

// FuzzOpen: any bytes are opened or refused as pion does.
func FuzzOpen(f *testing.F) {
	p := newPair(f, gcmProfiles["128"])
	add := func(b []byte, err error) {
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add(p.out.EncryptRTP(nil, append(header(1, 2), 1, 2, 3), nil))
	plain, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 5}})
	add(p.out.EncryptRTCP(nil, plain, nil))
	open := newPair(f, gcmProfiles["128"], srtp.SRTCPNoEncryption())
	add(open.out.EncryptRTCP(nil, plain, nil))
	f.Add([]byte{0x9f, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xbe, 0xde, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 12 || b[0]>>6 != 2 {
			return // such are no SRTP to the reader
		}
		p := newPair(t, gcmProfiles["128"])
		if first := p.open(t, b); first && p.open(t, b) {
			t.Fatal("taken twice")
		}
	})
}

// sealed are n packets of pion's, to be opened once each.
func sealed(t testing.TB, p pair, n int) (media, control [][]byte) {
	plain, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 5, Reports: make([]rtcp.ReceptionReport, 2)}})
	for i := range n {
		m, err := p.out.EncryptRTP(nil, append(header(7, uint16(i)), payload(1000)...), nil)
		if err != nil {
			t.Fatal(err)
		}
		c, err := p.out.EncryptRTCP(nil, plain, nil)
		if err != nil {
			t.Fatal(err)
		}
		media, control = append(media, m), append(control, c)
	}
	return media, control
}

func BenchmarkOpen(b *testing.B) {
	for _, kind := range []string{"RTP", "RTCP"} {
		for _, who := range []string{"ours", "pion"} {
			b.Run(kind+"/"+who, func(b *testing.B) {
				const round = 1 << 12
				p := newPair(b, gcmProfiles["128"])
				packets, control := sealed(b, p, round)
				if kind == "RTCP" {
					packets = control
				}
				scratch := make([]byte, 1500)
				var head rtp.Header
				var controlHead rtcp.Header
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if i%round == 0 { // as it was, so that nothing is a replay
						b.StopTimer()
						p = newPair(b, gcmProfiles["128"])
						b.StartTimer()
					}
					data := scratch[:copy(scratch, packets[i%round])]
					var err error
					switch {
					case who == "ours":
						_, _, err = p.ours.Open(data)
					case kind == "RTP":
						_, err = p.theirs.DecryptRTP(data, data, &head)
					default:
						_, err = p.theirs.DecryptRTCP(data, data, &controlHead)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	k := keysOf(gcmProfiles["128"])
	for name, c := range map[string]struct{ size, padding int }{
		"1000 bytes": {1000, 0}, "1000 bytes and padding": {1000, 8}, "80 bytes": {80, 0}, "80 bytes and padding": {80, 8},
	} {
		b.Run("RTP/"+name+"/ours", func(b *testing.B) {
			p := newPair(b, gcmProfiles["128"])
			dst, h, body := make([]byte, 1500), header(7, 0), payload(c.size)
			b.ReportAllocs()
			for i := uint16(0); b.Loop(); i++ {
				binary.BigEndian.PutUint16(h[2:], i)
				if _, err := p.ours.SealRTP(dst, h, body, c.padding); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("RTP/1000 bytes/pion", func(b *testing.B) {
		p, err := srtp.CreateContext(k.LocalMasterKey, k.LocalMasterSalt, gcmProfiles["128"])
		if err != nil {
			b.Fatal(err)
		}
		var head rtp.Header
		dst, plain := make([]byte, 1500), append(header(7, 0), payload(1000)...)
		b.ReportAllocs()
		for i := uint16(0); b.Loop(); i++ {
			binary.BigEndian.PutUint16(plain[2:], i)
			if _, err := p.EncryptRTP(dst, plain, &head); err != nil {
				b.Fatal(err)
			}
		}
	})
	plain, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.SenderReport{SSRC: 5}, &rtcp.ReceiverReport{SSRC: 5}})
	b.Run("RTCP/ours", func(b *testing.B) {
		p := newPair(b, gcmProfiles["128"])
		dst := make([]byte, 1500)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := p.ours.SealRTCP(dst, plain); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("RTCP/pion", func(b *testing.B) {
		p, err := srtp.CreateContext(k.LocalMasterKey, k.LocalMasterSalt, gcmProfiles["128"])
		if err != nil {
			b.Fatal(err)
		}
		var head rtcp.Header
		dst := make([]byte, 1500)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := p.EncryptRTCP(dst, plain, &head); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkKeyState says how much memory the keys of a peer take that receives
// three sources (two and retransmissions) and reports.
func BenchmarkKeyState(b *testing.B) {
	plain, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: 5}})
	profile := gcmProfiles["128"]
	k := keysOf(profile)
	sender := newPair(b, profile)
	report, err := sender.out.EncryptRTCP(nil, plain, nil)
	if err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 1500)
	measure := func(b *testing.B, one func() any) {
		var kept []any
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for b.Loop() {
			kept = append(kept, one())
		}
		kept = slices.Clip(kept)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(kept))-16, "B/peer")
		runtime.KeepAlive(kept)
	}
	b.Run("ours", func(b *testing.B) {
		measure(b, func() any {
			m, err := transport.NewMedia(profile, k)
			if err != nil {
				b.Fatal(err)
			}
			for ssrc := range uint32(3) {
				_, _ = m.SealRTP(dst, header(ssrc, 0), payload(10), 0)
			}
			_, _ = m.SealRTCP(dst, plain)
			if _, _, err := m.Open(bytes.Clone(report)); err != nil {
				b.Fatal(err)
			}
			return m
		})
	})
	b.Run("pion", func(b *testing.B) {
		measure(b, func() any {
			out, _ := srtp.CreateContext(k.LocalMasterKey, k.LocalMasterSalt, profile)
			in, _ := srtp.CreateContext(k.RemoteMasterKey, k.RemoteMasterSalt, profile,
				srtp.SRTPReplayProtection(1024), srtp.SRTCPReplayProtection(1024))
			for ssrc := range uint32(3) {
				_, _ = out.EncryptRTP(dst, append(header(ssrc, 0), payload(10)...), nil)
			}
			_, _ = out.EncryptRTCP(dst, plain, nil)
			if _, err := in.DecryptRTCP(nil, report, nil); err != nil {
				b.Fatal(err)
			}
			return [2]*srtp.Context{out, in}
		})
	})
}
