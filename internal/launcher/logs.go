package launcher

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// LogLine is one line of a process's log.
type LogLine struct {
	Process string
	Raw     string
	// The rest is empty when the line is not JSON.
	Time    time.Time
	Level   string // upper case, as INFO
	Message string
	Fields  map[string]any
}

// Field is a field as text, "" when the line does not have it.
func (l LogLine) Field(field string) string {
	if value, ok := l.Fields[field]; ok && value != nil {
		return fmt.Sprint(value)
	}
	return ""
}

func parseLine(name, raw string) LogLine {
	line := LogLine{Process: name, Raw: raw}
	if !strings.HasPrefix(raw, "{") || json.Unmarshal([]byte(raw), &line.Fields) != nil {
		line.Fields = nil
		return line
	}
	line.Time = parseTime(line.Field("time"))
	line.Level = strings.ToUpper(line.Field("level"))
	if line.Message = line.Field("msg"); line.Message == "" {
		line.Message = line.Field("message")
	}
	return line
}

// ReadLogs reads the log lines of the stack in a folder that accept takes (nil:
// all), in order of their times; lines without one stay behind the line before.
func ReadLogs(dir string, accept func(LogLine) bool) ([]LogLine, error) {
	files, err := filepath.Glob(filepath.Join(dir, "logs", "*.log"))
	if err != nil {
		return nil, fmt.Errorf("reading logs: %w", err)
	}
	var all []LogLine
	for _, file := range files {
		lines, err := readLog(file, accept)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	slices.SortStableFunc(all, func(a, b LogLine) int { return a.Time.Compare(b.Time) })
	return all, nil
}

func readLog(path string, accept func(LogLine) bool) ([]LogLine, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading a log: %w", err)
	}
	defer file.Close()
	name := strings.TrimSuffix(filepath.Base(path), ".log")
	var lines []LogLine
	var last time.Time
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		line := parseLine(name, scanner.Text())
		if line.Time.IsZero() {
			line.Time = last
		}
		last = line.Time
		if accept == nil || accept(line) {
			lines = append(lines, line)
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return lines, nil
}
