package launcher

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// longestFolder is how many bytes the path of a stack's folder may have. SQLite opens no file whose path has more than
// 512 bytes, and the names in the folder need the rest.
const longestFolder = 400

// checkFolders refuses, before anything starts, paths that some program of a stack cannot use. All other paths are
// escaped where they are written.
func checkFolders(root, dir string) error {
	if bad := unwritable(root, "\\"); bad != "" {
		return fmt.Errorf("the path of the repository, %q, has %s, which Go cannot build in: move it, or enter it by a symbolic link", root, bad)
	}
	if bad := unwritable(dir, ""); bad != "" {
		return fmt.Errorf("the path of the stack's folder, %q, has %s, which configuration files cannot hold: choose another with --dir", dir, bad)
	}
	if len(dir) > longestFolder {
		return fmt.Errorf("the path of the stack's folder, %q, has %d bytes, and a database file's may not be that long: choose one of at most %d with --dir",
			dir, len(dir), longestFolder)
	}
	return nil
}

// unwritable names what a path must not contain: control characters, bytes that are not UTF-8, and the given
// characters. "" means that the path is fine.
func unwritable(path, more string) string {
	if !utf8.ValidString(path) {
		return "bytes that are not UTF-8"
	}
	for _, r := range path {
		if unicode.IsControl(r) || strings.ContainsRune(more, r) {
			return fmt.Sprintf("the character %q", r)
		}
	}
	return ""
}

// WriteSecret writes a value as JSON to a file that only its owner can read.
func WriteSecret(file string, value any) error {
	raw, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	if err := os.WriteFile(file, append(raw, '\n'), 0o600); err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return nil
}
