package cache

import (
	"strconv"
	"strings"
	"time"
)

// Directives are the directives of a Cache-Control field that the cache heeds (RFC 9111, section 5.2; RFC 5861).
type Directives struct {
	NoStore, NoCache, Private bool
	MustRevalidate            bool // an answer must not be used after its lifetime
	MaxAge, SharedMaxAge      *time.Duration
	StaleWhileRevalidate      time.Duration
	StaleIfError              time.Duration
}

// lifetime is how long an answer is fresh in a shared cache.
func (d Directives) lifetime() time.Duration {
	switch {
	case d.SharedMaxAge != nil:
		return *d.SharedMaxAge
	case d.MaxAge != nil:
		return *d.MaxAge
	}
	return 0
}

// ParseControl reads the lines of a Cache-Control field, and reports whether they are well formed. Unknown directives are
// ignored, and so are fields after private and no-cache: such an answer counts as private as a whole.
func ParseControl(lines []string) (d Directives, ok bool) {
	for _, line := range lines {
		for rest := line; rest != ""; {
			var name, value string
			if name, value, rest, ok = directive(rest); !ok || !d.set(strings.ToLower(name), value) {
				return Directives{}, false
			}
		}
	}
	return d, true
}

// set takes over a directive. A time that is no number or is given twice is an error.
func (d *Directives) set(name, value string) (ok bool) {
	switch name {
	case "no-store":
		d.NoStore = true
	case "no-cache":
		d.NoCache = true
	case "private":
		d.Private = true
	case "must-revalidate", "proxy-revalidate":
		d.MustRevalidate = true
	case "max-age", "s-maxage":
		age, valid := seconds(value)
		at := &d.MaxAge
		if name == "s-maxage" {
			at = &d.SharedMaxAge
			d.MustRevalidate = true // RFC 9111, section 5.2.2.10
		}
		if !valid || *at != nil {
			return false
		}
		*at = &age
	case "stale-while-revalidate":
		d.StaleWhileRevalidate, ok = seconds(value)
		return ok
	case "stale-if-error":
		d.StaleIfError, ok = seconds(value)
		return ok
	}
	return true
}

// maxSeconds is what greater numbers count as (RFC 9111, section 1.2.2).
const maxSeconds = 1 << 31

func seconds(value string) (time.Duration, bool) {
	if value == "" || strings.Trim(value, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n > maxSeconds {
		n = maxSeconds
	}
	return time.Duration(n) * time.Second, true
}

// directive reads the first element of a list: a name, and a value that may be quoted. The list may have empty elements.
func directive(list string) (name, value, rest string, ok bool) {
	list = strings.TrimLeft(list, " \t,")
	end := strings.IndexFunc(list, notToken)
	if end < 0 {
		return list, "", "", true
	}
	name, rest = list[:end], list[end:]
	if value, found := strings.CutPrefix(rest, "="); found && name != "" {
		return valueOf(name, value)
	}
	rest, ok = next(rest)
	return name, "", rest, ok && (name != "" || rest == "")
}

func valueOf(name, text string) (_, value, rest string, ok bool) {
	if quoted, found := strings.CutPrefix(text, `"`); found {
		value, rest, ok = unquote(quoted)
	} else {
		end := strings.IndexFunc(text, notToken)
		if end < 0 {
			end = len(text)
		}
		value, rest, ok = text[:end], text[end:], end > 0
	}
	if !ok {
		return "", "", "", false
	}
	rest, ok = next(rest)
	return name, value, rest, ok
}

// unquote reads a quoted string after its first quote (RFC 9110, section 5.6.4).
func unquote(text string) (value, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return b.String(), text[i+1:], true
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// next expects the end of the list or a comma.
func next(text string) (rest string, ok bool) {
	text = strings.TrimLeft(text, " \t")
	if text == "" {
		return "", true
	}
	rest, ok = strings.CutPrefix(text, ",")
	return rest, ok
}

// notToken reports whether a character cannot be in a token (RFC 9110, section 5.6.2).
func notToken(c rune) bool {
	return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
}
