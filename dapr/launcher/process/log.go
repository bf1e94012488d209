package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// maxLogBytes is the size at which a log file is renamed to <name>.log.1. So a stack that runs for weeks keeps at most
// twice as much per process.
const maxLogBytes = 64 << 20

// maxLineBytes is the length at which a line without end is split.
const maxLineBytes = 256 << 10

// logFile is the log of one process over all its restarts.
type logFile struct {
	path string
	echo func(line []byte) // may be nil

	mu   sync.Mutex
	file *os.File
	size int64
	tail []byte // the last lines, for error messages
}

// tailBytes is about how much of the end an error message quotes.
const tailBytes = 6 << 10

func openLog(path string, echo func([]byte)) (*logFile, error) {
	if err := os.Rename(path, path+".1"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("setting the last log aside: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	return &logFile{path: path, echo: echo, file: file}, nil
}

// copyFrom writes lines until the reader ends. It writes all lines that have arrived at once, because under load a
// process logs thousands of lines a second.
func (l *logFile) copyFrom(r io.Reader) {
	buffer := make([]byte, maxLineBytes)
	held := 0 // bytes of a line that has not ended yet
	for {
		n, err := r.Read(buffer[held:])
		held += n
		end := bytes.LastIndexByte(buffer[:held], '\n') + 1
		if end == 0 && (held == len(buffer) || err != nil) {
			end = held // no end of line
		}
		if end > 0 {
			l.write(buffer[:end])
			held = copy(buffer, buffer[end:held])
		}
		if err != nil {
			return
		}
	}
}

// write appends complete lines.
func (l *logFile) write(lines []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > maxLogBytes {
		l.rotate()
	}
	n, _ := l.file.Write(lines)
	l.size += int64(n)
	l.tail = append(l.tail, lines[max(0, len(lines)-tailBytes):]...)
	if len(l.tail) > 2*tailBytes {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-tailBytes:]...)
	}
	if l.echo == nil {
		return
	}
	for line := range bytes.Lines(lines) {
		l.echo(bytes.TrimRight(line, "\r\n"))
	}
}

func (l *logFile) rotate() {
	if os.Rename(l.path, l.path+".1") != nil {
		return
	}
	file, err := os.OpenFile(l.path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	_ = l.file.Close()
	l.file, l.size = file, 0
}

func (l *logFile) lastLines() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines := l.tail[max(0, len(l.tail)-tailBytes):]
	if len(l.tail) > tailBytes {
		if _, rest, cut := bytes.Cut(lines, []byte{'\n'}); cut {
			lines = rest // the first line is incomplete
		}
	}
	return string(lines)
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.file.Close()
}
