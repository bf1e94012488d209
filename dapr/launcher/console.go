package launcher

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"caravan/dapr/launcher/process"
)

// console shows messages to a person: the launcher's own remarks, and log lines with the name of their process.
type console struct {
	verbose bool
	colours map[string]string

	mu    sync.Mutex
	out   io.Writer
	log   *slog.Logger // has the remarks too; may be nil
	muted bool
}

// Escape sequences of ECMA-48, for terminals.
const (
	plain, dim, red, yellow = "\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[33m"
)

func newConsole(out io.Writer, coloured, verbose bool, apps []string) *console {
	c := &console{out: out, verbose: verbose, colours: map[string]string{}}
	if coloured {
		palette := []string{"\x1b[36m", "\x1b[32m", "\x1b[35m", "\x1b[34m", "\x1b[33m", "\x1b[96m"}
		for i, app := range apps {
			c.colours[app] = palette[i%len(palette)]
		}
	}
	return c
}

// say prints a remark of the launcher.
func (c *console) say(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	fmt.Fprintln(c.out, text)
	if c.log != nil {
		c.log.Info(text)
	}
}

// alsoLog writes remarks to a log too, from now on.
func (c *console) alsoLog(log *slog.Logger) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = log
}

// mute holds log lines back while a summary is printed. Remarks are still shown.
func (c *console) mute(muted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.muted = muted
}

// line shows a log line of a process. It shows all lines of programs, but those of sidecars and servers only from
// warnings up, unless verbose.
func (c *console) line(name string, raw []byte) {
	if c.out == io.Discard {
		return
	}
	parsed := ParseLine(name, string(raw))
	if !c.verbose && !c.isProgram(name) && !parsed.serious() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.muted {
		return
	}
	fmt.Fprintln(c.out, Format(parsed, c.colours[strings.TrimSuffix(name, "-daprd")], len(c.colours) > 0))
}

func (c *console) isProgram(name string) bool {
	return !strings.HasSuffix(name, "-daprd") && !strings.HasPrefix(name, "broker") && name != "store" && name != MailProcess && !isObserver(name)
}

// changed prints a remark when a process ended by itself.
func (c *console) changed(status process.Status) {
	if status.State == process.Waiting {
		c.say("%s ended (%s); starting it again.", status.Name, status.LastExit)
	}
}

// Format renders a log line as "name | time level message key=value …", in colour if coloured is set.
func Format(line LogLine, colour string, coloured bool) string {
	prefix := fmt.Sprintf("%-19s| ", line.Process)
	if coloured {
		prefix = colour + prefix + plain
	}
	if line.Fields == nil {
		return prefix + line.Raw
	}
	level := fmt.Sprintf("%-5s", line.Level)
	if coloured {
		switch {
		case strings.HasPrefix(line.Level, "ERR"), strings.HasPrefix(line.Level, "FATAL"):
			level = red + level + plain
		case strings.HasPrefix(line.Level, "WARN"):
			level = yellow + level + plain
		}
	}
	attributes := line.attributes()
	if coloured && attributes != "" {
		attributes = dim + attributes + plain
	}
	at := ""
	if !line.Time.IsZero() {
		at = line.Time.Local().Format("15:04:05.000") + " "
	}
	return prefix + at + level + " " + line.Message + attributes
}

// attributes are the fields that a person may want to see besides the message, in order.
func (l LogLine) attributes() string {
	decoder := json.NewDecoder(strings.NewReader(l.Raw))
	decoder.UseNumber()
	if _, err := decoder.Token(); err != nil {
		return ""
	}
	var b strings.Builder
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			break
		}
		var value any
		if decoder.Decode(&value) != nil {
			break
		}
		switch key {
		case "time", "level", "msg", "message", "app_id", "instance", "scope", "type", "ver", "service", "pid", "node", "line", "domain":
			continue
		}
		text := fmt.Sprint(value)
		if composite, ok := value.(map[string]any); ok {
			raw, _ := json.Marshal(composite)
			text = string(raw)
		}
		if text == "" {
			continue
		}
		if strings.ContainsAny(text, " \t") {
			text = fmt.Sprintf("%q", text)
		}
		fmt.Fprintf(&b, " %v=%s", key, text)
	}
	return b.String()
}

// serious reports whether the line is a warning or worse. A line that is not JSON counts if it looks like a crash.
func (l LogLine) serious() bool {
	if l.Fields == nil {
		lower := strings.ToLower(l.Raw)
		return strings.HasPrefix(lower, "panic:") || strings.HasPrefix(lower, "fatal") || strings.Contains(lower, "error")
	}
	switch strings.ToLower(l.Level) {
	case "warn", "warning", "error", "fatal", "critical", "alert", "emergency":
		return true
	}
	return false
}

// parseTime reads the time formats that programs, sidecars and brokers write.
func parseTime(text string) time.Time {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999-07:00"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at
		}
	}
	return time.Time{}
}
