package route

import (
	"strconv"
	"strings"
)

const (
	maxPathBytes  = 2048
	maxQueryBytes = 4096
	maxParamBytes = 128
)

// TargetError says why a request target is refused. The gateway does not normalise a target that could be read in two
// ways, but refuses it. If two parsers understand a path differently, it reaches another route than the one that was
// checked (CVE-2025-66490, CVE-2026-27587), and daprd itself cleans paths before it routes them.
type TargetError struct{ Reason string }

// Error returns the reason, which is safe to show to the client.
func (e *TargetError) Error() string { return e.Reason }

// SplitTarget checks the request target of a request line and splits it into path and query, both as the client wrote
// them. Only the origin form is accepted (RFC 9112, section 3.2.1). The error is a *TargetError.
func SplitTarget(target string) (path, query string, err error) {
	path, query, _ = strings.Cut(target, "?")
	if err := checkPath(path); err != nil {
		return "", "", err
	}
	if err := checkQuery(query); err != nil {
		return "", "", err
	}
	return path, query, nil
}

func checkPath(path string) error {
	if path == "" || path[0] != '/' {
		return &TargetError{"The request target must be an absolute path."}
	}
	if len(path) > maxPathBytes {
		return &TargetError{"The path is too long."}
	}
	start := 1
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != '/' {
			c := path[i]
			if !pathByte(c) {
				return &TargetError{"The path holds a character that must not appear in one."}
			}
			if c == '%' {
				if err := checkEscape(path, i); err != nil {
					return err
				}
			}
			continue
		}
		switch segment := path[start:i]; {
		case segment == "." || segment == "..":
			return &TargetError{"The path must not hold dot segments."}
		case segment == "" && i < len(path):
			return &TargetError{"The path must not hold empty segments."}
		}
		start = i + 1
	}
	return nil
}

// checkEscape refuses a percent-encoding of a separator, a dot, a control character or a byte beyond ASCII. A program
// that decodes it would see another path than this router.
func checkEscape(path string, i int) error {
	c, valid := decode(path, i)
	switch {
	case !valid:
		return &TargetError{"The path holds an invalid percent-encoding."}
	case c <= 0x20 || c >= 0x7f, strings.IndexByte(`/\%.?#;`, c) >= 0:
		return &TargetError{"The path hides a reserved character in a percent-encoding."}
	}
	return nil
}

func checkQuery(query string) error {
	if len(query) > maxQueryBytes {
		return &TargetError{"The query is too long."}
	}
	for i := 0; i < len(query); i++ {
		c := query[i]
		if c == ';' {
			return &TargetError{"The query holds a semicolon, which some take for a separator; write %3B."}
		}
		if c <= 0x20 || c >= 0x7f || c == '#' || c == '\\' {
			return &TargetError{"The query holds a character that must not appear in one."}
		}
		if c != '%' {
			continue
		}
		switch decoded, valid := decode(query, i); {
		case !valid:
			return &TargetError{"The query holds an invalid percent-encoding."}
		case decoded == 0:
			return &TargetError{"The query hides a NUL in a percent-encoding."}
		}
	}
	return nil
}

// Sets of ASCII characters as bit masks, one word for 0x00 to 0x3f and one for 0x40 to 0x7f, because the checks read
// every byte of every request.
const (
	digits      = (1<<10 - 1) << '0'
	letters     = (1<<26-1)<<('A'-64) | (1<<26-1)<<('a'-64)
	plainLow    = digits | 1<<'-' | 1<<'.'
	plainHigh   = letters | 1<<('_'-64) | 1<<('~'-64)
	pathLow     = plainLow | 1<<'%' | 1<<'!' | 1<<'$' | 1<<'&' | 1<<'\'' | 1<<'(' | 1<<')' | 1<<'*' | 1<<'+' | 1<<',' | 1<<';' | 1<<'=' | 1<<':'
	pathHigh    = plainHigh | 1<<('@'-64)
	lastOfASCII = 0x7f
)

// pathByte reports whether c may be in a path: pchar of RFC 3986, section 3.3, with '%' for an escape.
func pathByte(c byte) bool { return member(c, pathLow, pathHigh) }

// unreserved reports whether c never needs escaping in a URI (RFC 3986, section 2.3).
func unreserved(c byte) bool { return member(c, plainLow, plainHigh) }

func member(c byte, low, high uint64) bool {
	if c < 64 {
		return low>>c&1 == 1
	}
	return c <= lastOfASCII && high>>(c-64)&1 == 1
}

// validParam reports whether a segment may be a path parameter: an id or a SKU, 1 to 128 unreserved characters
// beginning with a letter or a digit. No other text can name something that exists.
func validParam(segment string) bool {
	if segment == "" || len(segment) > maxParamBytes {
		return false
	}
	if c := segment[0]; c == '-' || c == '.' || c == '_' || c == '~' {
		return false
	}
	for i := 0; i < len(segment); i++ {
		if !unreserved(segment[i]) {
			return false
		}
	}
	return true
}

// decode reads the percent-encoding at a place of a text.
func decode(text string, i int) (c byte, valid bool) {
	if i+2 >= len(text) {
		return 0, false
	}
	n, err := strconv.ParseUint(text[i+1:i+3], 16, 8)
	return byte(n), err == nil
}
