package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"caravan/dapr/records"
)

// spool keeps received spans in files, as rows, until they are stored. So a span that was accepted is not lost with the collector or
// the store, and needs no memory.
type spool struct {
	folder string
	limits spoolLimits

	mu   sync.Mutex
	file *os.File
	size int64 // of the file
	old  int64 // of the other files
}

// spoolLimits bound the files.
type spoolLimits struct{ file, all int64 }

// errFull says that no more spans can be kept.
var errFull = errors.New("the files of spans are full, because the store does not take them")

func openSpool(folder string, limits spoolLimits) (*spool, error) {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder of spans: %w", err)
	}
	s := &spool{folder: folder, limits: limits}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("reading the folder of spans: %w", err)
	}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil {
			s.old += info.Size()
		}
	}
	return s, nil
}

// append keeps rows.
func (s *spool) append(rows []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.old+s.size+int64(len(rows)) > s.limits.all {
		return errFull
	}
	if s.file == nil || s.size+int64(len(rows)) > s.limits.file {
		if err := s.next(); err != nil {
			return err
		}
	}
	n, err := s.file.Write(rows)
	s.size += int64(n)
	if err != nil {
		// Half a row would join with the next one.
		err = errors.Join(err, s.next())
		return fmt.Errorf("keeping spans: %w", err)
	}
	return nil
}

// next starts another file.
func (s *spool) next() error {
	file, err := os.OpenFile(filepath.Join(s.folder, fmt.Sprintf("spans-%d.log", time.Now().UnixNano())), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("keeping spans: %w", err)
	}
	if s.file != nil {
		_ = s.file.Close()
	}
	s.old += s.size
	s.file, s.size = file, 0
	return nil
}

// active is the file that is written to.
func (s *spool) active() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return ""
	}
	return s.file.Name()
}

// remove removes a file of which everything is stored.
func (s *spool) remove(path string) error {
	info, err := os.Stat(path)
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("removing spans that are stored: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.old -= info.Size()
	return nil
}

func (s *spool) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// appendSpan appends a row of the spool with its place.
func appendSpan(out, row []byte, file string, offset int64) []byte {
	return records.AppendPlace(out, row, file, offset)
}
