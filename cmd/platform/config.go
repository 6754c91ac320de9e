package main

import (
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/hibari/hibari/internal/mail"
	"github.com/hibari/hibari/internal/tenant"
	"github.com/hibari/hibari/internal/webhooks"
)

// config is every setting, checked. DESIGN A3 fixes the names.
type config struct {
	httpAddr           string
	publicURL          *url.URL
	mediaAddr          string
	mediaIPs           []netip.Addr
	databaseURL        string
	dataDir            string
	masterKey          []byte // nil: the key file in the data directory
	egressAllow        []netip.Prefix
	egressAllowPrivate bool
	logLevel           slog.Level
	signupOpen         bool
	smtpURL            string
	smtp               *mail.SMTP // nil: none
	tlsCert, tlsKey    string
	trustedProxies     []netip.Prefix // whose word about clients' addresses is taken
}

// setting is one environment variable and its flag.
type setting struct {
	env, def, about string
	set             func(c *config, value string) error
}

// settings returns all settings in the order help shows them.
func settings() []setting {
	return []setting{
		{"HIBARI_HTTP_ADDR", "127.0.0.1:8080", "address the HTTP server listens on", setHTTPAddr},
		{"HIBARI_PUBLIC_URL", "", "URL people and clients reach this server by (default: http://localhost and the HTTP port)", setPublicURL},
		{"HIBARI_MEDIA_ADDR", ":7700", "address of the media port (UDP)", setMediaAddr},
		{"HIBARI_MEDIA_IPS", "", "addresses offered to clients, comma-separated (default: the host's own)", setMediaIPs},
		{"HIBARI_DATABASE_URL", "", "Postgres to use (default: a private one under the data directory)", setDatabaseURL},
		{"HIBARI_DATA_DIR", "./data", "where the private Postgres and the master key live", setDataDir},
		{"HIBARI_NATS_URL", "", "message bus between nodes; this version has none and refuses it", setNATSURL},
		{"HIBARI_MASTER_KEY", "", "32 bytes in base64 that seal secrets at rest (default: made on first run)", setMasterKey},
		{"HIBARI_EGRESS_ALLOW", "", "CIDRs webhooks may reach besides public addresses, comma-separated", setEgressAllow},
		{"HIBARI_EGRESS_ALLOW_PRIVATE", "", "1: allow HIBARI_EGRESS_ALLOW together with a public URL", setEgressAllowPrivate},
		{"HIBARI_SMTP_URL", "", "mail server: smtp://user:password@host:587?from=hibari@example.com, or smtps:// (default: none)", setSMTPURL},
		{"HIBARI_LOG", "info", "debug, info, warn or error", setLog},
		{"HIBARI_SIGNUP", "open", "open or closed", setSignup},
		{"HIBARI_TRUSTED_PROXIES", "", "CIDRs of proxies whose Forwarded or X-Forwarded-For is believed, comma-separated", setTrustedProxies},
		{"HIBARI_TLS_CERT", "", "certificate file: serve HTTPS", func(c *config, v string) error { c.tlsCert = v; return nil }},
		{"HIBARI_TLS_KEY", "", "key file of the certificate", func(c *config, v string) error { c.tlsKey = v; return nil }},
	}
}

// flagName is the flag of a setting: HIBARI_HTTP_ADDR is -http-addr.
func (s setting) flagName() string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(s.env, "HIBARI_"), "_", "-"))
}

// secret reports whether the value is or holds a secret.
func (s setting) secret() bool {
	return slices.Contains([]string{"HIBARI_MASTER_KEY", "HIBARI_DATABASE_URL", "HIBARI_SMTP_URL"}, s.env)
}

// readConfig reads the settings from the environment, by getenv, and from args,
// in which flags win; fs may already hold the command's own flags. The error
// names the wrong setting and fits one line.
func readConfig(fs *flag.FlagSet, args []string, getenv func(string) string, io stdio) (*config, error) {
	all := settings()
	values := make([]*string, len(all))
	for i, s := range all {
		def := getenv(s.env)
		if def == "" {
			def = s.def
		}
		if s.secret() {
			values[i] = &def // not a flag's default, which -h would print
			fs.Func(s.flagName(), s.about+" ("+s.env+")", func(v string) error { *values[i] = v; return nil })
			continue
		}
		values[i] = fs.String(s.flagName(), def, s.about+" ("+s.env+")")
	}
	if err := parseFlags(fs, args, io); err != nil {
		return nil, err
	}
	c := &config{}
	for i, s := range all {
		if err := s.set(c, strings.TrimSpace(*values[i])); err != nil {
			return nil, fmt.Errorf("%s: %w", s.env, err)
		}
	}
	return c, c.check()
}

// parseFlags parses args, refuses what is left over and sends help to the
// command's output.
func parseFlags(fs *flag.FlagSet, args []string, stdio stdio) error {
	fs.SetOutput(io.Discard)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(stdio.out)
			fmt.Fprintf(stdio.out, "Usage: platform %s [flags]\n", fs.Name())
			fs.PrintDefaults()
			return err
		}
		return fmt.Errorf("%w: %v; see platform %s -h", errUsage, err, fs.Name())
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("%w: unexpected %q; see platform %s -h", errUsage, fs.Arg(0), fs.Name())
	}
	return nil
}

// check refuses settings that contradict each other.
func (c *config) check() error {
	if c.publicURL == nil {
		_, port, _ := net.SplitHostPort(c.httpAddr)
		scheme := "http"
		if c.tlsCert != "" {
			scheme = "https"
		}
		c.publicURL = &url.URL{Scheme: scheme, Host: net.JoinHostPort("localhost", port)}
	}
	if c.smtpURL != "" {
		var err error
		if c.smtp, err = mail.ParseURL(c.smtpURL, c.publicURL); err != nil {
			return fmt.Errorf("HIBARI_SMTP_URL: %w", err)
		}
	}
	if (c.tlsCert == "") != (c.tlsKey == "") {
		return errors.New("HIBARI_TLS_CERT and HIBARI_TLS_KEY must be set together")
	}
	if len(c.egressAllow) > 0 && !c.local() && !c.egressAllowPrivate {
		return errors.New("HIBARI_EGRESS_ALLOW: refused with a public HIBARI_PUBLIC_URL; set HIBARI_EGRESS_ALLOW_PRIVATE=1 as well if webhooks may really reach these networks")
	}
	return nil
}

// local reports whether the public URL is on this machine: development.
func (c *config) local() bool { return isLoopback(c.publicURL.Hostname()) }

// post is how the platform writes to people: by the mail server, in development
// without one to the log, else not at all.
func (c *config) post(log *slog.Logger) tenant.Post {
	post := tenant.Post{PublicURL: c.publicURL.String()}
	switch {
	case c.smtp != nil:
		post.Mailer, post.Delivers = c.smtp, true
	case c.local():
		post.Mailer = mail.Log{Log: log}
	}
	return post
}

// hooks is what the webhooks need to know of the settings.
func (c *config) hooks(log *slog.Logger) webhooks.Config {
	return webhooks.Config{EgressAllow: c.egressAllow, AllowPrivate: c.egressAllowPrivate, Production: !c.local(), Log: log,
		Version: version, NodeName: nodeName()}
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}

func setHTTPAddr(c *config, v string) error {
	if err := checkAddr(v); err != nil {
		return err
	}
	c.httpAddr = v
	return nil
}

func setMediaAddr(c *config, v string) error {
	if err := checkAddr(v); err != nil {
		return err
	}
	c.mediaAddr = v
	return nil
}

func checkAddr(v string) error {
	_, port, err := net.SplitHostPort(v)
	if err != nil || port == "" {
		return fmt.Errorf("%q is no host:port", v)
	}
	if _, err := net.LookupPort("udp", port); err != nil {
		return fmt.Errorf("%q has no valid port", v)
	}
	return nil
}

func setPublicURL(c *config, v string) error {
	if v == "" {
		return nil
	}
	u, err := url.Parse(v)
	if err == nil && u.User != nil {
		return errors.New("must not hold a user name or password") // nor repeat them
	}
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("%q is no http or https URL", v)
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("%q must not have a path", v)
	}
	c.publicURL = &url.URL{Scheme: u.Scheme, Host: u.Host}
	return nil
}

func setMediaIPs(c *config, v string) error {
	for s := range strings.SplitSeq(v, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		addr, err := netip.ParseAddr(s)
		if err != nil || addr.IsUnspecified() {
			return fmt.Errorf("%q is no IP address to offer", s)
		}
		c.mediaIPs = append(c.mediaIPs, addr)
	}
	return nil
}

func setDatabaseURL(c *config, v string) error {
	if v == "" {
		return nil
	}
	// The value holds a password: the error must not repeat it.
	if u, err := url.Parse(v); err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New("is no postgres:// URL")
	}
	c.databaseURL = v
	return nil
}

func setDataDir(c *config, v string) error {
	if v == "" {
		return errors.New("is empty")
	}
	c.dataDir = v
	return nil
}

func setNATSURL(_ *config, v string) error {
	if v != "" {
		return errors.New("this version runs nodes without a bus; leave it empty")
	}
	return nil
}

// setSMTPURL keeps the URL for check, which knows the public one.
func setSMTPURL(c *config, v string) error {
	c.smtpURL = v
	return nil
}

func setMasterKey(c *config, v string) error {
	if v == "" {
		return nil
	}
	key, err := base64.StdEncoding.DecodeString(v)
	if err != nil || len(key) != 32 {
		return errors.New("is not 32 bytes in base64; make one with: openssl rand -base64 32")
	}
	c.masterKey = key
	return nil
}

func setEgressAllow(c *config, v string) error {
	for s := range strings.SplitSeq(v, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(s)
		if err != nil {
			return fmt.Errorf("%q is no CIDR such as 10.1.0.0/16", s)
		}
		c.egressAllow = append(c.egressAllow, prefix.Masked())
	}
	return nil
}

func setTrustedProxies(c *config, v string) error {
	for s := range strings.SplitSeq(v, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		prefix, err := netip.ParsePrefix(s)
		if addr, errAddr := netip.ParseAddr(s); errAddr == nil {
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			return fmt.Errorf("%q is no CIDR such as 10.1.0.0/16", s)
		}
		if prefix.Bits() == 0 {
			return fmt.Errorf("%q is everybody: then clients could write what address they like", s)
		}
		c.trustedProxies = append(c.trustedProxies, prefix.Masked())
	}
	return nil
}

func setEgressAllowPrivate(c *config, v string) error {
	switch v {
	case "", "0":
	case "1":
		c.egressAllowPrivate = true
	default:
		return fmt.Errorf("%q is neither 0 nor 1", v)
	}
	return nil
}

func setLog(c *config, v string) error {
	if err := c.logLevel.UnmarshalText([]byte(v)); err != nil {
		return fmt.Errorf("%q is none of debug, info, warn, error", v)
	}
	return nil
}

func setSignup(c *config, v string) error {
	if v != "open" && v != "closed" {
		return fmt.Errorf("%q is neither open nor closed", v)
	}
	c.signupOpen = v == "open"
	return nil
}
