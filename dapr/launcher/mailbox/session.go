package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/emersion/go-smtp"
)

// session is one connection of a client.
type session struct {
	ctx    context.Context // of the server: it ends stalls
	conn   *smtp.Conn
	box    *box
	faults *faults

	from string
	to   []string
}

// Mail implements smtp.Session.
func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from, s.to = from, nil
	return nil
}

// Rcpt implements smtp.Session. A fault that refuses, defers or stalls has its effect here.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	switch fault := s.faults.draw(refuse, deferring, stall); fault.mode {
	case refuse:
		return &smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "The mailbox was told to refuse"}
	case deferring:
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "The mailbox was told to defer"}
	case stall:
		slog.Info("stalling")
		// When the fault ends, the client has given up, or goes on.
		if err := fault.wait(s.ctx); err != nil {
			return &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 3, 2}, Message: "The mailbox is stopping"}
		}
	}
	return nil
}

// Data implements smtp.Session. The e-mail is kept before it is accepted.
func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if errors.Is(err, smtp.ErrDataTooLarge) {
		return err
	}
	if err != nil {
		return fmt.Errorf("reading an e-mail: %w", err)
	}
	id, err := s.box.add(time.Now(), s.from, s.to, raw)
	if err != nil {
		slog.Error("an e-mail could not be kept", "error", err.Error())
		return &smtp.SMTPError{Code: 452, EnhancedCode: smtp.EnhancedCode{4, 3, 1}, Message: "The e-mail could not be kept"}
	}
	slog.Info("accepted", "id", id, "bytes", len(raw)) // without addresses
	if s.faults.draw(lose).mode == lose {
		slog.Info("losing the answer", "id", id)
		_ = s.conn.Conn().Close()
	}
	return nil
}

// Reset implements smtp.Session.
func (s *session) Reset() { s.from, s.to = "", nil }

// Logout implements smtp.Session.
func (s *session) Logout() error { return nil }
