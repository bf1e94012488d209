package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// kept is one e-mail.
type kept struct {
	ID   string    `json:"id"`
	At   time.Time `json:"at"`
	From string    `json:"from"`
	To   []string  `json:"to"` // the recipients that the client named, with hidden ones
	raw  []byte
	seen seen // what a list shows of it
}

// box keeps the newest e-mails, limited in number and bytes. With a folder it keeps each in a file, which is on disk
// before the e-mail is accepted.
type box struct {
	folder             string
	maxCount, maxBytes int

	mu    sync.Mutex
	last  int // number of the newest e-mail
	mails []kept
	bytes int
}

// openBox reads the e-mails in a folder; "" keeps them in memory only.
func openBox(folder string, maxCount, maxBytes int) (*box, error) {
	b := &box{folder: folder, maxCount: maxCount, maxBytes: maxBytes}
	if folder == "" {
		return b, nil
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("opening the folder of e-mails: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(escape(folder), "*"+extension))
	if err != nil {
		return nil, fmt.Errorf("opening the folder of e-mails: %w", err)
	}
	for _, file := range files {
		m, err := readKept(file)
		if err != nil {
			return nil, err
		}
		b.mails = append(b.mails, m)
		b.bytes += len(m.raw)
	}
	slices.SortFunc(b.mails, func(x, y kept) int { return cmp.Compare(number(x.ID), number(y.ID)) })
	if len(b.mails) > 0 {
		b.last = number(b.mails[len(b.mails)-1].ID)
	}
	b.trim()
	return b, nil
}

// extension of the files. A file has a line of JSON and then the e-mail as it came.
const extension = ".mail"

// escape makes a path a pattern that matches only it.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

func number(id string) int {
	n, _ := strconv.Atoi(id)
	return n
}

func readKept(file string) (kept, error) {
	var m kept
	raw, err := os.ReadFile(file)
	if err != nil {
		return m, fmt.Errorf("reading an e-mail: %w", err)
	}
	head, body, found := bytes.Cut(raw, []byte("\n"))
	if err := json.Unmarshal(head, &m); err != nil || !found || number(m.ID) <= 0 {
		return m, fmt.Errorf("%s is no e-mail of a mailbox", file)
	}
	m.raw = body
	m.seen = look(body)
	return m, nil
}

// add keeps an e-mail and returns its id.
func (b *box) add(at time.Time, from string, to []string, raw []byte) (string, error) {
	m := kept{At: at.UTC(), From: from, To: slices.Clone(to), raw: raw, seen: look(raw)}
	b.mu.Lock()
	defer b.mu.Unlock()
	m.ID = strconv.Itoa(b.last + 1)
	if b.folder != "" {
		if err := b.store(m); err != nil {
			return "", err
		}
	}
	b.last++
	b.mails = append(b.mails, m)
	b.bytes += len(raw)
	b.trim()
	return m.ID, nil
}

// store writes an e-mail to its file, and returns when it is on disk.
func (b *box) store(m kept) error {
	head, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("keeping an e-mail: %w", err)
	}
	partial, err := os.CreateTemp(b.folder, "*.partial")
	if err != nil {
		return fmt.Errorf("keeping an e-mail: %w", err)
	}
	_, err = partial.Write(append(append(head, '\n'), m.raw...))
	if err := errors.Join(err, partial.Sync(), partial.Close()); err != nil {
		_ = os.Remove(partial.Name())
		return fmt.Errorf("keeping an e-mail: %w", err)
	}
	if err := os.Rename(partial.Name(), b.file(m.ID)); err != nil {
		return fmt.Errorf("keeping an e-mail: %w", err)
	}
	return nil
}

func (b *box) file(id string) string { return filepath.Join(b.folder, id+extension) }

// trim removes the oldest e-mails until the limits are kept.
func (b *box) trim() {
	for len(b.mails) > 1 && (len(b.mails) > b.maxCount || b.bytes > b.maxBytes) {
		b.drop(b.mails[0])
		b.mails = b.mails[1:]
	}
}

func (b *box) drop(m kept) {
	b.bytes -= len(m.raw)
	if b.folder != "" {
		_ = os.Remove(b.file(m.ID)) // the next start removes it again
	}
}

// list returns up to limit e-mails, newest first, and how many there are. to limits them to those with a recipient that
// has this text in its address.
func (b *box) list(to string, limit int) (found []kept, count int) {
	to = strings.ToLower(to)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range slices.Backward(b.mails) {
		if !slices.ContainsFunc(m.To, func(one string) bool { return strings.Contains(strings.ToLower(one), to) }) {
			continue
		}
		if count++; len(found) < limit {
			found = append(found, m)
		}
	}
	return found, count
}

// find returns an e-mail.
func (b *box) find(id string) (kept, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := slices.IndexFunc(b.mails, func(m kept) bool { return m.ID == id })
	if at < 0 {
		return kept{}, false
	}
	return b.mails[at], true
}

// clear removes all e-mails.
func (b *box) clear() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.mails {
		b.drop(m)
	}
	b.mails = nil
}
