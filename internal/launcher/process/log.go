package process

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// maxLogBytes is when a log file is set aside as <name>.log.1, so that a stack
// left running for weeks keeps at most twice as much per process.
const maxLogBytes = 64 << 20

// maxLineBytes is where an endless line is cut into several.
const maxLineBytes = 256 << 10

// logFile is the log of one process over all its lives.
type logFile struct {
	path string
	echo func(line []byte) // may be nil

	mu   sync.Mutex
	file *os.File
	size int64
	tail [][]byte // the last lines, for error messages
}

const tailLines = 30

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

// copyFrom writes lines as they come until the reader ends.
func (l *logFile) copyFrom(r io.Reader) {
	reader := bufio.NewReaderSize(r, maxLineBytes)
	for {
		line, err := reader.ReadSlice('\n')
		if len(line) > 0 {
			l.write(bytes.TrimRight(line, "\r\n"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (l *logFile) write(line []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size > maxLogBytes {
		l.rotate()
	}
	line = append(bytes.Clone(line), '\n')
	n, _ := l.file.Write(line)
	l.size += int64(n)
	if len(l.tail) == tailLines {
		l.tail = l.tail[1:]
	}
	l.tail = append(l.tail, line)
	if l.echo != nil {
		l.echo(line[:len(line)-1])
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
	return string(bytes.Join(l.tail, nil))
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.file.Close()
}
