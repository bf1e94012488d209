package scaffold

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// published is an event as the contract of its producer declares it.
type published struct {
	// Producer is the app id, and Const the name of the constant that is the type.
	Producer, Const string
	// Payload is the name of the type of the payload, or "" if the contract does not say it.
	Payload string
}

// packageFiles are the files of a package without its tests, in the order of their names.
func packageFiles(root, folder string) ([]*ast.File, *token.FileSet, error) {
	names, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(folder), "*.go"))
	if err != nil {
		return nil, nil, fmt.Errorf("listing %s: %w", folder, err)
	}
	set := token.NewFileSet()
	var all []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, nil, fmt.Errorf("reading %s: %w", folder, err)
		}
		all = append(all, file)
	}
	return all, set, nil
}

// specs visits the declarations of a kind, each with its comments.
func specs(files []*ast.File, kind token.Token, visit func(file *ast.File, spec ast.Spec, comment string)) {
	for _, file := range files {
		for _, decl := range file.Decls {
			group, ok := decl.(*ast.GenDecl)
			if !ok || group.Tok != kind {
				continue
			}
			for _, spec := range group.Specs {
				switch s := spec.(type) {
				case *ast.ValueSpec:
					visit(file, s, s.Doc.Text()+s.Comment.Text()+group.Doc.Text())
				case *ast.TypeSpec:
					visit(file, s, s.Doc.Text()+group.Doc.Text())
				}
			}
		}
	}
}

// findEvent finds an event in the contract of its producer.
func findEvent(root, producer, typ string) (published, error) {
	files, _, err := packageFiles(root, "services/"+producer+"/contract")
	if err != nil {
		return published{}, err
	}
	types := make(map[string]string) // constants and their comments
	all := make(map[string]string)   // constants by event type
	specs(files, token.CONST, func(_ *ast.File, spec ast.Spec, comment string) {
		value := spec.(*ast.ValueSpec)
		for i, name := range value.Names {
			if i < len(value.Values) && strings.HasPrefix(name.Name, "Event") {
				all[text(value.Values[i], producer)], types[name.Name] = name.Name, comment
			}
		}
	})
	name := all[typ]
	if name == "" {
		return published{}, refused("%s has no event %q. Its events are %s.", producer, typ, strings.Join(slices.Sorted(maps.Keys(all)), ", "))
	}
	return published{Producer: producer, Const: name, Payload: payload(files, types[name])}, nil
}

// text is the value of a constant: a string, which may begin with the constant App.
func text(value ast.Expr, app string) string {
	switch v := value.(type) {
	case *ast.BasicLit:
		s, _ := strconv.Unquote(v.Value)
		return s
	case *ast.BinaryExpr:
		return text(v.X, app) + text(v.Y, app)
	case *ast.Ident:
		if v.Name == "App" {
			return app
		}
	}
	return ""
}

// named finds the type of a payload in the comment of an event, and general in that of a type.
var (
	named   = regexp.MustCompile(`(?:payload is|payload|carries) \[?([A-Z]\w*)`)
	general = regexp.MustCompile(`is the payload of every`)
)

// payload is the type that the comment of an event names, or the one that is the payload of every event of the producer.
func payload(files []*ast.File, comment string) string {
	found := ""
	of := named.FindStringSubmatch(comment)
	specs(files, token.TYPE, func(_ *ast.File, spec ast.Spec, comment string) {
		name := spec.(*ast.TypeSpec).Name.Name
		if of != nil && of[1] == name || of == nil && general.MatchString(comment) {
			found = name
		}
	})
	return found
}

// copyFields gives the use case the fields of another one, with the imports that they need.
func (c *consumer) copyFields(root, from string) error {
	files, set, err := packageFiles(root, c.folder()+"/app")
	if err != nil {
		return err
	}
	specs(files, token.TYPE, func(file *ast.File, spec ast.Spec, _ string) {
		s, ok := spec.(*ast.TypeSpec)
		fields, isStruct := s.Type.(*ast.StructType)
		if !ok || !isStruct || s.Name.Name != from || err != nil {
			return
		}
		var source []byte
		if source, err = os.ReadFile(set.Position(file.Pos()).Filename); err != nil {
			return
		}
		c.Fields = string(source[set.Position(fields.Fields.Opening).Offset+1 : set.Position(fields.Fields.Closing).Offset])
		c.Imports = importsOf(file, fields)
	})
	if err != nil {
		return fmt.Errorf("reading the use case %s: %w", from, err)
	}
	return nil
}

// importsOf are the imports of a file that a part of it uses.
func importsOf(file *ast.File, part ast.Node) []string {
	used := make(map[string]bool)
	ast.Inspect(part, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok {
				used[x.Name] = true
			}
		}
		return true
	})
	var all []string
	for _, i := range file.Imports {
		line, name := i.Path.Value, path.Base(strings.Trim(i.Path.Value, `"`))
		if i.Name != nil {
			line, name = i.Name.Name+" "+line, i.Name.Name
		}
		if used[name] {
			all = append(all, line)
		}
	}
	return all
}
