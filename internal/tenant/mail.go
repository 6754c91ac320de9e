package tenant

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Message is a mail to one person, in plain text.
type Message struct {
	To, Subject, Text string
}

// Mailer hands a message to a mail server. An error that wraps ErrMailRefused
// is the server's last word on it; any other may be gone in a moment.
type Mailer interface {
	Send(ctx context.Context, m Message) error
}

// ErrMailRefused is a mail server that will not take a message, however often
// it is asked (a reply of 5xx, RFC 5321 §4.2.1).
var ErrMailRefused = errors.New("the mail server refuses the message")

// Post is how the platform writes to people.
type Post struct {
	Mailer Mailer // nil: it cannot
	// Delivers says that mail reaches people: a sign-up's address is checked
	// then. Development writes mail to the log instead.
	Delivers bool
	// PublicURL is the origin that links lead to. A link is never made of what a
	// request says about its host.
	PublicURL string
}

// UsePost says how to write to people. It is for the start, before Run and
// before the first request; without it no mail can be written.
func (s *Store) UsePost(p Post) {
	p.PublicURL = strings.TrimSuffix(p.PublicURL, "/")
	s.post = p
}

// CanMail reports whether mail can be written, be it only to the log.
func (s *Store) CanMail() bool { return s.post.Mailer != nil }

// Delivers reports whether mail reaches people.
func (s *Store) Delivers() bool { return s.post.Mailer != nil && s.post.Delivers }

// mailing is a message that waits in the outbox, and what it is about: a word
// for the log, which must not name the person or hold the text.
type mailing struct {
	kind string
	Message
}

// noMail is posted where there is nobody to write to, so that this takes as
// long as if there were.
const noMail = "none"

// queue posts a mail in the transaction of the change it tells of: it is sent
// if and only if that is committed. The caller wakes the postman after it.
func (s *Store) queue(ctx context.Context, db Execer, m mailing) error {
	id := "mail_" + NewID()
	plain, err := json.Marshal(m.Message)
	if err != nil {
		return fmt.Errorf("couldn't write a mail down: %w", err)
	}
	_, err = db.Exec(ctx, `insert into mail_outbox (mail_id, kind, sealed) values ($1, $2, $3)`, id, m.kind, s.master.seal(plain, "mail", id))
	if err != nil {
		return fmt.Errorf("couldn't post a mail: %w", err)
	}
	return nil
}

// link is where a mail leads. The token stands in the query of a page that
// only asks: it is good once, for a short time, and that page lets no other
// site know its address.
func (s *Store) link(path, token string) string { return s.post.PublicURL + path + "?t=" + token }

// The mails. Each says who caused it and what to do if that was not you.

// signupMail names no organisation: what a stranger typed must not get to
// people who never heard of us.
func signupMail(to, link string) mailing {
	return mailing{"signup", Message{to, "Confirm your address for Hibari", fmt.Sprintf(`Hello,

somebody, we hope you, signed up for Hibari with this address.
Confirm it within a day, and your organisation is set up:

%s

If it was not you, do nothing: nothing is set up then.
`, link)}}
}

func alreadyMail(to, publicURL string) mailing {
	return mailing{"signup_taken", Message{to, "You already have a Hibari account", fmt.Sprintf(`Hello,

somebody, perhaps you, signed up for Hibari with this address, which has an
account already. Log in with it, or choose a new password:

%[1]s/login
%[1]s/forgot

If it was not you, do nothing: nothing has changed.
`, publicURL)}}
}

func resetMail(to, link string) mailing {
	return mailing{"reset", Message{to, "Choose a new Hibari password", fmt.Sprintf(`Hello,

somebody, we hope you, asked for a new password for this address.
Choose it within an hour:

%s

If it was not you, do nothing: your password stays as it is.
`, link)}}
}

func passwordChangedMail(to, publicURL string) mailing {
	return mailing{"password_changed", Message{to, "Your Hibari password has changed", fmt.Sprintf(`Hello,

the password of your Hibari account has just been changed, and all other
log-ins were ended. If it was not you, choose a new one at once and tell the
owners of your organisation:

%s/forgot
`, publicURL)}}
}

func emailMail(to, link string) mailing {
	return mailing{"email", Message{to, "Confirm your new address for Hibari", fmt.Sprintf(`Hello,

somebody, we hope you, wants to log in to Hibari with this address from now on.
Confirm it within a day:

%s

If it was not you, do nothing: nothing changes then.
`, link)}}
}

func emailChangedMail(to, publicURL string) mailing {
	return mailing{"email_changed", Message{to, "Your Hibari log-in has a new address", fmt.Sprintf(`Hello,

your Hibari account has just been moved from this address to another.
If it was not you, tell the owners of your organisation at once.

%s
`, publicURL)}}
}

func invitationMail(to, organisation, by string, role MemberRole, link string) mailing {
	return mailing{"invitation", Message{to, "You are invited to " + organisation + " on Hibari", fmt.Sprintf(`Hello,

%s invites you to the organisation %s on Hibari, as %s.
Accept within a week and choose a password:

%s

If you expected nothing of this kind, do nothing.
`, by, organisation, role, link)}}
}
