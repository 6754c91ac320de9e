package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// read reads settings from an environment that holds only env, and flags.
func read(env map[string]string, flags ...string) (*config, error) {
	fs := flag.NewFlagSet("serve", flag.ContinueOnError)
	return readConfig(fs, flags, func(name string) string { return env[name] }, stdio{out: io.Discard, err: io.Discard})
}

func TestDefaultsServeThisMachineOnly(t *testing.T) {
	c, err := read(nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.httpAddr != "127.0.0.1:8080" || c.publicURL.String() != "http://localhost:8080" || c.mediaAddr != ":7700" {
		t.Errorf("listens on %s as %s, media on %s", c.httpAddr, c.publicURL, c.mediaAddr)
	}
	if !c.local() || !c.signupOpen || c.databaseURL != "" || c.masterKey != nil {
		t.Errorf("defaults are %+v", c)
	}
}

func TestFlagsWinOverTheEnvironment(t *testing.T) {
	env := map[string]string{"HIBARI_HTTP_ADDR": "127.0.0.1:1", "HIBARI_DATABASE_URL": "postgres://a/b", "HIBARI_SIGNUP": "closed"}
	c, err := read(env, "-http-addr=127.0.0.1:2", "-database-url=postgres://c/d")
	if err != nil {
		t.Fatal(err)
	}
	if c.httpAddr != "127.0.0.1:2" || c.databaseURL != "postgres://c/d" {
		t.Errorf("the flags did not win: %s, %s", c.httpAddr, c.databaseURL)
	}
	if c.signupOpen {
		t.Error("the environment was lost where there was no flag")
	}
}

func TestPublicURLFollowsTheAddress(t *testing.T) {
	for _, one := range []struct {
		env   map[string]string
		url   string
		local bool
	}{
		{map[string]string{"HIBARI_HTTP_ADDR": ":9000"}, "http://localhost:9000", true},
		{map[string]string{"HIBARI_TLS_CERT": "c", "HIBARI_TLS_KEY": "k"}, "https://localhost:8080", true},
		{map[string]string{"HIBARI_PUBLIC_URL": "https://live.example.com/"}, "https://live.example.com", false},
		{map[string]string{"HIBARI_PUBLIC_URL": "http://[::1]:8080"}, "http://[::1]:8080", true},
	} {
		c, err := read(one.env)
		if err != nil {
			t.Errorf("%v: %v", one.env, err)
			continue
		}
		if c.publicURL.String() != one.url || c.local() != one.local {
			t.Errorf("%v: public URL %s, local %v", one.env, c.publicURL, c.local())
		}
	}
}

// A wrong setting is named, in one line, with exit status 1: it is the
// operator's and not the command's.
func TestWrongSettingsAreNamed(t *testing.T) {
	for name, values := range map[string][]string{
		"HIBARI_HTTP_ADDR":            {"nonsense", "127.0.0.1", ":", "127.0.0.1:99999", "127.0.0.1:-1"},
		"HIBARI_PUBLIC_URL":           {"localhost:8080", "ftp://a", "https://", "https://a/path", "https://a?b", "https://a#b"},
		"HIBARI_MEDIA_ADDR":           {"nonsense", "7700"},
		"HIBARI_MEDIA_IPS":            {"nonsense", "0.0.0.0", "::", "1.2.3.4;5.6.7.8"},
		"HIBARI_DATABASE_URL":         {"mysql://a/b", "host=a", "postgres://a:%zz@b"},
		"HIBARI_NATS_URL":             {"nats://a"},
		"HIBARI_SMTP_URL":             {"a", "http://a", "smtp://", "smtp://u:geheim@a/b", "smtp://a?to=b", "smtp://a:0"},
		"HIBARI_MASTER_KEY":           {"short", "c2hvcnQ=", strings.Repeat("A", 44)},
		"HIBARI_EGRESS_ALLOW":         {"10.0.0.0", "10.0.0.0/33", "localhost/8"},
		"HIBARI_EGRESS_ALLOW_PRIVATE": {"yes", "2"},
		"HIBARI_LOG":                  {"loud"},
		"HIBARI_SIGNUP":               {"maybe"},
		"HIBARI_TLS_CERT":             {"cert.pem"},
		"HIBARI_TLS_KEY":              {"key.pem"},
	} {
		for _, value := range values {
			_, err := read(map[string]string{name: value})
			switch {
			case err == nil:
				t.Errorf("%s=%s was taken", name, value)
			case !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "\n"):
				t.Errorf("%s=%s is told as %q", name, value, err)
			case errors.Is(err, errUsage):
				t.Errorf("%s=%s counts as a wrong call", name, value)
			}
		}
	}
}

// With a public URL, networks that webhooks may reach inside need two words.
func TestEgressNeedsTheSecondWordInPublic(t *testing.T) {
	env := map[string]string{"HIBARI_EGRESS_ALLOW": "10.1.2.3/8, fd00::/8", "HIBARI_PUBLIC_URL": "https://live.example.com"}
	if _, err := read(env); err == nil || !strings.Contains(err.Error(), "HIBARI_EGRESS_ALLOW_PRIVATE=1") {
		t.Errorf("refused with %v", err)
	}
	env["HIBARI_EGRESS_ALLOW_PRIVATE"] = "1"
	c, err := read(env)
	if err != nil {
		t.Fatal(err)
	}
	if got := c.hooks(nil); !got.Production || !got.AllowPrivate || len(got.EgressAllow) != 2 || got.EgressAllow[0].String() != "10.0.0.0/8" {
		t.Errorf("webhooks are configured as %+v", got)
	}
}

// Somebody may paste a URL with a password: it is refused without repeating it.
func TestPublicURLWithAPasswordIsNotRepeated(t *testing.T) {
	_, err := read(map[string]string{"HIBARI_PUBLIC_URL": "https://u:geheim@live.example.com"})
	if err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("refused with %v", err)
	}
}

func TestHelpShowsNoSecret(t *testing.T) {
	env := map[string]string{
		"HIBARI_MASTER_KEY":   base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{7}, 32)),
		"HIBARI_DATABASE_URL": "postgres://hibari:geheim@db/hibari",
	}
	var out bytes.Buffer
	_, err := readConfig(flag.NewFlagSet("serve", flag.ContinueOnError), []string{"-h"},
		func(name string) string { return env[name] }, stdio{out: &out, err: io.Discard})
	if !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("help ended with %v", err)
	}
	for name, value := range env {
		if strings.Contains(out.String(), value) {
			t.Errorf("help shows the value of %s", name)
		}
		if !strings.Contains(out.String(), name) {
			t.Errorf("help does not name %s", name)
		}
	}
}

// Whatever the environment holds, reading it ends in a whole configuration or
// in one line that names a setting and repeats no secret.
func TestSettingsFromAnywhere(t *testing.T) {
	all := settings()
	rapid.Check(t, func(t *rapid.T) {
		one := rapid.SampledFrom(all).Draw(t, "setting")
		value := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"postgres://u:geheim@h/d", "mysql://u:geheim@h", "geheim", "::1", "1", "a:b"})).Draw(t, "value")
		checkSetting(t, one.env, value)
	})
}

func FuzzSettings(f *testing.F) {
	all := settings()
	for i, one := range all {
		f.Add(i, one.def)
	}
	f.Add(1, "https://[::1%25eth0]:99999/..")
	f.Add(8, "10.0.0.0/8,,fd00::/8 ,")
	f.Fuzz(func(t *testing.T, i int, value string) {
		checkSetting(t, all[(i%len(all)+len(all))%len(all)].env, value)
	})
}

func checkSetting(t interface{ Errorf(string, ...any) }, name, value string) {
	c, err := read(map[string]string{name: value})
	switch {
	case err != nil && !strings.HasPrefix(err.Error(), "HIBARI_"):
		t.Errorf("%s=%q is told as %q", name, value, err)
	case err != nil && strings.ContainsAny(err.Error(), "\n\r"):
		t.Errorf("%s=%q is told in more than one line", name, value)
	case err != nil && (setting{env: name}).secret() && strings.Contains(err.Error(), "geheim"):
		t.Errorf("%s=%q is told with its password", name, value)
	case err == nil && (c.publicURL == nil || c.publicURL.Host == "" || c.dataDir == "" || c.masterKey != nil && len(c.masterKey) != 32):
		t.Errorf("%s=%q gave half a configuration: %+v", name, value, c)
	}
}

// Without a mail server, development reads its mail in the log, and production
// sends none.
func TestMailSettings(t *testing.T) {
	for _, one := range []struct {
		env           map[string]string
		can, delivers bool
	}{
		{nil, true, false},
		{map[string]string{"HIBARI_PUBLIC_URL": "https://live.example.com"}, false, false},
		{map[string]string{"HIBARI_SMTP_URL": "smtp://u:p@mail.example.com:587"}, true, true},
		{map[string]string{"HIBARI_SMTP_URL": "smtps://mail.example.com", "HIBARI_PUBLIC_URL": "https://live.example.com"}, true, true},
	} {
		c, err := read(one.env)
		if err != nil {
			t.Fatal(err)
		}
		if post := c.post(nil); (post.Mailer != nil) != one.can || post.Delivers != one.delivers || post.PublicURL != c.publicURL.String() {
			t.Errorf("%v: %+v", one.env, post)
		}
	}
}
