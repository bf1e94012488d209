// Package mail is the output binding bindings.smtp. It reads the settings and the request metadata of the stock
// component (components-contrib, bindings/smtp) and can replace it. The stock component sends only an HTML part, sets no
// Message-ID and no other header, ignores the context, keeps the recipients of one request for the next, and reports
// every failure in the same way. This one has, in addition:
//
//   - the request metadata textBody, messageId, replyTo, listUnsubscribe and listUnsubscribePost
//   - an end with the context, at whatever point of the conversation
//   - a permanent refusal as data of a success, {"refused": "550 ..."}, so that the caller does not try again
package mail

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"reflect"
	"strconv"
	"time"

	"github.com/dapr/components-contrib/bindings"
	"github.com/dapr/components-contrib/metadata"
	"github.com/dapr/kit/logger"
	kitmetadata "github.com/dapr/kit/metadata"
)

// tlsPort is the port on which a server expects TLS from the first byte (RFC 8314). On all other ports, TLS begins with
// STARTTLS if the server offers it.
const tlsPort = 465

// settings are the metadata of the component, with the names of the stock component.
type settings struct {
	Host          string `mapstructure:"host"`
	Port          int    `mapstructure:"port"`
	User          string `mapstructure:"user"`
	Password      string `mapstructure:"password"`
	SkipTLSVerify bool   `mapstructure:"skipTLSVerify"`
	EmailFrom     string `mapstructure:"emailFrom"`
	EmailTo       string `mapstructure:"emailTo"`
	EmailCC       string `mapstructure:"emailCC"`
	EmailBCC      string `mapstructure:"emailBCC"`
	Subject       string `mapstructure:"subject"`
	Priority      string `mapstructure:"priority"`
}

// Binding sends e-mails. It opens a connection for each.
type Binding struct {
	log      logger.Logger
	settings settings
	server   server
	now      func() time.Time
}

// New makes a Binding, which Init configures.
func New(log logger.Logger) bindings.OutputBinding { return &Binding{log: log, now: time.Now} }

// Init implements bindings.OutputBinding. It does not connect: a mail server that is down is no reason for a sidecar not
// to start.
func (b *Binding) Init(_ context.Context, meta bindings.Metadata) error {
	var s settings
	if err := kitmetadata.DecodeMetadata(meta.Properties, &s); err != nil {
		return fmt.Errorf("reading the settings of the SMTP binding: %w", err)
	}
	switch {
	case s.Host == "" || s.Port <= 0 || s.Port > 65535:
		return errors.New("the SMTP binding needs host and port")
	case (s.User == "") != (s.Password == ""):
		return errors.New("the SMTP binding needs both user and password, or neither")
	}
	if _, err := priorityOf(s.Priority); err != nil {
		return err
	}
	if s.EmailFrom != "" {
		if _, err := sender(s.EmailFrom); err != nil {
			return err
		}
	}
	if s.SkipTLSVerify {
		b.log.Warn("The certificate of the SMTP server is not verified (skipTLSVerify). Use this only for tests.")
	}
	b.settings = s
	b.server = server{
		host: s.Host, address: net.JoinHostPort(s.Host, strconv.Itoa(s.Port)), user: s.User, password: s.Password,
		tls: s.Port == tlsPort, skipVerify: s.SkipTLSVerify,
	}
	return nil
}

// Operations implements bindings.OutputBinding.
func (b *Binding) Operations() []bindings.OperationKind {
	return []bindings.OperationKind{bindings.CreateOperation}
}

// Invoke implements bindings.OutputBinding: it sends one e-mail. The error is nil when the server has accepted it, and
// when it can never be sent. In the second case the answer's data says why. After any other error it is unknown whether
// the server has the e-mail; the caller may send it again with the same messageId.
func (b *Binding) Invoke(ctx context.Context, req *bindings.InvokeRequest) (*bindings.InvokeResponse, error) {
	composed, err := b.settings.compose(req, b.now())
	if err == nil {
		err = b.server.send(ctx, composed)
	}
	var refused *refusal
	switch {
	case err == nil:
		return nil, nil
	case !errors.As(err, &refused):
		return nil, fmt.Errorf("sending an e-mail: %w", err)
	}
	data, err := json.Marshal(refused)
	if err != nil {
		return nil, fmt.Errorf("encoding a refusal: %w", err)
	}
	contentType := "application/json"
	return &bindings.InvokeResponse{Data: data, ContentType: &contentType}, nil
}

// GetComponentMetadata implements metadata.ComponentWithMetadata.
func (b *Binding) GetComponentMetadata() (info metadata.MetadataMap) {
	_ = metadata.GetMetadataInfoFromStructType(reflect.TypeFor[settings](), &info, metadata.BindingType)
	return info
}

// Close implements io.Closer. There is nothing to close, because no connection outlives its e-mail.
func (b *Binding) Close() error { return nil }

// refusal says that an e-mail can never be sent as it is. It is the data that callers get.
type refusal struct {
	// Reason begins with the status code if the server refused, as "550 5.1.1 No such user".
	Reason string `json:"refused"`
}

func (r *refusal) Error() string { return "the e-mail is refused: " + r.Reason }

func refuse(format string, args ...any) error { return &refusal{Reason: fmt.Sprintf(format, args...)} }
