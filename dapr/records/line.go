package records

import (
	"strings"
	"time"
)

// ParseLine reads a line that a process wrote: JSON of a program, a sidecar, the launcher, the broker or the store, or text. The time is
// zero if the line has none. It never fails: a line that cannot be read is a text.
func ParseLine(instance, line string) Row {
	row := Row{Kind: Log, Instance: instance, App: AppOf(instance)}
	if strings.HasPrefix(line, "{") && row.readJSON(line) {
		row.Line = line
		return row
	}
	row = Row{Kind: Log, Instance: instance, App: row.App, Message: line}
	row.readText(line)
	return row
}

// readJSON sets the fields from the members of a JSON object, and reports whether it is one.
func (r *Row) readJSON(line string) bool {
	return members(line, func(key, value string) {
		switch key {
		case "time", "ts":
			if r.Time.IsZero() {
				r.Time = ParseTime(plain(value))
			}
		case "level":
			r.Level = levelOf(plain(value))
		case "msg", "message":
			r.Message = plain(value)
		case "correlation_id":
			r.Correlation = plain(value)
		case "trace_id":
			r.Trace = plain(value)
		case "span_id":
			r.SpanID = plain(value)
		case "order_id", "order":
			r.Aggregate = plain(value)
		case "aggregate":
			if r.Aggregate == "" {
				r.Aggregate = plain(value)
			}
		case "user", "user_id", "subject":
			r.User = plain(value)
		}
	})
}

// readText finds time and level of a text of a server: of RabbitMQ
//
//	2026-11-27 08:59:08.101000+00:00 [info] <0.230.0> Server startup complete
//
// and of programs that write key=value:
//
//	time="2026-11-27T08:59:08.101Z" level=info msg="starting"
func (r *Row) readText(line string) {
	if value, ok := assigned(line, "time="); ok {
		r.Time = ParseTime(value)
	}
	if value, ok := assigned(line, "level="); ok {
		r.Level = levelOf(value)
	}
	if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
		r.Level = Error
	}
	end := strings.Index(line, " [")
	if end < 0 || end > 40 || !r.Time.IsZero() {
		return
	}
	if r.Time = ParseTime(line[:end]); r.Time.IsZero() {
		return
	}
	if level, _, closed := strings.Cut(line[end+2:], "]"); closed {
		r.Level = levelOf(level)
	}
}

// assigned returns the value of a key at the start of a word. The key ends with "=".
func assigned(line, key string) (string, bool) {
	at := strings.Index(line, key)
	if at < 0 || at > 0 && line[at-1] != ' ' {
		return "", false
	}
	rest := line[at+len(key):]
	if quoted, ok := strings.CutPrefix(rest, `"`); ok {
		return before(quoted, '"'), true
	}
	return before(rest, ' '), true
}

func before(text string, end byte) string {
	if i := strings.IndexByte(text, end); i >= 0 {
		return text[:i]
	}
	return text
}

// ParseTime reads the formats that programs, sidecars and servers write. The result is zero if the text is no time.
func ParseTime(text string) time.Time {
	if len(text) < 19 || len(text) > 40 {
		return time.Time{}
	}
	layout := time.RFC3339Nano
	if text[10] == ' ' {
		layout = "2006-01-02 15:04:05.999999-07:00"
	}
	at, err := time.Parse(layout, text)
	if err != nil {
		return time.Time{}
	}
	return at
}
