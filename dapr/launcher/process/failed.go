package process

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// FailedError says that a process did not become ready.
type FailedError struct {
	Name     string
	Waited   time.Duration
	LastExit string // how it ended; "" if it runs but is not ready
	Probe    error  // the last result of its readiness probe
	Log      string // its last lines
	LogPath  string
	cause    error // why the wait ended; nil if the process ended again and again
}

// Error begins with the cause; a few lines of the log follow.
func (e *FailedError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is not ready after %s: %s\n", e.Name, e.Waited.Round(100*time.Millisecond), e.reason())
	for _, line := range relevantLines(e.Log) {
		fmt.Fprintf(&b, "  %s\n", line)
	}
	fmt.Fprintf(&b, "Its log is %s", e.LogPath)
	return b.String()
}

func (e *FailedError) reason() string {
	switch {
	case e.LastExit != "":
		return "it ended: " + e.LastExit
	case e.Probe != nil:
		return "it runs, but " + e.Probe.Error()
	}
	return "it runs, but does not serve"
}

// Unwrap returns why the wait ended: context.DeadlineExceeded, context.Canceled, or nil when the process ended again
// and again.
func (e *FailedError) Unwrap() error { return e.cause }

// TimedOut reports whether more time might have helped.
func (e *FailedError) TimedOut() bool { return errors.Is(e.cause, context.DeadlineExceeded) }

// relevantLines are the last lines of a log that are about an error, or otherwise its last lines. They are few, and
// each is cut to fit a terminal.
func relevantLines(log string) []string {
	const most, mostOthers = 5, 3
	var errors, others []string
	for line := range strings.Lines(log) {
		text, isError := readable(strings.TrimSpace(line))
		switch {
		case text == "":
		case isError:
			errors = append(errors, text)
		default:
			others = append(others, text)
		}
	}
	if len(errors) > 0 {
		return errors[max(0, len(errors)-most):]
	}
	return others[max(0, len(others)-mostOthers):]
}

// readable returns a log line without the fields that are for machines.
func readable(line string) (text string, isError bool) {
	var fields struct {
		Level, Msg, Message string
		Error, Err          any
	}
	if json.Unmarshal([]byte(line), &fields) != nil {
		return shorten(line), speaksOfError(line)
	}
	text, _, _ = strings.Cut(cmp.Or(fields.Msg, fields.Message), "\n")
	for _, detail := range []any{fields.Error, fields.Err} {
		if detail != nil {
			text = fmt.Sprintf("%s: %v", text, detail)
		}
	}
	return shorten(text), speaksOfError(fields.Level)
}

func speaksOfError(text string) bool {
	lower := strings.ToLower(text)
	for _, word := range []string{"error", "fatal", "panic", "critical", "failed"} {
		if strings.Contains(lower, word) {
			return true
		}
	}
	return false
}

func shorten(text string) string {
	const most = 200
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most]) + "…"
}
