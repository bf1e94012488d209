package domain

import (
	"embed"
	"fmt"
	html "html/template"
	"io"
	"io/fs"
	"path"
	"strings"
	"sync"
	plain "text/template"
	"time"

	"caravan/internal/money"
	"caravan/internal/text"
)

// Bounds of what is shown, in characters.
const (
	// valueMax bounds one value inside a text, such as a name.
	valueMax = 100
	// titleMax bounds a title, and so the subject of a mail.
	titleMax = 150
	// pushMax bounds the text of a push message. With a title it fits into a payload of 4 KiB in any script.
	pushMax = 240
	// shortID is how many characters of the id of an order are shown. Data has all of them.
	shortID = 8
)

// Message is the text of a notice in one locale, for the inbox and for push. It is plain text: the title has one line, the body has
// paragraphs with an empty line between them.
type Message struct{ Title, Body string }

// Paragraphs are the paragraphs of the body.
func (m Message) Paragraphs() []string { return strings.Split(m.Body, "\n\n") }

// PushBody is the body of a push message: the first paragraph, in a length that fits.
func (m Message) PushBody() string { return shorten(m.Paragraphs()[0], pushMax) }

// MailFrame is what every mail has around its message.
type MailFrame struct {
	// Name is the name of the recipient, or "".
	Name string
	// BaseURL is the address of the shop, or "" for a mail without a link to it.
	BaseURL string
	// UnsubscribeURL is the address that switches mails of this kind off, or "" for a kind that cannot be switched off.
	UnsubscribeURL string
	// At is the time of the event in the user's time zone. The zero time is not shown.
	At time.Time
	// LinkURL is the address with the token of a kind that has one, and LinkUntil when it expires, in the user's time zone.
	LinkURL   string
	LinkUntil time.Time
}

// MailContent is a mail with its two alternative parts.
type MailContent struct{ Subject, Text, HTML string }

// Render makes the text of a notice.
func Render(k Kind, locale Locale, d Data) (Message, error) {
	w, err := wordsOf(locale)
	if err != nil {
		return Message{}, err
	}
	return w.message(k, d)
}

// RenderEntry makes the text of an event of any type, for an inbox. It is made when an inbox is read, so that old entries get a new
// wording, too. A type that this version does not know gets a general text.
func RenderEntry(typ string, locale Locale, d Data) (Message, error) {
	k, known := KindOf(typ)
	if !known {
		k = otherKind
	}
	return Render(k, locale, d)
}

// RenderMail makes a mail of a notice.
func RenderMail(k Kind, locale Locale, d Data, f MailFrame) (MailContent, error) {
	w, err := wordsOf(locale)
	if err != nil {
		return MailContent{}, err
	}
	m, err := w.message(k, d)
	if err != nil {
		return MailContent{}, err
	}
	mail := mailLayout{
		Locale: w.locale, Subject: m.Title, Paragraphs: m.Paragraphs(), BaseURL: f.BaseURL, UnsubscribeURL: f.UnsubscribeURL,
	}
	if !f.At.IsZero() {
		mail.At = w.locale.Time(f.At)
	}
	if f.LinkURL != "" {
		mail.LinkURL = f.LinkURL
		if mail.Link, err = w.line(k.Name, "link", nil); err != nil {
			return MailContent{}, err
		}
	}
	shared := struct{ Name, Until string }{value(f.Name), w.locale.Time(f.LinkUntil)}
	for block, to := range map[string]*string{
		"greeting": &mail.Greeting, "footer": &mail.Footer, "visit": &mail.Visit, "unsubscribe": &mail.Unsubscribe, "until": &mail.Until,
	} {
		if *to, err = w.line(frame, block, shared); err != nil {
			return MailContent{}, err
		}
	}
	content := MailContent{Subject: m.Title}
	if content.Text, err = execute(w.text, mail); err != nil {
		return MailContent{}, err
	}
	content.HTML, err = execute(w.html, mail)
	return content, err
}

// mailLayout are the values in the layouts. All are plain text; the layout in HTML escapes them.
type mailLayout struct {
	Locale                         Locale
	Subject, Greeting              string
	Paragraphs                     []string
	Link, LinkURL, Until           string // Until is a sentence
	At, Footer, Visit, Unsubscribe string
	BaseURL, UnsubscribeURL        string
}

// values is Data as the templates see it: each text is harmless.
type values struct {
	Order         string // the beginning of its id, as people see it
	SKU, Product  string
	Available     int64
	Amount, Total money.Money
	Was           money.Money
	Reason        string
}

func valuesOf(d Data) values {
	currency := func(m money.Money) money.Money { return money.New(m.Amount, value(m.Currency)) } // a stored one may be anything
	return values{
		Order: value(firstOf(d.OrderID, shortID)), Amount: currency(d.Amount), Total: currency(d.Total), Reason: value(d.Reason),
		SKU: value(d.SKU), Product: value(d.Product), Available: d.Available, Was: currency(d.Was),
	}
}

// value makes a text harmless as part of a message: it has no line breaks, no control characters and nothing invisible, is not
// long, and does not change the direction of the text around it.
func value(s string) string { return text.Isolate(text.Line.Show(s, valueMax)) }

// templates has a folder for each locale, with a file for each kind and one for the frame of all mails, and the two layouts of mails.
//
//go:embed templates
var templates embed.FS

// words are the templates of one locale.
type words struct {
	locale     Locale
	blocks     map[string]*plain.Template // by kind, and frame
	text, html executor
}

// executor is a template of either package.
type executor interface {
	Execute(w io.Writer, data any) error
}

// frame has the blocks of all mails.
const frame = "frame"

// allWords are the words of all locales, which are parsed once.
var allWords = sync.OnceValues(func() (map[Locale]words, error) {
	all := make(map[Locale]words)
	text, err := plain.ParseFS(templates, "templates/mail.txt.tmpl")
	if err != nil {
		return nil, fmt.Errorf("reading the layout of mails: %w", err)
	}
	html, err := html.ParseFS(templates, "templates/mail.html.tmpl")
	if err != nil {
		return nil, fmt.Errorf("reading the layout of mails in HTML: %w", err)
	}
	for _, locale := range Locales() {
		blocks, err := parse(locale)
		if err != nil {
			return nil, err
		}
		all[locale] = words{locale: locale, blocks: blocks, text: text, html: html}
	}
	return all, nil
})

func parse(locale Locale) (map[string]*plain.Template, error) {
	functions := plain.FuncMap{"money": locale.Money}
	files, err := fs.Glob(templates, "templates/"+string(locale)+"/*.tmpl")
	if err != nil {
		return nil, fmt.Errorf("looking for templates: %w", err)
	}
	blocks := make(map[string]*plain.Template)
	for _, file := range files {
		name := path.Base(file)
		if blocks[strings.TrimSuffix(name, ".tmpl")], err = plain.New(name).Funcs(functions).ParseFS(templates, file); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
	}
	return blocks, nil
}

func wordsOf(locale Locale) (words, error) {
	all, err := allWords()
	return all[locale.known()], err
}

func (w words) message(k Kind, d Data) (Message, error) {
	v := valuesOf(d)
	title, err := w.line(k.Name, "title", v)
	if err != nil {
		return Message{}, err
	}
	body, err := w.block(k.Name, "body", v)
	if err != nil {
		return Message{}, err
	}
	var paragraphs []string
	for paragraph := range strings.SplitSeq(body, "\n\n") {
		if p := oneLine(paragraph); p != "" {
			paragraphs = append(paragraphs, p)
		}
	}
	return Message{Title: shorten(title, titleMax), Body: strings.Join(paragraphs, "\n\n")}, nil
}

// line is the text of a block on one line.
func (w words) line(file, block string, data any) (string, error) {
	text, err := w.block(file, block, data)
	return oneLine(text), err
}

func (w words) block(file, block string, data any) (string, error) {
	t, ok := w.blocks[file]
	if !ok {
		return "", fmt.Errorf("there is no template for %s in the language %s", file, w.locale)
	}
	if t = t.Lookup(block); t == nil {
		return "", fmt.Errorf("the template for %s in the language %s has no block %s", file, w.locale, block)
	}
	return execute(t, data)
}

func execute(t executor, data any) (string, error) {
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		return "", fmt.Errorf("writing a message: %w", err)
	}
	return b.String(), nil
}

// oneLine joins lines, as a template may have its text on several.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// shorten cuts a text to a number of characters, the last of which is then "…".
func shorten(s string, most int) string {
	if firstOf(s, most) == s {
		return s
	}
	return firstOf(s, most-1) + "…"
}

// firstOf are the first characters of a text.
func firstOf(s string, most int) string {
	for i := range s {
		if most == 0 {
			return s[:i]
		}
		most--
	}
	return s
}
