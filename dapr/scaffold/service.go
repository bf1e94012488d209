package scaffold

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"caravan/dapr/launcher"
)

// model is the service whose places are copied, so that a new service always has the present form: it consumes the topic of users, and orders asks for its audit.
const model = "notifications"

// service is the new service as templates and edits see it.
type service struct {
	// Name is the app id, the name of the folder and of the topic; Title is the name in identifiers.
	Name, Title string

	replace *strings.Replacer // makes what is said of the model fit the service
}

// like changes a text about the model into one about the service.
func (s *service) like(text string) string { return s.replace.Replace(text) }

// Service returns what would be written for a new service. It writes nothing.
func Service(root, name string) ([]Change, error) {
	apps, err := launcher.AppPorts(root)
	if err != nil {
		return nil, err
	}
	if err := checkName(root, name, ids(apps)); err != nil {
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
	wrong := []error{absent(root, changes)}
	for _, p := range places() {
		change, err := p.change(root, s)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		changes = append(changes, change)
	}
	return changes, errors.Join(wrong...)
}

// ids are the names of apps.
func ids(apps []launcher.AppPort) []string {
	var names []string
	for _, a := range apps {
		names = append(names, a.ID)
	}
	return names
}

// change edits the file of a place.
func (p place) change(root string, s *service) (Change, error) {
	file, err := p.locate(root)
	if err != nil {
		return Change{}, err
	}
	return edited(root, file, func(content string) (string, error) {
		if p.names(s, content) {
			return "", fmt.Errorf("it has the word %q already: remove what is left of an earlier attempt, or choose another name", s.Name)
		}
		return p.edit(s, content)
	})
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
	err := fs.WalkDir(templates, "templates/service", func(file string, entry fs.DirEntry, err error) error {
		inside, isGo := strings.CutSuffix(strings.TrimPrefix(file, "templates/service/"), ".go.tmpl")
		if err != nil || entry.IsDir() || !isGo {
			return err
		}
		content, err := render("service/"+inside+".go.tmpl", s)
		if err != nil {
			return err
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
