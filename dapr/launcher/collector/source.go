package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"caravan/dapr/records"
)

// folder is a folder whose files are followed.
type folder struct {
	path      string
	engine    *engine // that writes the files; nil for a stack of the launcher
	ended     bool    // nobody writes to its files any more
	knownOnly bool    // only files with a position are read
	// spans says that the lines are rows already. active is the file that is written to, and finished is called for others when
	// all of them is stored.
	spans    bool
	active   func() string
	finished func(path string) error
}

// list passes the log files of the folder to visit.
func (f *folder) list(now time.Time, visit func(listed)) error {
	if f.engine != nil {
		return f.engine.list(f.path, now, visit)
	}
	active := ""
	if f.active != nil {
		active = f.active()
	}
	err := plain(f.path, now, func(file listed) {
		file.ended = file.ended || f.ended || f.spans && file.path != active
		visit(file)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no stack has run
	}
	return err
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
	missed   int  // how often it was in no folder, one after the other
	gone     bool // it is in no folder any more

	read position // what was sent
	// stored has everything before this place for good. The store could forget what is between stored and read, if it is killed.
	stored position
	// present are lines after stored that the store has, in their order. They are not sent again.
	present []int64
	size    int64
}

// inode identifies a file while it exists.
type inode struct{ device, number uint64 }

// open opens a file. It returns nil if the file has no beginning yet. The source has no instance if the file is not to be read.
func open(path string, f *folder, ended bool) (*source, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a log: %w", err)
	}
	s := &source{file: file, path: path, folder: f, instance: instanceOf(path)}
	if err := s.identify(ended); err != nil || s.id == "" {
		return nil, errors.Join(err, file.Close())
	}
	return s, nil
}

// instanceOf is the process of a log: that of orders.log and of orders.log.1 is orders.
func instanceOf(path string) string {
	name, _, _ := strings.Cut(filepath.Base(path), ".log")
	return name
}

// The beginning of a file is a part of its id. The first record of an engine may be as long as 16 KB of escaped characters.
const (
	idBytes     = 512
	recordBytes = 128 << 10
)

// identify sets an id that the file keeps when it is renamed, and that no other file will have: of its inode, the time when it
// was made, and its beginning. The id is "" while there is no whole line.
func (s *source) identify(ended bool) error {
	var stat unix.Statx_t
	if err := unix.Statx(int(s.file.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_BTIME|unix.STATX_INO, &stat); err != nil {
		return fmt.Errorf("identifying a log: %w", err)
	}
	s.inode = inode{uint64(stat.Dev_major)<<32 | uint64(stat.Dev_minor), stat.Ino}
	owner, device, longest := s.instance, s.inode.device, idBytes
	if s.folder.engine != nil {
		longest = recordBytes
	}
	beginning := make([]byte, longest)
	n, err := s.file.ReadAt(beginning, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("identifying a log: %w", err)
	}
	beginning = beginning[:n]
	if end := bytes.IndexByte(beginning, '\n'); end >= 0 {
		beginning = beginning[:end]
	} else if n < longest && !ended || n == 0 {
		return nil
	}
	if s.folder.engine != nil {
		// The files of containers outlive the machine's run, in which a disk may get another number.
		owner, s.instance = s.folder.engine.owner(s.path, string(beginning))
		device = 0
	}
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%s %d %d %d.%d ", owner, device, s.inode.number, stat.Btime.Sec, stat.Btime.Nsec)
	_, _ = hash.Write(beginning[:min(len(beginning), idBytes)])
	s.id = fmt.Sprintf("%016x", hash.Sum64())
	return nil
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
func (s *source) readLines(buffer []byte, visit func(logged)) (more bool, err error) {
	n, err := s.file.ReadAt(buffer, s.read.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("reading %s: %w", s.path, err)
	}
	full := n == len(buffer)
	s.size = max(s.size, s.read.Offset+int64(n))
	if s.folder.engine != nil {
		s.joinRecords(buffer[:n], full, visit)
		return full, nil
	}
	for rest := buffer[:n]; len(rest) > 0; {
		end, length := s.lineEnd(rest, full)
		if length == 0 {
			break
		}
		visit(logged{text: rest[:end], offset: s.read.Offset})
		s.read.Offset += int64(length)
		rest = rest[length:]
	}
	return full, nil
}

// lineEnd returns the end of the first line, and its length with the end of line. The length is 0 if the line is not complete.
func (s *source) lineEnd(rest []byte, full bool) (end, length int) {
	end = bytes.IndexByte(rest, '\n')
	if end >= 0 && end <= longestLine {
		return end, end + 1
	}
	if len(rest) < longestLine && (full || !s.ended) {
		return 0, 0
	}
	// Where a line is cut depends only on where it starts.
	end = min(len(rest), longestLine)
	return end, end
}

// joinRecords makes lines of the records of an engine. What is read moves to places where no line is open. If there is none in
// a full buffer, open lines are cut at its end.
func (s *source) joinRecords(data []byte, full bool, visit func(logged)) {
	j := joiner{engine: s.folder.engine, visit: visit, from: s.read.Offset}
	offset := s.read.Offset
	for rest := data; len(rest) > 0; {
		end, length := s.lineEnd(rest, full)
		if length == 0 {
			break
		}
		j.add(rest[:end], offset, offset+int64(length))
		offset += int64(length)
		rest = rest[length:]
	}
	if !j.clean() && (full && j.from == s.read.Offset || !full && s.ended) {
		j.end(offset)
	}
	s.read.Offset = j.from
}

// skip reports whether the store has the line at a place.
func (s *source) skip(offset int64) bool {
	_, found := slices.BinarySearch(s.present, offset)
	return found
}

// rewind goes back to what is stored for good. present are the lines after it that the store has.
func (s *source) rewind(present map[int64]bool) {
	s.read, s.present = s.stored, slices.Sorted(maps.Keys(present))
}

// appendLine appends a line of a log as a row.
func (s *source) appendLine(out []byte, line logged, now time.Time) []byte {
	row := s.parse(line, now)
	row.File, row.Offset = s.id, line.offset
	if row.Line != "" && len(row.Message) > longestMessage {
		row.Message = row.Message[:longestMessage] // Line has all of it
	}
	return records.AppendRow(out, &row)
}

// longestMessage is the length at which the message of a line is cut.
const longestMessage = 4 << 10

// note reads the time of a line that is not sent again. A line without a time has that of the line before.
func (s *source) note(line logged, now time.Time) { s.parse(line, now) }

func (s *source) parse(line logged, now time.Time) records.Row {
	row := records.ParseLine(s.instance, records.Mask(string(bytes.TrimRight(line.text, "\r"))))
	// The store refuses lines from long ago or from the future: a time like that is no time.
	valid := func(at time.Time) bool { return at.After(now.Add(-oldest)) && at.Before(now.Add(time.Hour)) }
	if !valid(row.Time) {
		row.Time = line.at
	}
	if !valid(row.Time) {
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
