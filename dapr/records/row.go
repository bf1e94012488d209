// Package records has the one form of log lines and spans: how they are read from what programs, sidecars and servers
// write, how they are stored, asked for and shown. The store for them, and the collector that fills it, are in
// dapr/observe and dapr/launcher/collector.
package records

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// Kind says what a row was made of.
type Kind string

// The kinds of rows.
const (
	Log  Kind = "log"
	Span Kind = "span"
)

// Level is the severity of a line. All programs and servers have the same levels here, whatever they write.
type Level string

// The levels. A line without a level has "".
const (
	Debug Level = "debug"
	Info  Level = "info"
	Warn  Level = "warn"
	Error Level = "error"
)

// Levels are all levels, the least severe first.
func Levels() []Level { return []Level{Debug, Info, Warn, Error} }

// Row is one log line or one span.
type Row struct {
	Kind Kind
	Time time.Time // of the line, or the start of the span
	// Instance is the process, such as "orders-2-daprd". App is the app it belongs to: "orders".
	Instance, App string
	Level         Level
	Message       string // of the line, or the name of the span
	IDs

	// File and Offset identify a line for ever: the file that it was written to, and where it starts there.
	File   string
	Offset int64
	// Line is the line as it was written. It is "" if the line is not JSON, because then Message has all of it.
	Line string

	// The other fields are of spans.
	SpanID, ParentID string
	Duration         time.Duration
	SpanKind         string // such as "server"
	Failed           bool
	Attributes       string // a JSON object; "" if there are none
}

// IDs are the ids by which a row can be found.
type IDs struct {
	Correlation string
	Trace       string
	Aggregate   string // the order, account or product that the row is about
	User        string
}

// Text is the line as the process wrote it.
func (r *Row) Text() string {
	if r.Line != "" {
		return r.Line
	}
	return r.Message
}

// Order orders rows by time, and those of the same time by process and place.
func Order(a, b Row) int {
	if c := a.Time.Compare(b.Time); c != 0 {
		return c
	}
	if c := strings.Compare(a.Instance, b.Instance); c != 0 {
		return c
	}
	if c := strings.Compare(a.SpanID, b.SpanID); c != 0 && a.Kind == Span {
		return c
	}
	return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Offset, b.Offset))
}

// Distinct sorts rows by Order and removes copies: rows of the same place, or spans of the same id.
func Distinct(rows []Row) []Row {
	slices.SortFunc(rows, Order)
	return slices.CompactFunc(rows, func(a, b Row) bool {
		if a.Kind == Span && b.Kind == Span {
			return a.Trace == b.Trace && a.SpanID == b.SpanID && a.Instance == b.Instance && a.Time.Equal(b.Time)
		}
		return a.Kind == b.Kind && a.File == b.File && a.Offset == b.Offset && a.Instance == b.Instance
	})
}

// sidecarSuffix ends the names of sidecars.
const sidecarSuffix = "-daprd"

// IsSidecar reports whether an instance is a sidecar.
func IsSidecar(instance string) bool { return strings.HasSuffix(instance, sidecarSuffix) }

// AppOf returns the app of an instance: that of "orders-2-daprd" is "orders", and that of a pod of Kubernetes, as
// "orders-7d9f8b6c5d-bcdfg-daprd", too. Other processes are their own app.
func AppOf(instance string) string {
	app := strings.TrimSuffix(instance, sidecarSuffix)
	if name, ok := cutRandom(app, 5, 5); ok {
		// Of a Deployment the name of the ReplicaSet comes before.
		app, _ = cutRandom(name, 6, 10)
		return app
	}
	end := len(app)
	for end > 0 && app[end-1] >= '0' && app[end-1] <= '9' {
		end--
	}
	if end < len(app) && end > 1 && app[end-1] == '-' {
		return app[:end-1]
	}
	return app
}

// cutRandom cuts the last word off a name if Kubernetes made it at random: it has neither vowels nor 0, 1 and 3 then. If not, it returns the
// name as it is.
func cutRandom(name string, shortest, longest int) (string, bool) {
	i := strings.LastIndexByte(name, '-')
	word := name[i+1:]
	if i < 1 || len(word) < shortest || len(word) > longest || strings.Trim(word, "bcdfghjklmnpqrstvwxz2456789") != "" {
		return name, false
	}
	return name[:i], true
}

// levelOf converts the level that a process wrote. Unknown ones are "".
func levelOf(text string) Level {
	if len(text) < 3 {
		return ""
	}
	switch text[0] | 0x20 {
	case 'i', 'n': // info, information, notice
		return Info
	case 'w':
		return Warn
	case 'd', 't': // debug, trace
		return Debug
	case 'e', 'f', 'c', 'a', 'p': // error, emergency, fatal, critical, alert, panic
		return Error
	}
	return ""
}
