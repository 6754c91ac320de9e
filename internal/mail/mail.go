// Package mail hands the platform's mail to a mail server, or to the log.
package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/mail"
	"net/url"
	"strconv"

	gomail "github.com/wneessen/go-mail"

	"github.com/hibari/hibari/internal/tenant"
)

// SMTP is a mail server (RFC 5321, submission RFC 6409). Its methods may be
// called at once from many goroutines: each message has its own connection.
type SMTP struct {
	// Static.
	host    string
	options []gomail.Option
	from    string
}

// ParseURL reads the URL of a mail server:
//
//	smtp://user:password@host:587?from=Hibari%20<hibari@example.com>
//	smtps://user:password@host
//
// smtp uses STARTTLS (RFC 3207), to which a server that is not on this machine
// must agree; smtps speaks TLS from the first byte (RFC 8314). Ports default to
// 587 and 465. Without from, mail comes from hibari at the host of publicURL.
// Errors never repeat the URL, which holds a password.
func ParseURL(text string, publicURL *url.URL) (*SMTP, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "smtp" && u.Scheme != "smtps" || u.Hostname() == "" {
		return nil, errors.New("is no smtp:// or smtps:// URL with a host")
	}
	if u.Path != "" && u.Path != "/" || u.Fragment != "" {
		return nil, errors.New("must not have a path")
	}
	s := &SMTP{host: u.Hostname(), from: "Hibari <hibari@" + publicURL.Hostname() + ">"}
	for name, values := range u.Query() {
		if name != "from" || len(values) != 1 {
			return nil, fmt.Errorf("knows no parameter %q: want from", name)
		}
		s.from = values[0]
	}
	if _, err := mail.ParseAddress(s.from); err != nil {
		return nil, errors.New("has no address of a sender in from, such as hibari@example.com")
	}
	port := 587
	if u.Scheme == "smtps" {
		port = 465
		s.options = append(s.options, gomail.WithSSL())
	} else {
		s.options = append(s.options, startTLS(u.Hostname())...)
	}
	if u.Port() != "" {
		if port, err = strconv.Atoi(u.Port()); err != nil || port < 1 || port > 65535 {
			return nil, errors.New("has no valid port")
		}
	}
	s.options = append(s.options, gomail.WithPort(port), gomail.WithoutNoop())
	if user := u.User.Username(); user != "" {
		password, _ := u.User.Password()
		s.options = append(s.options, gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover), gomail.WithUsername(user), gomail.WithPassword(password))
	}
	return s, nil
}

// startTLS: a password, and a link that opens something, go over a network only
// to whom the certificate names. On this machine there is nobody in between, and
// a mail server often has a certificate that nobody signed.
func startTLS(host string) []gomail.Option {
	if host == "localhost" || host == "127.0.0.1" || host == "::1" {
		return []gomail.Option{gomail.WithTLSPolicy(gomail.TLSOpportunistic), gomail.WithTLSConfig(&tls.Config{ServerName: host, InsecureSkipVerify: true})}
	}
	return []gomail.Option{gomail.WithTLSPolicy(gomail.TLSMandatory)}
}

// Send hands a message over. An error wraps tenant.ErrMailRefused if the server
// will not have it; another try is no use then.
func (s *SMTP) Send(ctx context.Context, m tenant.Message) error {
	message := gomail.NewMsg()
	if err := message.From(s.from); err != nil {
		return fmt.Errorf("couldn't write a mail: %w", err)
	}
	if err := message.To(m.To); err != nil {
		return fmt.Errorf("%w: its address cannot be written", tenant.ErrMailRefused)
	}
	message.Subject(m.Subject)
	message.SetDate()
	message.SetMessageID()
	message.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no answers from machines
	message.SetBodyString(gomail.TypeTextPlain, m.Text)
	client, err := gomail.NewClient(s.host, s.options...)
	if err != nil {
		return fmt.Errorf("couldn't use the mail server's settings: %w", err)
	}
	err = send(ctx, client, message)
	var failed *gomail.SendError
	if errors.As(err, &failed) { // its text names the person: it is not for the log
		if failed.ErrorCode() >= 500 && (failed.Reason == gomail.ErrSMTPRcptTo || failed.Reason == gomail.ErrSMTPDataClose) {
			return fmt.Errorf("%w: reply %d", tenant.ErrMailRefused, failed.ErrorCode())
		}
		return fmt.Errorf("the mail server did not take a mail: step %s, reply %d", failed.Reason, failed.ErrorCode())
	}
	if err != nil {
		return fmt.Errorf("couldn't hand a mail to the mail server: %w", err)
	}
	return nil
}

// send gives up when ctx ends, which the client heeds only while it connects. What
// it was doing then ends by the client's own time limit of 15 s.
func send(ctx context.Context, client *gomail.Client, message *gomail.Msg) error {
	sent := make(chan error, 1)
	go func() { sent <- client.DialAndSendWithContext(ctx, message) }()
	select {
	case err := <-sent:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Log writes mail to the log in the place of sending it: for development, where
// the log is read by whom the mail is for.
type Log struct{ Log *slog.Logger }

// Send writes a message to the log.
func (l Log) Send(_ context.Context, m tenant.Message) error {
	l.Log.Info("a mail, written here because HIBARI_SMTP_URL is empty", "to", m.To, "subject", m.Subject, "text", m.Text)
	return nil
}
