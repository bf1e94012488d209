// Package newservice adds a service to the project: its folder, from templates, and its name in every file that lists the
// services. docs/extending.md describes what comes out.
//
// Most places outside of the folder are copied from those of one existing service, the model, so that they always have the
// present form. The edits are of the text: comments and order stay.
package newservice

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"caravan/dapr/launcher"
)

//go:embed templates
var templates embed.FS

// model is the service whose places are copied: it consumes the topic of users, and orders asks for its audit.
const model = "notifications"

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

// service is the new service as templates and edits see it.
type service struct {
	// Name is the app id, the name of the folder and of the topic; Title is the name in identifiers.
	Name, Title string

	replace *strings.Replacer // makes what is said of the model fit the service
}

// like changes a text about the model into one about the service.
func (s *service) like(text string) string { return s.replace.Replace(text) }

// render fills a template.
func (s *service) render(name string) (string, error) {
	t, err := template.New(path.Base(name)).Delims("<%", "%>").Option("missingkey=error").ParseFS(templates, "templates/"+name)
	if err != nil {
		return "", fmt.Errorf("reading a template: %w", err)
	}
	var out bytes.Buffer
	if err := t.Execute(&out, s); err != nil {
		return "", fmt.Errorf("filling the template %s: %w", name, err)
	}
	return out.String(), nil
}

// Plan returns what would be written for a new service. It writes nothing.
func Plan(root, name string) ([]Change, error) {
	apps, err := launcher.AppPorts(root)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, a := range apps {
		names = append(names, a.ID)
	}
	if err := checkName(root, name, names); err != nil {
		return nil, err
	}
	s := &service{Name: name, Title: title(name)}
	if s.replace, err = replacer(name, apps); err != nil {
		return nil, err
	}
	changes, err := s.folder()
	if err != nil {
		return nil, err
	}
	for _, file := range copies {
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
		if err != nil {
			return nil, fmt.Errorf("reading what %s has: %w", model, err)
		}
		changes = append(changes, Change{Path: s.like(file), Content: s.like(string(content)), New: true})
	}
	var wrong []error
	for _, p := range places() {
		change, err := p.change(root, s)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		changes = append(changes, change)
	}
	for _, c := range changes {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(c.Path))); c.New && err == nil {
			wrong = append(wrong, fmt.Errorf("%s exists already: remove what is left of an earlier attempt", c.Path))
		}
	}
	return changes, errors.Join(wrong...)
}

// change edits the file of a place.
func (p place) change(root string, s *service) (Change, error) {
	file, err := p.locate(root)
	if err != nil {
		return Change{}, err
	}
	raw, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		return Change{}, fmt.Errorf("reading a file to edit: %w", err)
	}
	if p.names(s, string(raw)) {
		return Change{}, fmt.Errorf("%s has the word %q already: remove what is left of an earlier attempt, or choose another name", file, s.Name)
	}
	content, err := p.edit(s, string(raw))
	if err != nil {
		return Change{}, fmt.Errorf("%s cannot be edited: %w", file, err)
	}
	return Change{Path: file, Content: content, old: string(raw)}, nil
}

// names reports whether a file names the service already. Comments and the texts of the API document do not count.
func (p place) names(s *service, content string) bool {
	word := regexp.MustCompile(`(?m)^[^#\n]*\b` + s.Name + `\b`)
	switch {
	case strings.HasPrefix(p.file, "gateway/"):
		word = regexp.MustCompile(`["\s](app: |/v1/(ops/)?)` + s.Name + `\b`)
	case strings.HasSuffix(p.file, ".go"):
		word = regexp.MustCompile(`"` + s.Name + `:|services/` + s.Name + `/`)
	}
	return word.MatchString(content)
}

// folder is the folder of the service, from the templates of Go files.
func (s *service) folder() ([]Change, error) {
	var changes []Change
	err := fs.WalkDir(templates, "templates", func(file string, entry fs.DirEntry, err error) error {
		inside, isGo := strings.CutSuffix(strings.TrimPrefix(file, "templates/"), ".go.tmpl")
		if err != nil || entry.IsDir() || !isGo {
			return err
		}
		content, err := s.render(inside + ".go.tmpl")
		if err != nil {
			return err
		}
		if content, err = formatted(content); err != nil {
			return fmt.Errorf("template %s: %w", file, err)
		}
		changes = append(changes, Change{Path: "services/" + s.Name + "/" + inside + ".go", Content: content, New: true})
		return nil
	})
	return changes, err
}

// replacer replaces the names and ports of the model by those of the service. Its ports are each one above the highest of
// any service.
func replacer(name string, apps []launcher.AppPort) (*strings.Replacer, error) {
	i := slices.IndexFunc(apps, func(a launcher.AppPort) bool { return a.ID == model })
	if i < 0 {
		return nil, fmt.Errorf("dapr/dapr.yaml lists no %s, whose places are copied", model)
	}
	pairs := []string{model, name, strings.ToUpper(model), strings.ToUpper(name)}
	for n, port := range apps[i].Ports {
		free := port
		for _, a := range apps {
			if a.ID != "gateway" {
				free = max(free, a.Ports[n])
			}
		}
		pairs = append(pairs, strconv.Itoa(port), strconv.Itoa(free+1))
	}
	return strings.NewReplacer(pairs...), nil
}

// Clean returns an error that lists the files that git knows to be changed or new. A new service is easier to review, and to
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
	return fmt.Errorf("there are changes that are not committed:\n  %s%s\nCommit or remove them first: then one commit holds all of the new service",
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
