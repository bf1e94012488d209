package records

import (
	"encoding/json"
	"strings"
)

// members passes the members of a JSON object to visit, in their order: each key, and the JSON text of its value. It
// reports whether the text is one object. It looks only at the structure, and allocates nothing: every line of every
// process goes through it.
func members(text string, visit func(key, value string)) bool {
	i := space(text, 0)
	if i >= len(text) || text[i] != '{' {
		return false
	}
	i = space(text, i+1)
	if i < len(text) && text[i] == '}' {
		return space(text, i+1) == len(text)
	}
	for {
		start := i
		if i = stringEnd(text, i); i < 0 {
			return false
		}
		key := text[start+1 : i-1]
		if i = space(text, i); i >= len(text) || text[i] != ':' {
			return false
		}
		start = space(text, i+1)
		if i = valueEnd(text, start); i < 0 {
			return false
		}
		visit(key, text[start:i])
		if i = space(text, i); i >= len(text) {
			return false
		}
		switch text[i] {
		case ',':
			i = space(text, i+1)
		case '}':
			return space(text, i+1) == len(text)
		default:
			return false
		}
	}
}

func space(text string, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\t' || text[i] == '\r' || text[i] == '\n') {
		i++
	}
	return i
}

// stringEnd returns the place after the string that starts at i, or -1.
func stringEnd(text string, i int) int {
	if i >= len(text) || text[i] != '"' {
		return -1
	}
	for i++; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// valueEnd returns the place after the value that starts at i, or -1.
func valueEnd(text string, i int) int {
	depth := 0
	for i < len(text) {
		switch text[i] {
		case '"':
			if i = stringEnd(text, i); i < 0 {
				return -1
			}
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return -1
			}
			depth--
			if depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n', ':':
			// Inside of an object or list these are skipped.
		default:
			if depth == 0 {
				return scalarEnd(text, i)
			}
		}
		if depth == 0 {
			return -1
		}
		i++
	}
	return -1
}

// scalarEnd returns the place after a number, true, false or null.
func scalarEnd(text string, i int) int {
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'z', c == '-', c == '+', c == '.', c == 'E':
		default:
			return i
		}
	}
	return i
}

// plain returns the text of a JSON value: of a string what it says, of all others their JSON.
func plain(value string) string {
	if len(value) < 2 || value[0] != '"' {
		if value == "null" {
			return ""
		}
		return value
	}
	inner := value[1 : len(value)-1]
	if strings.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var text string
	if json.Unmarshal([]byte(value), &text) != nil {
		return inner
	}
	return text
}
