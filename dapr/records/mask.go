package records

import "strings"

// masked stands for what must not be stored.
const masked = "***"

// Mask hides e-mail addresses, bearer tokens and signed tokens (JWT). Programs write none of them on purpose, but a path or the
// text of an error may contain one. A text without one is returned as it is.
func Mask(text string) string {
	if strings.IndexByte(text, '@') < 0 && !strings.Contains(text, tokenStart) && !strings.Contains(text, bearer) {
		return text
	}
	var out strings.Builder
	out.Grow(len(text))
	after := false // the word before is "Bearer"
	for i := 0; i < len(text); {
		end := i
		for end < len(text) && !isBreak(text[end]) {
			end++
		}
		if end == i {
			out.WriteByte(text[i])
			i++
			continue
		}
		word := text[i:end]
		if secret(word) || after {
			word = masked
		}
		after = word == bearer
		out.WriteString(word)
		i = end
	}
	return out.String()
}

const (
	tokenStart = "eyJ" // every JWT starts with this: it is {" in base64
	bearer     = "Bearer"
)

// secret reports whether a word is an address or a token.
func secret(word string) bool {
	if strings.HasPrefix(word, tokenStart) && len(word) > 20 {
		return true
	}
	at := strings.IndexByte(word, '@')
	// rabbit@host is the name of a node. It has no dot, or nothing before it.
	return at > 0 && strings.IndexByte(word[at:], '.') > 1
}

// isBreak reports whether a byte ends a word. The slash and the percent sign do, so that a path keeps its other segments.
func isBreak(c byte) bool {
	switch c {
	case ' ', '\t', '\n', '"', '\'', '\\', ',', ';', ':', '(', ')', '[', ']', '{', '}', '<', '>', '=', '/', '?', '&':
		return true
	}
	return false
}
