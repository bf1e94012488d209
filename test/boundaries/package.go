// Package boundaries checks the design rules on dependencies that the compiler does not check. It reads the packages of
// the module as `go list` reports them, and their sources where imports are not enough.
package boundaries

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Package has the data of one package that the rules need.
type Package struct {
	// Path is the import path without the module, such as services/orders/app.
	Path string
	// Imports are the import paths of its files. Those of this module are without the module too.
	Imports []string
	// TestImports are the import paths of its tests.
	TestImports []string
	// Sources are its files by name, including tests.
	Sources map[string][]byte
}

// imports returns all imports of the package and its tests.
func (p Package) imports() []string {
	all := slices.Concat(p.Imports, p.TestImports)
	slices.Sort(all)
	return slices.Compact(all)
}

// List reads the packages of the module in dir.
func List(dir string) ([]Package, error) {
	cmd := exec.Command("go", "list", "-buildvcs=false", "-e",
		"-json=Dir,ImportPath,Module,GoFiles,CgoFiles,IgnoredGoFiles,TestGoFiles,XTestGoFiles,Imports,TestImports,XTestImports,Error", "./...")
	cmd.Dir = dir
	var failure bytes.Buffer
	cmd.Stderr = &failure
	output, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("listing packages: %w: %s", err, failure.String())
	}
	var packages []Package
	for decoder := json.NewDecoder(bytes.NewReader(output)); ; {
		var l listed
		if err := decoder.Decode(&l); errors.Is(err, io.EOF) {
			return packages, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading the list of packages: %w", err)
		}
		p, err := l.read()
		if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
}

// listed is one package in the output of go list.
type listed struct {
	Dir, ImportPath                                              string
	Module                                                       struct{ Path string }
	GoFiles, CgoFiles, IgnoredGoFiles, TestGoFiles, XTestGoFiles []string
	Imports, TestImports, XTestImports                           []string
	Error                                                        *struct{ Err string }
}

func (l listed) read() (Package, error) {
	if l.Error != nil {
		return Package{}, fmt.Errorf("%s: %s", l.ImportPath, l.Error.Err)
	}
	p := Package{
		Path:        l.local(l.ImportPath),
		Imports:     l.locals(l.Imports),
		TestImports: l.locals(slices.Concat(l.TestImports, l.XTestImports)),
		Sources:     make(map[string][]byte),
	}
	for _, name := range slices.Concat(l.GoFiles, l.CgoFiles, l.IgnoredGoFiles, l.TestGoFiles, l.XTestGoFiles) {
		source, err := os.ReadFile(filepath.Join(l.Dir, name))
		if err != nil {
			return Package{}, fmt.Errorf("reading a source of %s: %w", l.ImportPath, err)
		}
		p.Sources[name] = source
	}
	return p, nil
}

func (l listed) locals(paths []string) []string {
	local := make([]string, len(paths))
	for i, path := range paths {
		local[i] = l.local(path)
	}
	return local
}

func (l listed) local(path string) string {
	if rest, ok := strings.CutPrefix(path, l.Module.Path+"/"); ok {
		return rest
	}
	return path
}
