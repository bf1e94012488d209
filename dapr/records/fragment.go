package records

import (
	"strings"
	"time"
)

// Fragment is one record that a container engine wrote: a line of a process, or a part of a long line.
type Fragment struct {
	Stream string // "stdout" or "stderr"
	Time   time.Time
	Text   string
	// Partial says that the line goes on in the next fragment of the same stream.
	Partial bool
}

// The streams of a process.
const (
	stdout = "stdout"
	stderr = "stderr"
)

// ParseDocker reads a record of Docker's driver json-file, without the end of line. It reports whether the text is one.
//
//	{"log":"text\n","stream":"stdout","attrs":{"tag":"caravan/orders/1"},"time":"2026-11-27T09:00:01.123456789Z"}
//
// Docker splits a line of more than 16 KB. All parts but the last lack the \n, and all have the time of the first.
func ParseDocker(record string) (Fragment, bool) {
	var f Fragment
	logged := false
	whole := members(record, func(key, value string) {
		switch key {
		case "log":
			f.Text, logged = plain(value), strings.HasPrefix(value, `"`)
		case "stream":
			f.Stream = plain(value)
		case "time":
			f.Time = ParseTime(plain(value))
		}
	})
	if !whole || !logged || f.Stream != stdout && f.Stream != stderr || f.Time.IsZero() {
		return Fragment{}, false
	}
	text, ends := strings.CutSuffix(f.Text, "\n")
	f.Text, f.Partial = text, !ends
	return f, true
}

// DockerTag returns the tag of a record of Docker's driver json-file: the log option "tag" of its container. It is "" if the record has
// none.
func DockerTag(record string) string {
	tag := ""
	members(record, func(key, value string) {
		if key != "attrs" {
			return
		}
		members(value, func(key, value string) {
			if key == "tag" {
				tag = plain(value)
			}
		})
	})
	return tag
}

// ParseCRI reads a record in the format of Kubernetes' container runtimes (containerd, CRI-O), without the end of line. It reports
// whether the text is one.
//
//	2026-11-27T09:00:01.123456789Z stdout F text
//
// P in the place of F marks a part of a line that is not the last. A colon may separate F or P from other marks.
func ParseCRI(record string) (Fragment, bool) {
	at, rest, _ := strings.Cut(record, " ")
	stream, rest, _ := strings.Cut(rest, " ")
	marks, text, _ := strings.Cut(rest, " ")
	mark, _, _ := strings.Cut(marks, ":")
	f := Fragment{Stream: stream, Time: ParseTime(at), Text: text, Partial: mark == "P"}
	if f.Time.IsZero() || stream != stdout && stream != stderr || mark != "P" && mark != "F" {
		return Fragment{}, false
	}
	return f, true
}
