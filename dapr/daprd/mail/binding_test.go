package mail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dapr/components-contrib/bindings"
	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/kit/logger"
	"github.com/emersion/go-smtp"
)

func TestAnEmailHasBothPartsAndItsHeaders(t *testing.T) {
	server := serve(t, nil)
	b := server.binding(t, nil)
	b.now = func() time.Time { return time.Date(2026, 11, 26, 21, 0, 0, 0, time.UTC) }
	text, html := "Grüße,\n.\nein Punkt & mehr\n", `<p>Grüße &amp; ein <a href="https://shop.example/?a=1&amp;b=2">Link</a></p>`
	if refused, err := invoke(t.Context(), b, request(html, map[string]string{
		"emailTo": `"Ada, Countess" <ada@example.com>`, "subject": "Bestellung bestätigt", "textBody": text,
		"messageId": "01934d5c-7a0f", "replyTo": "Hilfe <help@caravan.example>", "emailBCC": "archive@caravan.example",
		"listUnsubscribe": "https://shop.example/u/abc?k=v&x=y", "listUnsubscribePost": "List-Unsubscribe=One-Click",
	})); refused != "" || err != nil {
		t.Fatal(refused, err)
	}
	got := server.got()
	if len(got) != 1 || got[0].from != "shop@caravan.example" || strings.Join(got[0].to, " ") != "ada@example.com archive@caravan.example" {
		t.Fatalf("received %+v", got)
	}
	m := parse(t, got[0].raw)
	if m.kind != "multipart/alternative" || m.parts["text/plain"] != text || m.parts["text/html"] != html {
		t.Errorf("%s with %q", m.kind, m.parts)
	}
	if strings.Index(string(got[0].raw), "text/plain") > strings.Index(string(got[0].raw), "text/html") {
		t.Error("the HTML is not the last part, so readers do not prefer it")
	}
	if m.subject(t) != "Bestellung bestätigt" {
		t.Errorf("subject %q", m.subject(t))
	}
	for name, want := range map[string]string{
		"From": `"Caravan" <shop@caravan.example>`, "To": `"Ada, Countess" <ada@example.com>`,
		"Reply-To": `"Hilfe" <help@caravan.example>`, "Message-Id": "<01934d5c-7a0f@caravan.example>",
		"Date": "Thu, 26 Nov 2026 21:00:00 +0000", "List-Unsubscribe": "<https://shop.example/u/abc?k=v&x=y>",
		"List-Unsubscribe-Post": "List-Unsubscribe=One-Click", "Auto-Submitted": "auto-generated", "X-Priority": "3",
	} {
		if strings.Join(m.Header[name], "|") != want {
			t.Errorf("%s is %q, want %q", name, m.Header[name], want)
		}
	}
	if strings.Contains(string(got[0].raw), "archive@") {
		t.Error("the blind copy is visible")
	}
}

func TestRequestsOfTheStockComponentWork(t *testing.T) {
	server := serve(t, nil)
	b := server.binding(t, map[string]string{"emailCC": "team@caravan.example", "subject": "Standing", "priority": "5"})
	for _, data := range []string{`"<p>\u003cquoted\u003e<\/p>"`, `<p>raw "data" of gRPC</p>`} {
		if refused, err := invoke(t.Context(), b, &bindings.InvokeRequest{
			Data: []byte(data), Metadata: map[string]string{"emailTo": "a@example.com;b@example.com"},
		}); refused != "" || err != nil {
			t.Fatal(refused, err)
		}
	}
	got := server.got()
	if len(got) != 2 || len(got[0].to) != 3 {
		t.Fatalf("received %+v", got)
	}
	for i, want := range []string{"<p><quoted></p>", `<p>raw "data" of gRPC</p>`} {
		m := parse(t, got[i].raw)
		if m.kind != "text/html" || m.parts["text/html"] != want || m.subject(t) != "Standing" || m.Get("X-Priority") != "5" {
			t.Errorf("%s %q", got[i].raw, m.parts)
		}
		if len(m.Get("Message-Id")) < 20 || m.Get("Date") == "" {
			t.Errorf("no id or date: %s", got[i].raw)
		}
	}
	if first, second := parse(t, got[0].raw), parse(t, got[1].raw); first.Get("Message-Id") == second.Get("Message-Id") {
		t.Error("two e-mails have one id")
	}
}

// TestNoRequestAffectsAnother: the stock component writes the request's metadata into the settings of the component.
func TestNoRequestAffectsAnother(t *testing.T) {
	server := serve(t, nil)
	b := server.binding(t, nil)
	if refused, err := invoke(t.Context(), b, request("<p>1</p>", map[string]string{"emailBCC": "secret@example.com", "subject": "First"})); refused != "" || err != nil {
		t.Fatal(refused, err)
	}
	if refused, err := invoke(t.Context(), b, request("<p>2</p>", map[string]string{"emailTo": "other@example.com"})); refused != "" || err != nil {
		t.Fatal(refused, err)
	}
	if got := server.got(); len(got) != 2 || strings.Join(got[1].to, " ") != "other@example.com" {
		t.Errorf("received %+v", got)
	}
	const many = 40
	var group sync.WaitGroup
	for i := range many {
		group.Go(func() {
			to := fmt.Sprintf("u%d@example.com", i)
			if refused, err := invoke(t.Context(), b, request("<p>"+to+"</p>", map[string]string{"emailTo": to})); refused != "" || err != nil {
				t.Error(refused, err)
			}
		})
	}
	group.Wait()
	seen := map[string]bool{}
	for _, m := range server.got()[2:] {
		if len(m.to) != 1 || parse(t, m.raw).parts["text/html"] != "<p>"+m.to[0]+"</p>" || seen[m.to[0]] {
			t.Errorf("%s got %s", m.to, m.raw)
		}
		seen[m.to[0]] = true
	}
	if len(seen) != many {
		t.Errorf("%d of %d e-mails arrived", len(seen), many)
	}
}

func TestNothingIsInjected(t *testing.T) {
	server := serve(t, nil)
	b := server.binding(t, nil)
	const attack = "x\r\nBcc: thief@example.com\r\n\r\n<b>body</b>\r\n.\r\nMAIL FROM:<thief@example.com>\r\n"
	for name, c := range map[string]struct {
		metadata map[string]string
		refused  string // "" if the e-mail is sent without harm
	}{
		"subject":        {map[string]string{"subject": attack}, ""},
		"name":           {map[string]string{"emailTo": "=?utf-8?q?x=0D=0ABcc=3A_thief=40example.com?= <ada@example.com>"}, ""},
		"text":           {map[string]string{"textBody": attack}, ""},
		"separators":     {map[string]string{"subject": "a\u2028b\u2029c\u0085d\x00e"}, ""},
		"recipient":      {map[string]string{"emailTo": "ada@example.com>\r\nRCPT TO:<thief@example.com"}, "emailTo"},
		"quoted address": {map[string]string{"emailTo": "\"a\r\n b\"@example.com"}, "emailTo"},
		"parameter":      {map[string]string{"emailTo": "ada@example.com> NOTIFY=NEVER"}, "emailTo"},
		"copy":           {map[string]string{"emailCC": attack}, "emailCC"},
		"blind copy":     {map[string]string{"emailBCC": attack}, "emailBCC"},
		"id":             {map[string]string{"messageId": "1>\r\nBcc: thief@example.com"}, "messageId"},
		"id with space":  {map[string]string{"messageId": "1 2@x"}, "messageId"},
		"reply":          {map[string]string{"replyTo": attack}, "replyTo"},
		"link":           {map[string]string{"listUnsubscribe": "https://shop.example/\r\nBcc: thief@example.com"}, "listUnsubscribe"},
		"closed link":    {map[string]string{"listUnsubscribe": "https://shop.example/>,<mailto:thief@example.com"}, "listUnsubscribe"},
		"other scheme":   {map[string]string{"listUnsubscribe": "javascript:alert(1)"}, "listUnsubscribe"},
		"post":           {map[string]string{"listUnsubscribe": "https://shop.example/", "listUnsubscribePost": attack}, "listUnsubscribePost"},
		"priority":       {map[string]string{"priority": "1\r\nBcc: thief@example.com"}, "priority"},
		"long subject":   {map[string]string{"subject": strings.Repeat("x", longestSubject+1)}, "subject"},
		"empty subject":  {map[string]string{"subject": "\r\n\t"}, "subject"},
	} {
		before := len(server.got())
		refused, err := invoke(t.Context(), b, request("<p>x</p>", c.metadata))
		if err != nil || (c.refused == "") != (refused == "") || !strings.Contains(refused, c.refused) {
			t.Errorf("%s: refused %q, %v", name, refused, err)
		}
		if strings.Contains(refused, "thief") {
			t.Errorf("%s: the refusal repeats what was sent: %q", name, refused)
		}
		got := server.got()[before:]
		if c.refused != "" {
			if len(got) != 0 {
				t.Errorf("%s: sent %s", name, got[0].raw)
			}
			continue
		}
		if len(got) != 1 || strings.Join(got[0].to, " ") != "ada@example.com" {
			t.Fatalf("%s: received %+v", name, got)
		}
		m := parse(t, got[0].raw)
		if m.Header["Bcc"] != nil || len(m.Header) > 12 || strings.ContainsAny(m.subject(t), "\r\n\x00\u0085\u2028\u2029") {
			t.Errorf("%s: %s", name, got[0].raw)
		}
	}
}

func TestOnlyPermanentRefusalsAreData(t *testing.T) {
	server := serve(t, nil)
	b := server.binding(t, nil)
	reply := func(code int, text string) error { return &smtp.SMTPError{Code: code, Message: text} }
	for _, c := range []struct {
		stage   string
		err     error
		refused string // "" for an error
	}{
		{"rcpt", reply(550, "ada@example.com is unknown"), "550 5.0.0 recipient is unknown"},
		{"rcpt", reply(451, "try later"), ""},
		{"rcpt", reply(421, "closing"), ""},
		{"mail", reply(553, "not your address"), "553 5.0.0 not your address"},
		{"mail", reply(450, "busy"), ""},
		{"mail", reply(530, "log in first"), ""},
		{"mail", reply(535, "wrong password"), ""},
		{"data", reply(554, "looks like spam"), "554 5.0.0 looks like spam"},
		{"data", reply(452, "disk full"), ""},
	} {
		server.answer(func(stage, _ string, _ net.Conn) error {
			if stage == c.stage {
				return c.err
			}
			return nil
		})
		refused, err := invoke(t.Context(), b, request("<p>x</p>", nil))
		if refused != c.refused || (err != nil) != (c.refused == "") {
			t.Errorf("%s %v: refused %q, %v", c.stage, c.err, refused, err)
		}
		if err != nil && strings.Contains(err.Error(), "ada@") {
			t.Errorf("the error has an address: %v", err)
		}
	}
	// One recipient may get it later, so all wait.
	server.answer(func(stage, argument string, _ net.Conn) error {
		switch {
		case stage == "rcpt" && argument == "a@example.com":
			return reply(550, "unknown")
		case stage == "rcpt" && argument == "b@example.com":
			return reply(450, "busy")
		}
		return nil
	})
	if refused, err := invoke(t.Context(), b, request("<p>x</p>", map[string]string{"emailTo": "a@example.com;b@example.com"})); refused != "" || err == nil {
		t.Errorf("refused %q, %v", refused, err)
	}
	if got := server.got(); len(got) != 0 {
		t.Errorf("received %+v", got)
	}
	server.answer(nil)
	if refused, err := invoke(t.Context(), b, request("<p>x</p>", nil)); refused != "" || err != nil || len(server.got()) != 1 {
		t.Errorf("afterwards: refused %q, %v", refused, err)
	}
}

// TestItEndsWithItsContext: the server stalls at each stage.
func TestItEndsWithItsContext(t *testing.T) {
	for _, stage := range []string{"greeting", "mail", "rcpt", "data"} {
		for _, way := range []string{"deadline", "cancel"} {
			t.Run(stage+" "+way, func(t *testing.T) {
				t.Parallel()
				reached, release := make(chan struct{}), make(chan struct{})
				b := stalling(t, stage, reached, release)
				defer close(release)
				ctx, cancel := context.WithCancel(t.Context())
				if way == "deadline" {
					ctx, cancel = context.WithTimeout(t.Context(), 500*time.Millisecond)
				}
				defer cancel()
				ended := make(chan error, 1)
				go func() {
					refused, err := invoke(ctx, b, request("<p>x</p>", nil))
					if refused != "" {
						err = errors.New("refused: " + refused)
					}
					ended <- err
				}()
				wait(t, reached, "the server to stall")
				want := context.DeadlineExceeded
				if way == "cancel" {
					want = context.Canceled
					cancel()
				}
				select {
				case err := <-ended:
					if !errors.Is(err, want) {
						t.Errorf("err = %v", err)
					}
				case <-time.After(waitLimit):
					t.Fatal("it still waits for the server")
				}
			})
		}
	}
}

// stalling is a binding whose server waits at a stage until release is closed.
func stalling(t *testing.T, stage string, reached chan<- struct{}, release <-chan struct{}) *Binding {
	t.Helper()
	var once sync.Once
	stall := func() {
		once.Do(func() { close(reached) })
		<-release
	}
	if stage != "greeting" {
		server := serve(t, nil)
		server.answer(func(at, _ string, _ net.Conn) error {
			if at == stage {
				stall()
			}
			return nil
		})
		return server.binding(t, nil)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		connection, err := listener.Accept()
		if err == nil {
			stall()
			_ = connection.Close()
		}
	}()
	return bindingTo(t, listener.Addr().String(), nil)
}

func wait(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(waitLimit):
		t.Fatal("waited too long for " + what)
	}
}

func TestALostConnectionIsNoRefusal(t *testing.T) {
	server := serve(t, nil)
	b := server.binding(t, nil)
	for _, stage := range []string{"mail", "rcpt", "data"} {
		server.answer(func(at, _ string, conn net.Conn) error {
			if at == stage {
				_ = conn.Close()
			}
			return nil
		})
		if refused, err := invoke(t.Context(), b, request("<p>x</p>", nil)); refused != "" || err == nil {
			t.Errorf("%s: refused %q, %v", stage, refused, err)
		}
	}
	if err := server.server.Close(); err != nil {
		t.Fatal(err)
	}
	if refused, err := invoke(t.Context(), b, request("<p>x</p>", nil)); refused != "" || err == nil {
		t.Errorf("without a server: refused %q, %v", refused, err)
	}
}

// TestAnAcceptedEmailIsSent: what happens after the server has accepted it does not matter.
func TestAnAcceptedEmailIsSent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	ended := make(chan error, 1)
	go func() { ended <- acceptAndClose(listener) }()
	b := bindingTo(t, listener.Addr().String(), nil)
	if refused, err := invoke(t.Context(), b, request("<p>x</p>", nil)); refused != "" || err != nil {
		t.Errorf("refused %q, %v", refused, err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// acceptAndClose accepts one e-mail and closes the connection instead of answering QUIT.
func acceptAndClose(listener net.Listener) error {
	connection, err := listener.Accept()
	if err != nil {
		return err
	}
	defer connection.Close()
	conversation := textproto.NewConn(connection)
	for _, step := range []struct{ reply, until string }{
		{"220 hello", "EHLO"}, {"250 hello", "MAIL"}, {"250 ok", "RCPT"}, {"250 ok", "DATA"}, {"354 go on", "."}, {"250 accepted", "QUIT"},
	} {
		if err := conversation.PrintfLine("%s", step.reply); err != nil {
			return err
		}
		for {
			line, err := conversation.ReadLine()
			if err != nil {
				return fmt.Errorf("waiting for %s: %w", step.until, err)
			}
			if line == step.until || step.until != "." && strings.HasPrefix(line, step.until) {
				break
			}
		}
	}
	return nil
}

func TestTLS(t *testing.T) {
	starttls := serve(t, func(s *smtp.Server) { s.TLSConfig = certificate(t) })
	implicit := serve(t, func(s *smtp.Server) { s.TLSConfig, s.Domain = certificate(t), "implicit" })
	for _, server := range []*mailServer{starttls, implicit} {
		for _, skip := range []string{"true", "false"} {
			b := server.binding(t, map[string]string{"skipTLSVerify": skip})
			b.server.tls = server == implicit // as on port 465
			refused, err := invoke(t.Context(), b, request("<p>x</p>", nil))
			if refused != "" || (err == nil) != (skip == "true") {
				t.Errorf("skipTLSVerify %s: refused %q, %v", skip, refused, err)
			}
		}
		if got := server.got(); len(got) != 1 {
			t.Errorf("received %+v", got)
		}
	}
}

func TestLogin(t *testing.T) {
	server := serve(t, func(s *smtp.Server) { s.AllowInsecureAuth = true })
	for password, want := range map[string]bool{"right": true, "wrong": false} {
		b := server.binding(t, map[string]string{"user": "caravan", "password": password})
		refused, err := invoke(t.Context(), b, request("<p>x</p>", nil))
		if refused != "" || (err == nil) != want || err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("%s: refused %q, %v", password, refused, err)
		}
	}
	if len(server.users) != 1 || server.users[0] != "caravan" || len(server.got()) != 1 {
		t.Errorf("logged in: %v", server.users)
	}
	without := serve(t, nil) // offers AUTH only over TLS
	b := without.binding(t, map[string]string{"user": "caravan", "password": "right"})
	if refused, err := invoke(t.Context(), b, request("<p>x</p>", nil)); refused != "" || err == nil || len(without.got()) != 0 {
		t.Errorf("without AUTH: refused %q, %v", refused, err)
	}
	// Neither a password nor an e-mail goes over an open connection to another machine.
	b = server.binding(t, map[string]string{"user": "caravan", "password": "right"})
	b.server.host = "mail.example"
	if refused, err := invoke(t.Context(), b, request("<p>x</p>", nil)); refused != "" || err == nil || len(server.users) != 1 {
		t.Errorf("over an open connection: refused %q, %v", refused, err)
	}
}

func TestAddressesBeyondASCII(t *testing.T) {
	for _, enabled := range []bool{true, false} {
		server := serve(t, func(s *smtp.Server) { s.EnableSMTPUTF8 = enabled })
		refused, err := invoke(t.Context(), server.binding(t, nil), request("<p>x</p>", map[string]string{"emailTo": "jürgen@example.com"}))
		if err != nil || (refused == "") != enabled || len(server.got()) == 1 != enabled {
			t.Errorf("SMTPUTF8 %t: refused %q, %v", enabled, refused, err)
		}
	}
}

func TestWrongSettings(t *testing.T) {
	for name, properties := range map[string]map[string]string{
		"no host":       {"port": "25"},
		"no port":       {"host": "mail.example"},
		"port":          {"host": "mail.example", "port": "70000"},
		"user alone":    {"host": "mail.example", "port": "25", "user": "x"},
		"password only": {"host": "mail.example", "port": "25", "password": "x"},
		"priority":      {"host": "mail.example", "port": "25", "priority": "9"},
		"sender":        {"host": "mail.example", "port": "25", "emailFrom": "nobody"},
	} {
		if err := New(logger.NewLogger("mail")).Init(t.Context(), bindings.Metadata{Base: metadata.Base{Properties: properties}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	server := serve(t, nil)
	b := server.binding(t, map[string]string{"emailFrom": ""})
	// Whoever runs the sidecar can correct this, so it is no refusal.
	if refused, err := invoke(t.Context(), b, request("<p>x</p>", nil)); refused != "" || err == nil {
		t.Errorf("without a sender: refused %q, %v", refused, err)
	}
	if b.server.tls || portOf(t, server.address) == tlsPort {
		t.Error("TLS from the first byte on another port than 465")
	}
}
