package browsertest

import (
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// h264Prefs have Firefox encode and decode H.264 with the system's libavcodec.
// Otherwise it does so with a plug-in that it downloads at its first start, which
// tests do without.
var h264Prefs = map[string]any{
	"gfx.blacklist.webrtc.hw.acceleration.h264":     1, // "it works": hardware is not asked for again
	"media.webrtc.hw.h264.enabled":                  true,
	"media.webrtc.encoder_creation_strategy":        1, // the platform's encoder first
	"media.navigator.mediadatadecoder_h264_enabled": true,
}

//go:embed x264/lowlatency.c
var lowLatency []byte

// FirefoxWithH264 starts a Firefox that publishes and watches H.264, too.
func FirefoxWithH264(t testing.TB) *Browser {
	t.Helper()
	var env []string
	if runtime.GOOS == "linux" {
		env = append(env, "LD_PRELOAD="+buildLowLatency(t))
	}
	return startFirefox(t, h264Prefs, env)
}

// buildLowLatency compiles what has libx264 encode live pictures.
func buildLowLatency(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	source, library := filepath.Join(dir, "lowlatency.c"), filepath.Join(dir, "lowlatency.so")
	if err := os.WriteFile(source, lowLatency, 0o600); err != nil {
		t.Fatal(err)
	}
	compiler := os.Getenv("CC")
	if compiler == "" {
		compiler = "gcc"
	}
	if out, err := exec.Command(compiler, "-shared", "-fPIC", "-o", library, source, "-ldl").CombinedOutput(); err != nil {
		t.Fatalf("couldn't compile lowlatency.c: %v\n%s", err, out)
	}
	return library
}
