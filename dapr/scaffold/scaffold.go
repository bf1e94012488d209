// Package scaffold adds a service, or a consumer of an event, to the project: new files from templates, and edits of every file
// that has to name them. docs/extending.md describes the result.
//
// The edits are of the text, so comments and order stay.
package scaffold

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed templates
var templates embed.FS

// Change is a file that is written.
type Change struct {
	// Path is the file's place in the repository, with slashes.
	Path string
	// Content is all of it.
	Content string
	// New says that there is no such file yet.
	New bool

	old string
}

// RefusedError says why something cannot be added.
type RefusedError struct{ text string }

// Error implements error.
func (e *RefusedError) Error() string { return e.text }

func refused(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }

// render fills a template.
func render(name string, with any) (string, error) {
	t, err := template.New(path.Base(name)).Delims("<%", "%>").Option("missingkey=error").ParseFS(templates, "templates/"+name)
	if err != nil {
		return "", fmt.Errorf("reading a template: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, with); err != nil {
		return "", fmt.Errorf("filling the template %s: %w", name, err)
	}
	if !strings.HasSuffix(name, ".go.tmpl") {
		return out.String(), nil
	}
	source, err := formatted(out.String())
	if err != nil {
		return "", fmt.Errorf("template %s: %w", name, err)
	}
	return source, nil
}

// edited returns the change of a file that exists.
func edited(root, file string, edit func(content string) (string, error)) (Change, error) {
	raw, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		return Change{}, fmt.Errorf("reading a file to edit: %w", err)
	}
	content, err := edit(string(raw))
	if err != nil {
		return Change{}, fmt.Errorf("%s cannot be edited: %w", file, err)
	}
	return Change{Path: file, Content: content, old: string(raw)}, nil
}

// absent returns an error for each new file that exists already.
func absent(root string, changes []Change) error {
	var wrong []error
	for _, c := range changes {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(c.Path))); c.New && err == nil {
			wrong = append(wrong, fmt.Errorf("%s exists already: remove what is left of an earlier attempt, or choose another name", c.Path))
		}
	}
	return errors.Join(wrong...)
}

// Clean returns an error that lists the files that git knows to be changed or new. What is added is easier to review, and to
// take back, when nothing else has changed. A folder that is no work tree of git is accepted.
func Clean(ctx context.Context, root string) error {
	command := exec.CommandContext(ctx, "git", "status", "--porcelain")
	command.Dir = root
	output, err := command.Output()
	if err != nil {
		return nil // no git, or no work tree
	}
	lines := strings.Split(strings.TrimRight(string(output), "\n"), "\n")
	if lines[0] == "" {
		return nil
	}
	const shown = 10
	more := ""
	if len(lines) > shown {
		more = fmt.Sprintf("\n  and %d more", len(lines)-shown)
	}
	return fmt.Errorf("there are changes that are not committed:\n  %s%s\nCommit or remove them first: then one commit holds all that is added",
		strings.Join(lines[:min(len(lines), shown)], "\n  "), more)
}

// Apply writes the changes. If one cannot be written, all of them are taken back.
func Apply(root string, changes []Change) error {
	for i, c := range changes {
		err := c.write(root)
		if err == nil {
			continue
		}
		if !c.New {
			i++ // it may be half written; a new file that could not be created may be somebody else's
		}
		return errors.Join(err, undo(root, changes[:i]))
	}
	return nil
}

func (c Change) write(root string) error {
	file := filepath.Join(root, filepath.FromSlash(c.Path))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	flags := os.O_WRONLY | os.O_TRUNC
	if c.New {
		flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(file, flags, 0o644)
	if err != nil {
		return fmt.Errorf("writing %s: %w", c.Path, err)
	}
	_, err = f.WriteString(c.Content)
	if err = errors.Join(err, f.Close()); err != nil {
		if c.New {
			err = errors.Join(err, os.Remove(file))
		}
		return fmt.Errorf("writing %s: %w", c.Path, err)
	}
	return nil
}

// undo takes changes back.
func undo(root string, changes []Change) error {
	var wrong []error
	for _, c := range changes {
		file := filepath.Join(root, filepath.FromSlash(c.Path))
		if !c.New {
			wrong = append(wrong, os.WriteFile(file, []byte(c.old), 0o644))
		} else if err := os.Remove(file); !errors.Is(err, os.ErrNotExist) {
			wrong = append(wrong, err)
		}
	}
	return errors.Join(wrong...)
}
