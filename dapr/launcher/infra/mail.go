package infra

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"

	"caravan/dapr/launcher/process"
)

// mailVariable names a mail server that already runs.
const mailVariable = "SMTP_URL"

// mailbox is the program that is the private mail server.
const mailbox = "mailbox"

// MailProcess is the name of the private mail server's process.
const MailProcess = "mail"

// Kinds of mail servers.
const (
	ownMailbox  = "mailbox"
	otherServer = "smtp"
)

// IsMail reports whether a kind of server is a mail server.
func IsMail(kind string) bool { return kind == ownMailbox || kind == otherServer }

// Mail returns the mail server at an address, or at SMTP_URL if that is "", or else a private one, which keeps the e-mails
// and shows them on a page.
func Mail(address string, place Place) (Server, error) {
	if address == "" {
		address = place.Getenv(mailVariable)
	}
	if address != "" {
		settings, err := MailSettings(address)
		if err != nil {
			return Server{}, err
		}
		return Server{
			Kind: otherServer, Set: "email", URL: "smtp://" + settings["host"] + ":" + settings["port"], Settings: same(settings),
		}, nil
	}
	port, err := place.Port()
	if err != nil {
		return Server{}, err
	}
	page, err := place.Port()
	if err != nil {
		return Server{}, err
	}
	data := filepath.Join(place.Dir, "data", mailbox)
	server := Server{
		Kind: ownMailbox, Set: "email", URL: "smtp://127.0.0.1:" + strconv.Itoa(port), Programs: []string{mailbox},
		Settings: same(map[string]string{"host": "127.0.0.1", "port": strconv.Itoa(port)}),
		Prepare:  func(context.Context) error { return folders(data) },
	}
	url := "http://127.0.0.1:" + strconv.Itoa(page)
	server.Processes = []process.Spec{{
		Name: MailProcess,
		URL:  url,
		Path: place.Program(mailbox),
		Args: []string{"-port", strconv.Itoa(port), "-page", strconv.Itoa(page), "-data", data},
		Env:  place.environment(),
		Dir:  place.Dir,
		Ready: func(ctx context.Context) error {
			return errors.Join(dial(ctx, port, nil), answers(ctx, url+"/healthz"))
		},
	}}
	return server, nil
}

// answers requests a URL that answers without content.
func answers(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("probing: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusNoContent {
		return errors.New(url + " answers " + response.Status)
	}
	return nil
}

// errMailAddress never contains the address, which may have a password.
var errMailAddress = errors.New("want a mail server as smtp://[user:password@]host:port")

// MailSettings converts smtp://[user:password@]host:port into settings of a component.
func MailSettings(text string) (map[string]string, error) {
	address, err := url.Parse(text)
	if err != nil || address.Scheme != "smtp" || address.Hostname() == "" || address.Path != "" && address.Path != "/" ||
		address.RawQuery != "" || address.Fragment != "" || address.Opaque != "" {
		return nil, errMailAddress
	}
	if port, err := strconv.ParseUint(address.Port(), 10, 16); err != nil || port == 0 {
		return nil, errMailAddress
	}
	settings := map[string]string{"host": address.Hostname(), "port": address.Port()}
	if address.User == nil {
		return settings, nil
	}
	password, _ := address.User.Password()
	if address.User.Username() == "" || password == "" {
		return nil, errMailAddress
	}
	settings["user"], settings["password"] = address.User.Username(), password
	return settings, nil
}
