package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// position says how much of a file is stored for good.
type position struct {
	Offset int64     `json:"offset"`
	Time   time.Time `json:"time"` // of the last line before the offset
}

// positions are the positions of all files by their ids, and the file that has them.
type positions struct {
	path string
	of   map[string]position
}

// readPositions reads the file, which may be missing.
func readPositions(path string) (*positions, error) {
	p := &positions{path: path, of: map[string]position{}}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &p.of)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the positions in log files: %w", err)
	}
	return p, nil
}

// write replaces the file.
func (p *positions) write() error {
	raw, err := json.Marshal(p.of)
	if err != nil {
		return fmt.Errorf("writing the positions in log files: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(p.path), 0o700); err != nil {
		return fmt.Errorf("writing the positions in log files: %w", err)
	}
	partial := p.path + ".partial"
	if err := os.WriteFile(partial, raw, 0o600); err != nil {
		return fmt.Errorf("writing the positions in log files: %w", err)
	}
	if err := os.Rename(partial, p.path); err != nil {
		return fmt.Errorf("writing the positions in log files: %w", err)
	}
	return nil
}
