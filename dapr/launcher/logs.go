package launcher

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"caravan/internal/clock"
)

// LogLine is one line of a process's log.
type LogLine struct {
	Process string
	Raw     string
	// The other fields are empty when the line is not JSON.
	Time    time.Time
	Level   string // upper case, as INFO
	Message string
	Fields  map[string]any
}

// Field returns a field as text, or "" when the line does not have it.
func (l LogLine) Field(field string) string {
	if value, ok := l.Fields[field]; ok && value != nil {
		return fmt.Sprint(value)
	}
	return ""
}

// ParseLine reads a line that a process wrote to its log.
func ParseLine(name, raw string) LogLine {
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

// ReadLogs reads the log lines of the stack in a folder that accept returns true for (nil: all), in order of their
// times. A line without a time follows the line before it.
func ReadLogs(dir string, accept func(LogLine) bool) ([]LogLine, error) {
	var all []LogLine
	for _, file := range logFiles(dir) {
		lines, err := readLog(file, accept)
		if err != nil {
			return nil, err
		}
		all = append(all, lines...)
	}
	slices.SortStableFunc(all, func(a, b LogLine) int { return a.Time.Compare(b.Time) })
	return all, nil
}

// Logged are the processes that have a log in the folder of a stack.
func Logged(dir string) []string {
	var names []string
	for _, file := range logFiles(dir) {
		names = append(names, strings.TrimSuffix(filepath.Base(file), ".log"))
	}
	return names
}

// logFiles are the logs of a stack's processes, in order of their names. There are none where no stack has run. The
// folder may have any name, such as "[x]".
func logFiles(dir string) []string {
	folder := filepath.Join(dir, "logs")
	entries, _ := os.ReadDir(folder)
	var files []string
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) == ".log" {
			files = append(files, filepath.Join(folder, entry.Name()))
		}
	}
	return files
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
		line := ParseLine(name, scanner.Text())
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

// FollowLogs shows the existing log lines that accept returns true for, and new ones as they are written, until the
// context ends.
func FollowLogs(ctx context.Context, dir string, accept func(LogLine) bool, show func(LogLine)) error {
	past, err := ReadLogs(dir, accept)
	if err != nil {
		return err
	}
	for _, line := range past {
		show(line)
	}
	offsets := logSizes(dir)
	for (clock.System{}).Sleep(ctx, 200*time.Millisecond) == nil {
		for path, size := range logSizes(dir) {
			if size < offsets[path] { // the old file was renamed, and a new one has begun
				offsets[path] = 0
			}
			offsets[path] += readSince(path, offsets[path], func(line LogLine) {
				if accept == nil || accept(line) {
					show(line)
				}
			})
		}
	}
	return nil
}

func logSizes(dir string) map[string]int64 {
	sizes := map[string]int64{}
	for _, file := range logFiles(dir) {
		if info, err := os.Stat(file); err == nil {
			sizes[file] = info.Size()
		}
	}
	return sizes
}

// readSince reads the complete lines of a file from an offset on, and returns how many bytes they have.
func readSince(path string, offset int64, show func(LogLine)) (read int64) {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer file.Close()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return 0
	}
	name := strings.TrimSuffix(filepath.Base(path), ".log")
	reader := bufio.NewReader(file)
	for {
		line, err := reader.ReadString('\n')
		if err != nil {
			return read // an incomplete line, or none: it is read next time
		}
		read += int64(len(line))
		show(ParseLine(name, strings.TrimRight(line, "\n")))
	}
}
