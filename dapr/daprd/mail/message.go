package mail

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	netmail "net/mail"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dapr/components-contrib/bindings"
	gomail "github.com/wneessen/go-mail"
)

// Values of the priority of an e-mail, as in the stock component.
const (
	highestPriority = 1
	defaultPriority = 3
	lowestPriority  = 5
)

// oneClick is the only value of the header List-Unsubscribe-Post (RFC 8058).
const oneClick = "List-Unsubscribe=One-Click"

// longest values of metadata, in bytes. RFC 5322 allows lines of 998 bytes, and a URL cannot be folded.
const (
	longestSubject = 2000
	longestID      = 200
	longestURL     = 900
)

// composed is an e-mail as it goes to the server.
type composed struct {
	from string
	to   []string
	body []byte
}

// compose makes the e-mail of a request. The error is a *refusal if the request is at fault, and not the component.
func (s settings) compose(req *bindings.InvokeRequest, now time.Time) (composed, error) {
	text := func(name, fallback string) string { return cmp.Or(req.Metadata[name], fallback) }
	from, err := sender(text("emailFrom", s.EmailFrom))
	if err != nil {
		return composed{}, err
	}
	subject := oneLine(text("subject", s.Subject))
	if subject == "" || len(subject) > longestSubject {
		return composed{}, refuse("subject has to have 1 to %d bytes", longestSubject)
	}
	priority, err := priorityOf(text("priority", s.Priority))
	if err != nil {
		return composed{}, refuse("%v", err)
	}
	id, err := messageID(req.Metadata["messageId"], from)
	if err != nil {
		return composed{}, err
	}
	m := gomail.NewMsg(gomail.WithNoDefaultUserAgent())
	m.FromMailAddress(from)
	setSubject(m, subject)
	m.SetDateWithValue(now)
	m.SetMessageIDWithValue(id)
	m.SetGenHeader("X-Priority", strconv.Itoa(priority))
	// Programs use this binding, not people. Servers send no notes of absence in answer to such an e-mail (RFC 3834).
	m.SetGenHeader("Auto-Submitted", "auto-generated")
	made := composed{from: envelope(from)}
	for _, list := range []struct {
		name, value string
		set         func(...*netmail.Address)
	}{
		{"emailTo", text("emailTo", s.EmailTo), m.ToMailAddress},
		{"emailCC", text("emailCC", s.EmailCC), m.CcMailAddress},
		{"emailBCC", text("emailBCC", s.EmailBCC), func(...*netmail.Address) {}}, // not in a header
	} {
		addresses, err := recipients(list.name, list.value)
		if err != nil {
			return composed{}, err
		}
		list.set(addresses...)
		for _, a := range addresses {
			made.to = append(made.to, envelope(a))
		}
	}
	if err := optionalHeaders(m, req.Metadata); err != nil {
		return composed{}, err
	}
	if err := parts(m, req); err != nil {
		return composed{}, err
	}
	var body bytes.Buffer
	if _, err := m.WriteTo(&body); err != nil {
		return composed{}, fmt.Errorf("writing the e-mail: %w", err)
	}
	made.body = body.Bytes()
	return made, nil
}

// parts sets the text and the HTML of the e-mail. A request over HTTP has its data in quotes, one over gRPC has not.
func parts(m *gomail.Msg, req *bindings.InvokeRequest) error {
	html, text := string(req.Data), req.Metadata["textBody"]
	var quoted string
	if json.Unmarshal(req.Data, &quoted) == nil {
		html = quoted
	}
	switch {
	case html == "" && text == "":
		return refuse("there is neither data nor textBody")
	case html == "":
		m.SetBodyString(gomail.TypeTextPlain, text)
	case text == "":
		m.SetBodyString(gomail.TypeTextHTML, html)
	default: // the last part is the preferred one (RFC 2046)
		m.SetBodyString(gomail.TypeTextPlain, text)
		m.AddAlternativeString(gomail.TypeTextHTML, html)
	}
	return nil
}

func optionalHeaders(m *gomail.Msg, metadata map[string]string) error {
	if value := metadata["replyTo"]; value != "" {
		address, err := parseAddress(value)
		if err != nil {
			return refuse("replyTo is not an address")
		}
		m.ReplyToMailAddress(address)
	}
	link := metadata["listUnsubscribe"]
	if link == "" {
		return nil
	}
	if !isLink(link) {
		return refuse("listUnsubscribe is not a URL of the form https://host/path")
	}
	m.SetGenHeader(gomail.HeaderListUnsubscribe, "<"+link+">")
	switch metadata["listUnsubscribePost"] {
	case "":
	case oneClick:
		m.SetGenHeader(gomail.HeaderListUnsubscribePost, oneClick)
	default:
		return refuse("listUnsubscribePost is not %q", oneClick)
	}
	return nil
}

// isLink accepts URLs that can be in a header as they are.
func isLink(text string) bool {
	for _, r := range text {
		if r <= ' ' || r >= unicode.MaxASCII || strings.ContainsRune(`<>,"`, r) {
			return false
		}
	}
	address, err := url.Parse(text)
	return err == nil && len(text) <= longestURL && address.Hostname() != "" &&
		(address.Scheme == "https" || address.Scheme == "http")
}

// sender reads the address that an e-mail is from.
func sender(text string) (*netmail.Address, error) {
	if text == "" {
		return nil, errors.New("emailFrom is neither in the settings of the component nor in the request")
	}
	address, err := parseAddress(text)
	if err != nil {
		return nil, fmt.Errorf("emailFrom is not an address: %w", err)
	}
	return address, nil
}

// recipients reads a list of addresses, which are separated by semicolons as in the stock component.
func recipients(name, text string) ([]*netmail.Address, error) {
	if text == "" {
		if name == "emailTo" {
			return nil, refuse("emailTo is missing")
		}
		return nil, nil
	}
	var all []*netmail.Address
	for one := range strings.SplitSeq(text, ";") {
		address, err := parseAddress(one)
		if err != nil {
			return nil, refuse("%s is not a list of addresses", name) // which stay out of logs
		}
		all = append(all, address)
	}
	return all, nil
}

// parseAddress reads an address with or without a name. A line break in the name becomes a space.
func parseAddress(text string) (*netmail.Address, error) {
	address, err := netmail.ParseAddress(strings.TrimSpace(text))
	if err != nil {
		return nil, err
	}
	if oneLine(address.Address) != address.Address {
		return nil, errors.New("it has a control character")
	}
	address.Name = oneLine(address.Name)
	return address, nil
}

// envelope is an address as SMTP commands have it: <user@host>.
func envelope(a *netmail.Address) string { return (&netmail.Address{Address: a.Address}).String() }

// messageID completes an id with the sender's domain, or makes one.
func messageID(id string, from *netmail.Address) (string, error) {
	id = cmp.Or(id, strings.ToLower(rand.Text()))
	if !strings.Contains(id, "@") {
		id += from.Address[strings.LastIndexByte(from.Address, '@'):]
	}
	left, right, _ := strings.Cut(id, "@")
	if len(id) > longestID || !isDotAtom(left) || !isDotAtom(right) {
		return "", refuse("messageId is not of the form id or id@host, with at most %d bytes", longestID)
	}
	return id, nil
}

// isDotAtom reports whether a text is a dot-atom-text (RFC 5322, 3.2.3).
func isDotAtom(text string) bool {
	for part := range strings.SplitSeq(text, ".") {
		if part == "" {
			return false
		}
		for _, r := range part {
			letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
			if !letter && !strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r) {
				return false
			}
		}
	}
	return true
}

func priorityOf(text string) (int, error) {
	if text == "" {
		return defaultPriority, nil
	}
	priority, err := strconv.Atoi(text)
	if err != nil || priority < highestPriority || priority > lowestPriority {
		return 0, fmt.Errorf("priority has to be from %d (highest) to %d (lowest)", highestPriority, lowestPriority)
	}
	return priority, nil
}

// oneLine replaces control characters, such as line breaks, by spaces, and removes spaces at both ends.
func oneLine(text string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, text))
}
