package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
)

// Limits for the parts of an e-mail. Whatever is beyond them is not shown.
const (
	maxParts = 50
	maxDepth = 5
)

// seen is what a list shows of an e-mail.
type seen struct {
	Subject   string
	MessageID string
}

// header is one field, decoded.
type header struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// content is what the page shows of an e-mail.
type content struct {
	Headers []header `json:"headers"`
	Text    string   `json:"text"`
	HTML    string   `json:"html"`
}

// look reads what a list shows.
func look(raw []byte) seen {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return seen{Subject: "(not an e-mail)"}
	}
	return seen{Subject: decodeHeader(m.Header.Get("Subject")), MessageID: m.Header.Get("Message-Id")}
}

// read reads headers, text and HTML. An e-mail that it cannot read has the source as its text.
func read(raw []byte) content {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return content{Text: string(raw)}
	}
	c := content{Headers: headersOf(raw)}
	parts := 0
	c.part(m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body, 0, &parts)
	return c
}

// headersOf returns the fields in their order.
func headersOf(raw []byte) []header {
	head, _, _ := bytes.Cut(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n\n"))
	var all []header
	for line := range strings.SplitSeq(string(head), "\n") {
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			if len(all) > 0 {
				all[len(all)-1].Value += " " + strings.TrimSpace(line)
			}
			continue
		}
		if name, value, found := strings.Cut(line, ":"); found {
			all = append(all, header{Name: name, Value: strings.TrimSpace(value)})
		}
	}
	for i := range all {
		all[i].Value = decodeHeader(all[i].Value)
	}
	return all
}

func decodeHeader(text string) string {
	decoded, err := new(mime.WordDecoder).DecodeHeader(text)
	if err != nil {
		return text
	}
	return decoded
}

// part adds a part of the e-mail, or those in it.
func (c *content) part(contentType, encoding string, body io.Reader, depth int, parts *int) {
	if *parts++; *parts > maxParts || depth > maxDepth {
		return
	}
	kind, parameters, err := mime.ParseMediaType(contentType)
	if err != nil {
		kind = "text/plain"
	}
	if strings.HasPrefix(kind, "multipart/") {
		reader := multipart.NewReader(body, parameters["boundary"])
		for *parts <= maxParts {
			inner, err := reader.NextRawPart()
			if err != nil {
				return
			}
			c.part(inner.Header.Get("Content-Type"), inner.Header.Get("Content-Transfer-Encoding"), inner, depth+1, parts)
		}
		return
	}
	into := map[string]*string{"text/plain": &c.Text, "text/html": &c.HTML}[kind]
	if into == nil || *into != "" {
		return
	}
	*into = decodeBody(encoding, body)
}

func decodeBody(encoding string, body io.Reader) string {
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	text, _ := io.ReadAll(io.LimitReader(body, maxMessage)) // as far as it can be read
	return strings.ToValidUTF8(strings.ReplaceAll(string(text), "\r\n", "\n"), "\uFFFD")
}
