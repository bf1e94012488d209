package mail

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"
)

// wordMax is how many bytes are in one encoded word. The first line has 8 bytes of the name of the header, and a line with encoded
// words has at most 76 (RFC 2047, 2).
const wordMax = 39

// setSubject sets the subject so that readers see it literally. gomail encodes a subject only if it has characters beyond ASCII. In
// any other one, readers would decode what looks like an encoded word, so that a text of somebody could become another one.
func setSubject(m *gomail.Msg, subject string) {
	if strings.Contains(subject, "=?") {
		m.SetGenHeaderPreformatted(gomail.HeaderSubject, encodedWords(subject))
		return
	}
	m.Subject(subject)
}

// encodedWords writes a text as encoded words in base64 (RFC 2047), one a line. Readers leave out what is between them.
func encodedWords(text string) string {
	var words []string
	for text = strings.ToValidUTF8(text, "\uFFFD"); text != ""; {
		end := min(wordMax, len(text))
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end--
		}
		words = append(words, "=?UTF-8?B?"+base64.StdEncoding.EncodeToString([]byte(text[:end]))+"?=")
		text = text[end:]
	}
	return strings.Join(words, "\r\n ")
}
