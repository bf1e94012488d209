package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/wneessen/go-mail/smtp"
)

// longestSending is the time limit for one e-mail. The context of a request usually has a shorter one.
const longestSending = time.Minute

// dialTimeout is the time limit for a connection, as in the stock component.
const dialTimeout = 10 * time.Second

// server is a mail server as the settings describe it.
type server struct {
	host, address  string
	user, password string
	tls            bool // from the first byte
	skipVerify     bool
}

// send gives an e-mail to the server. It returns when the server has accepted it, also if the connection then breaks.
func (s server) send(ctx context.Context, m composed) error {
	ctx, cancel := context.WithTimeout(ctx, longestSending)
	defer cancel()
	dialer := net.Dialer{Timeout: dialTimeout}
	connection, err := dialer.DialContext(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("connecting to the mail server: %w", err)
	}
	// The client of SMTP knows no context. Without a connection, its commands end.
	stop := context.AfterFunc(ctx, func() { _ = connection.Close() })
	defer connection.Close()
	defer stop()
	err = s.converse(connection, m)
	if ended := ctx.Err(); ended != nil && err != nil {
		return fmt.Errorf("waiting for the mail server: %w (%w)", ended, err)
	}
	return err
}

func (s server) converse(connection net.Conn, m composed) error {
	if s.tls {
		connection = tls.Client(connection, s.tlsConfig())
	}
	client, err := smtp.NewClient(connection, s.host)
	if err != nil {
		return fmt.Errorf("greeting the mail server: %w", err)
	}
	if err := s.secure(client); err != nil {
		return err
	}
	if err := s.authenticate(client); err != nil {
		return err
	}
	if err := transact(client, m); err != nil {
		return err
	}
	_ = client.Quit() // the server has the e-mail already
	return nil
}

// secure switches to TLS if the server offers it.
func (s server) secure(client *smtp.Client) error {
	if s.tls {
		return nil
	}
	if offered, _ := client.Extension("STARTTLS"); !offered {
		return nil
	}
	if err := client.StartTLS(s.tlsConfig()); err != nil {
		return fmt.Errorf("starting TLS with the mail server: %w", err)
	}
	return nil
}

func (s server) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: s.host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: s.skipVerify}
}

// authenticate logs in if there is a user. Passwords are sent only over TLS or to this machine. A server that does not
// let its clients log in gets no e-mail; the stock component would send it without logging in.
func (s server) authenticate(client *smtp.Client) error {
	if s.user == "" {
		return nil
	}
	offered, list := client.Extension("AUTH")
	if !offered {
		return errors.New("logging in at the mail server: it offers no way to do so")
	}
	mechanism := smtp.PlainAuth("", s.user, s.password, s.host, false)
	switch {
	case strings.Contains(list, "CRAM-MD5"):
		mechanism = smtp.CRAMMD5Auth(s.user, s.password)
	case strings.Contains(list, "LOGIN") && !strings.Contains(list, "PLAIN"):
		mechanism = smtp.LoginAuth(s.user, s.password, s.host, false)
	}
	if err := client.Auth(mechanism); err != nil {
		return fmt.Errorf("logging in at the mail server: %w", err)
	}
	return nil
}

// transact sends the e-mail. If the server refuses any recipient, nobody gets it.
func transact(client *smtp.Client, m composed) error {
	if offered, _ := client.Extension("SMTPUTF8"); !offered && !m.plain() {
		return refuse("553 5.6.7 the mail server accepts no address with characters beyond ASCII")
	}
	if err := client.Mail(m.from); err != nil {
		return m.failed("naming the sender", err)
	}
	var refused error
	for _, to := range m.to {
		err := m.failed("naming a recipient", client.Rcpt(to))
		var permanent *refusal
		if err != nil && !errors.As(err, &permanent) {
			return err
		}
		refused = errors.Join(refused, err)
	}
	if refused != nil {
		return refused
	}
	data, err := client.Data()
	if err != nil {
		return m.failed("beginning the e-mail", err)
	}
	// Without Close after a failure: it would tell the server that the incomplete e-mail is complete.
	if _, err := data.Write(m.body); err != nil {
		return fmt.Errorf("sending the e-mail: %w", err)
	}
	return m.failed("ending the e-mail", data.Close())
}

// plain reports whether all addresses are ASCII.
func (m composed) plain() bool {
	beyond := func(text string) bool {
		return strings.ContainsFunc(text, func(r rune) bool { return r > unicode.MaxASCII })
	}
	return !beyond(m.from) && !slices.ContainsFunc(m.to, beyond)
}

// failed makes a refusal of an error with a code from 500 on. Codes that are about the login (RFC 4954) say nothing about
// the e-mail.
func (m composed) failed(doing string, err error) error {
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		if err == nil {
			return nil
		}
		return fmt.Errorf("%s: %w", doing, err)
	}
	// An address does not belong in logs.
	text := strings.Join(strings.Fields(reply.Msg), " ")
	for _, to := range m.to {
		text = strings.ReplaceAll(text, strings.Trim(to, "<>"), "recipient")
	}
	switch reply.Code {
	case 530, 534, 535, 538:
		return fmt.Errorf("%s: not logged in: %d %s", doing, reply.Code, text)
	}
	if reply.Code >= 500 {
		return refuse("%d %s", reply.Code, text)
	}
	return fmt.Errorf("%s: %d %s", doing, reply.Code, text)
}
