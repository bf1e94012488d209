package mail

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"math/big"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dapr/components-contrib/bindings"
	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/kit/logger"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// waitLimit is how long a test waits for a condition.
const waitLimit = 30 * time.Second

// received is an e-mail as the server got it.
type received struct {
	from string
	to   []string
	raw  []byte
}

// mailServer is a real SMTP server. at is called at each of the stages "mail", "rcpt" and "data", and may return an error,
// wait, or close the connection.
type mailServer struct {
	address string
	server  *smtp.Server

	mu    sync.Mutex
	at    func(stage, argument string, conn net.Conn) error
	mails []received
	users []string // who logged in
}

// serve starts a server. configure may change it before.
func serve(t *testing.T, configure func(*smtp.Server)) *mailServer {
	t.Helper()
	s := &mailServer{}
	s.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) { return &session{server: s, conn: c}, nil }))
	s.server.ErrorLog = log.New(io.Discard, "", 0)
	s.server.EnableSMTPUTF8 = true
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if configure != nil {
		configure(s.server)
	}
	if s.server.Domain == "implicit" {
		listener = tls.NewListener(listener, s.server.TLSConfig)
	}
	s.address = listener.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = s.server.Close()
		_ = listener.Close() // the server does not know it yet if it has not begun to serve
		<-done
	})
	return s
}

// answer sets what the server does at its stages.
func (s *mailServer) answer(at func(stage, argument string, conn net.Conn) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = at
}

func (s *mailServer) stage(name, argument string, conn *smtp.Conn) error {
	s.mu.Lock()
	at := s.at
	s.mu.Unlock()
	if at == nil {
		return nil
	}
	return at(name, argument, conn.Conn())
}

func (s *mailServer) got() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.mails...)
}

type session struct {
	server *mailServer
	conn   *smtp.Conn
	mail   received
}

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "right" {
			return smtp.ErrAuthFailed
		}
		s.server.mu.Lock()
		defer s.server.mu.Unlock()
		s.server.users = append(s.server.users, user)
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.mail = received{from: from}
	return s.server.stage("mail", from, s.conn)
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mail.to = append(s.mail.to, to)
	return s.server.stage("rcpt", to, s.conn)
}

func (s *session) Data(r io.Reader) error {
	if err := s.server.stage("data", "", s.conn); err != nil {
		return err
	}
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.mail.raw = raw
	s.server.mu.Lock()
	s.server.mails = append(s.server.mails, s.mail)
	s.server.mu.Unlock()
	return nil
}

func (s *session) Reset() {}

func (s *session) Logout() error { return nil }

// binding is an initialized binding to the server, with settings besides host and port.
func (s *mailServer) binding(t *testing.T, settings map[string]string) *Binding {
	t.Helper()
	return bindingTo(t, s.address, settings)
}

func bindingTo(t *testing.T, address string, settings map[string]string) *Binding {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	properties := map[string]string{"host": host, "port": port, "emailFrom": "Caravan <shop@caravan.example>"}
	for name, value := range settings {
		properties[name] = value
	}
	quiet := logger.NewLogger(t.Name())
	quiet.SetOutputLevel(logger.FatalLevel)
	b := New(quiet).(*Binding)
	if err := b.Init(t.Context(), bindings.Metadata{Base: metadata.Base{Name: "email", Properties: properties}}); err != nil {
		t.Fatal(err)
	}
	return b
}

// request is a request over HTTP, which has its data in quotes.
func request(html string, more map[string]string) *bindings.InvokeRequest {
	data, _ := json.Marshal(html) // a string is always encoded
	request := &bindings.InvokeRequest{
		Operation: bindings.CreateOperation, Data: data,
		Metadata: map[string]string{"emailTo": "ada@example.com", "subject": "Your order"},
	}
	for name, value := range more {
		request.Metadata[name] = value
	}
	return request
}

// invoke sends one e-mail, and returns the reason of a refusal.
func invoke(ctx context.Context, b *Binding, request *bindings.InvokeRequest) (refused string, err error) {
	response, err := b.Invoke(ctx, request)
	if err != nil || response == nil {
		return "", err
	}
	var answer struct{ Refused string }
	if err := json.Unmarshal(response.Data, &answer); err != nil {
		return "", err
	}
	return answer.Refused, nil
}

// parsed is an e-mail as its reader sees it.
type parsed struct {
	netmail.Header
	kind  string            // its media type
	parts map[string]string // by media type
}

func parse(t *testing.T, raw []byte) parsed {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		t.Fatalf("%v\n%s", err, raw)
	}
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	p := parsed{Header: m.Header, kind: kind, parts: map[string]string{}}
	if !strings.HasPrefix(kind, "multipart/") {
		// SMTP ends the last line.
		p.parts[kind] = strings.TrimSuffix(decode(t, m.Header.Get("Content-Transfer-Encoding"), m.Body), "\n")
		return p
	}
	reader := multipart.NewReader(m.Body, parameters["boundary"])
	for {
		part, err := reader.NextRawPart()
		if err == io.EOF {
			return p
		}
		if err != nil {
			t.Fatal(err)
		}
		of, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		p.parts[of] = decode(t, part.Header.Get("Content-Transfer-Encoding"), part)
	}
}

func decode(t *testing.T, encoding string, body io.Reader) string {
	t.Helper()
	if encoding != "quoted-printable" {
		t.Fatalf("the encoding is %q", encoding)
	}
	text, err := io.ReadAll(quotedprintable.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// subject is the decoded subject.
func (p parsed) subject(t *testing.T) string {
	t.Helper()
	text, err := new(mime.WordDecoder).DecodeHeader(p.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// certificate is a certificate for 127.0.0.1 that nobody trusts.
func certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

func portOf(t *testing.T, address string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return number
}
