package cache

import (
	"net/http"
	"slices"
	"strings"
)

// maxKey is the most bytes of a key. No link of the catalogue is that long.
const maxKey = 1 << 10

// Key returns the key of a request target: its path, and the parameters of its query sorted by name. It is false for a target
// that is too long to be kept.
func Key(target string) (key string, ok bool) {
	if len(target) > maxKey {
		return "", false
	}
	path, query, asked := strings.Cut(target, "?")
	if !asked {
		return target, true
	}
	if query == "" {
		return path, true
	}
	if !strings.Contains(query, "&") || strings.ContainsAny(query, "%+") && escapedName(query) {
		return target, true
	}
	parts := strings.Split(query, "&")
	// Parameters of one name keep their order, which may matter.
	slices.SortStableFunc(parts, func(a, b string) int { return strings.Compare(nameOf(a), nameOf(b)) })
	return path + "?" + strings.Join(parts, "&"), true
}

func nameOf(parameter string) string {
	name, _, _ := strings.Cut(parameter, "=")
	return name
}

// escapedName reports whether the name of a parameter has an escape. It could be another spelling of the name of a second one,
// so sorting could change their order.
func escapedName(query string) bool {
	for part := range strings.SplitSeq(query, "&") {
		if strings.ContainsAny(nameOf(part), "%+") {
			return true
		}
	}
	return false
}

// Refused reports whether a request must not be answered from a cache, or its answer not kept: it has credentials or asks for
// that.
func Refused(h http.Header) bool {
	if len(h["Authorization"]) > 0 || len(h["Cookie"]) > 0 {
		return true
	}
	lines := h["Cache-Control"]
	if len(lines) == 0 {
		return false
	}
	asked, ok := ParseControl(lines)
	return !ok || asked.NoCache || asked.NoStore
}

// Matches reports whether the lines of an If-None-Match field contain an entity tag, by weak comparison (RFC 9110, section
// 13.1.2). A malformed field contains what comes before the mistake.
func Matches(lines []string, tag string) bool {
	if len(lines) == 0 {
		return false
	}
	list := lines[0]
	if len(lines) > 1 {
		list = strings.Join(lines, ",")
	}
	want := strings.TrimPrefix(tag, "W/")
	for {
		list = strings.TrimLeft(list, " \t,")
		if strings.HasPrefix(list, "*") {
			return true
		}
		list = strings.TrimPrefix(list, "W/")
		one := firstTag(list)
		if one == "" {
			return false
		}
		if one == want {
			return true
		}
		list = list[len(one):]
	}
}

// firstTag returns the entity tag at the beginning of a text, or "".
func firstTag(text string) string {
	if text == "" || text[0] != '"' {
		return ""
	}
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '"':
			return text[:i+1]
		case c < '!' || c == 0x7f:
			return ""
		}
	}
	return ""
}

// validTag reports whether a text is an entity tag.
func validTag(tag string) bool {
	plain := strings.TrimPrefix(tag, "W/")
	return plain != "" && firstTag(plain) == plain
}
