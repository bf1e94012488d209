package main

import (
	"errors"
	"io/fs"
	"maps"
)

// discover finds new files, and those that were renamed or deleted.
func (s *shipper) discover() {
	for _, source := range s.sources {
		source.missed++
	}
	complete := true
	for i := range s.folders {
		complete = s.discoverIn(&s.folders[i]) && complete
	}
	for _, source := range s.sources {
		// A file that is renamed while its folder is read may be missed once.
		source.gone = source.missed > 1
		source.ended = source.ended || source.gone
	}
	if complete && !s.begun {
		s.begun = true
		s.prune()
	}
}

// prune removes the positions of files that do not exist any more.
func (s *shipper) prune() {
	existing := map[string]bool{}
	for _, source := range s.sources {
		existing[source.id] = true
	}
	maps.DeleteFunc(s.positions.of, func(id string, _ position) bool { return !existing[id] })
}

// discoverIn finds the files of a folder. It reports whether the folder could be read.
func (s *shipper) discoverIn(f *folder) bool {
	err := f.list(s.now(), func(file listed) {
		number := inodeOf(file.info)
		known := s.sources[number]
		if known == nil && s.ignored[file.path] != number {
			var err error
			if known, err = s.add(file, f); err != nil {
				s.warn("a log cannot be read", file.path, err) // it is tried again
			}
		}
		if known != nil {
			known.path, known.folder, known.missed, known.ended, known.size = file.path, f, 0, file.ended, file.info.Size()
		}
	})
	if err != nil {
		s.warn(folderTrouble, f.path, err)
	}
	return err == nil
}

// maxRemembered bounds what is remembered of files that are not read. What is forgotten is looked at again.
const maxRemembered = 5000

const folderTrouble = "a folder of logs cannot be read"

// warn logs an error, unless it is that of the last time. A file that was removed meanwhile is none.
func (s *shipper) warn(what, path string, err error) {
	if errors.Is(err, fs.ErrNotExist) && what != folderTrouble || s.warned[path] == err.Error() {
		return
	}
	if len(s.warned) > maxRemembered {
		clear(s.warned)
	}
	s.warned[path] = err.Error()
	s.log.Warn(what, "path", path, "error", err)
}

// add opens a file and continues where its position is.
func (s *shipper) add(file listed, f *folder) (*source, error) {
	source, err := open(file.path, f, file.ended)
	if source == nil {
		return nil, err
	}
	stored, known := s.positions.of[source.id]
	if source.instance == "" || !known && f.knownOnly {
		if len(s.ignored) > maxRemembered {
			clear(s.ignored)
		}
		s.ignored[file.path] = source.inode
		return nil, source.file.Close()
	}
	source.stored, source.read = stored, stored
	if known && s.connection != 0 {
		s.connection = 0 // ask what the store has of it
	}
	s.sources[source.inode] = source
	return source, nil
}
