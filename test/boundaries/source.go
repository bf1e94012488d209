package boundaries

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"regexp"
	"slices"
	"strconv"
)

// calls are the functions, by import path, whose result depends on the time of the call or on chance. nil means the
// whole package.
var calls = map[string][]string{
	"time":                   {"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"},
	"math/rand":              nil,
	"math/rand/v2":           nil,
	"crypto/rand":            nil,
	"github.com/google/uuid": {"New", "NewString", "NewRandom", "NewV6", "NewV7", "NewUUID"},
}

// nothingAmbient finds uses of time and chance that tests could not control.
func nothingAmbient(p Package) []string {
	if !layer(p, "domain") && !layer(p, "app") && !layer(p, "audit") {
		return nil
	}
	var details []string
	sources(p, false, func(name string, source []byte) {
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, name, source, parser.SkipObjectResolution)
		if err != nil {
			details = append(details, "cannot be parsed: "+err.Error())
			return
		}
		imported := importNames(file)
		ast.Inspect(file, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			qualifier, ok := selector.X.(*ast.Ident)
			if !ok {
				return true
			}
			path, ok := imported[qualifier.Name]
			if !ok {
				return true
			}
			if names := calls[path]; names == nil || slices.Contains(names, selector.Sel.Name) {
				details = append(details, fmt.Sprintf("%s uses %s.%s", files.Position(selector.Pos()), path, selector.Sel.Name))
			}
			return true
		})
	})
	return details
}

// importNames maps the names under which a file imports the packages in calls.
func importNames(file *ast.File) map[string]string {
	names := make(map[string]string)
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value)
		if _, watched := calls[path]; !watched {
			continue
		}
		name := map[string]string{"time": "time", "github.com/google/uuid": "uuid"}[path]
		if name == "" {
			name = "rand"
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = path
	}
	return names
}

// product matches the brokers and stores that a component file may replace.
var product = regexp.MustCompile(`(?i)rabbit_?mq|amqp|kafka|redis|postgres|sqlite`)

// explains are the packages whose comments may name the product for which the code is as it is.
var explains = []string{"internal/document", "internal/feed", "internal/sidecar"}

// noProduct finds broker and store products in code. If a program knows its broker, a component file cannot replace it.
func noProduct(p Package) []string {
	if withinAny(p.Path, "dapr", "test") {
		return nil
	}
	var details []string
	sources(p, true, func(name string, source []byte) {
		files := token.NewFileSet()
		file := files.AddFile(name, -1, len(source))
		var s scanner.Scanner
		s.Init(file, source, nil, scanner.ScanComments)
		for {
			position, kind, text := s.Scan()
			if kind == token.EOF {
				return
			}
			if kind == token.COMMENT && withinAny(p.Path, explains...) {
				continue
			}
			if found := product.FindString(text); found != "" {
				details = append(details, fmt.Sprintf("%s names %s", files.Position(position), found))
			}
		}
	})
	return details
}
