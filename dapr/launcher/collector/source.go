package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"caravan/dapr/records"
)

// folder is a folder whose files are followed.
type folder struct {
	path      string
	ended     bool // nobody writes to its files any more
	knownOnly bool // only files with a position are read
	// spans says that the lines are rows already. active is the file that is written to, and finished is called for others when
	// all of them is stored.
	spans    bool
	active   func() string
	finished func(path string) error
}

// source is one file. It stays open, so that nothing is lost when it is renamed or deleted, and no other file gets its inode.
type source struct {
	file     *os.File
	inode    inode
	id       string // for ever, see identify
	instance string
	path     string // at present
	folder   *folder
	ended    bool // nothing is written to it any more
	gone     bool // it is in no folder any more

	read position // what was sent
	// stored has everything before this place for good. The store could forget what is between stored and read, if it is killed.
	stored position
	// present are lines after stored that the store has, so they are not sent again.
	present map[int64]bool
	size    int64
}

// inode identifies a file while it exists.
type inode struct{ device, number uint64 }

// open opens a file. It returns nil if the file has no beginning yet.
func open(path string, ended bool) (*source, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	s := &source{file: file, path: path, instance: instanceOf(path)}
	if s.inode, s.id, err = identify(file, s.instance, ended); err != nil || s.id == "" {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

// instanceOf is the process of a log: that of orders.log and of orders.log.1 is orders.
func instanceOf(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".log")
	return name
}

// identify returns an id that the file keeps when it is renamed, and that no other file will have: of its inode, the time when it
// was made, and its beginning. The id is "" while there is no whole line.
func identify(file *os.File, instance string, ended bool) (inode, string, error) {
	var stat unix.Statx_t
	if err := unix.Statx(int(file.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME|unix.STATX_INO, &stat); err != nil {
		return inode{}, "", fmt.Errorf("identifying a log: %w", err)
	}
	of := inode{uint64(stat.Dev_major)<<32 | uint64(stat.Dev_minor), stat.Ino}
	beginning := make([]byte, 512)
	n, err := file.ReadAt(beginning, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return of, "", fmt.Errorf("identifying a log: %w", err)
	}
	beginning = beginning[:n]
	if end := bytes.IndexByte(beginning, '\n'); end >= 0 {
		beginning = beginning[:end]
	} else if n < 512 && !ended || n == 0 {
		return of, "", nil
	}
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%s %d %d %d.%d ", instance, of.device, of.number, stat.Btime.Sec, stat.Btime.Nsec)
	_, _ = hash.Write(beginning)
	return of, fmt.Sprintf("%016x", hash.Sum64()), nil
}

// inodeOf returns the inode of a path.
func inodeOf(info os.FileInfo) inode {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}
	}
	device := uint64(stat.Dev)
	return inode{uint64(unix.Major(device))<<32 | uint64(unix.Minor(device)), stat.Ino}
}

// longestLine is the length at which a line is cut.
const longestLine = 256 << 10

// readLines reads lines into the buffer and passes each with its place to visit. It reads at most what fits into the buffer, and
// reports whether there is more. A last line without an end is left for later, unless nothing is written any more.
func (s *source) readLines(buffer []byte, visit func(line []byte, offset int64)) (more bool, err error) {
	n, err := s.file.ReadAt(buffer, s.read.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading %s: %w", s.path, err)
	}
	full := n == len(buffer)
	rest := buffer[:n]
	for len(rest) > 0 {
		end := bytes.IndexByte(rest, '\n')
		length := end + 1
		if end < 0 || end > longestLine {
			if len(rest) < longestLine && (full || !s.ended) {
				break
			}
			// Where a line is cut depends only on where it starts.
			end = min(len(rest), longestLine)
			length = end
		}
		visit(rest[:end], s.read.Offset)
		s.read.Offset += int64(length)
		rest = rest[length:]
	}
	s.size = max(s.size, s.read.Offset+int64(len(rest)))
	return full, nil
}

// skip reports whether the store has the line at a place.
func (s *source) skip(offset int64) bool {
	if !s.present[offset] {
		return false
	}
	delete(s.present, offset)
	return true
}

// rewind goes back to what is stored for good. present are the lines after it that the store has.
func (s *source) rewind(present map[int64]bool) { s.read, s.present = s.stored, present }

// appendLine appends a line of a log as a row.
func (s *source) appendLine(out, line []byte, offset int64, now time.Time) []byte {
	row := s.parse(line, now)
	row.File, row.Offset = s.id, offset
	if row.Line != "" && len(row.Message) > longestMessage {
		row.Message = row.Message[:longestMessage] // Line has all of it
	}
	return records.AppendRow(out, &row)
}

// longestMessage is the length at which the message of a line is cut.
const longestMessage = 4 << 10

// note reads the time of a line that is not sent again. A line without a time has that of the line before.
func (s *source) note(line []byte, now time.Time) { s.parse(line, now) }

func (s *source) parse(line []byte, now time.Time) records.Row {
	row := records.ParseLine(s.instance, records.Mask(string(bytes.TrimRight(line, "\r"))))
	// The store refuses lines from long ago or from the future: a time like that is no time.
	if row.Time.Before(now.Add(-oldest)) || row.Time.After(now.Add(time.Hour)) {
		row.Time = s.read.Time
	}
	if row.Time.IsZero() {
		row.Time = now
	}
	s.read.Time = row.Time
	return row
}

// oldest is a little less than the retention of the store.
const oldest = 6 * 24 * time.Hour
