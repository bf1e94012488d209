package boundaries

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// textRules are the rules of a validate tag that limit a text (see internal/request).
var textRules = []string{"line", "multiline", "name", "sku", "plainid", "id", "currency", "oneof"}

// ownRules are the fields that a service's domain checks, so that it can report all faults of a request at once.
var ownRules = map[string][]string{
	"notifications": {"timeZone", "from", "until", "kind", "endpoint", "p256dh", "auth"},
	"products":      {"category"},
	"users":         {"email", "name", "password", "currentPassword", "newPassword", "refreshToken", "roles", "token"},
}

// textHasRule finds text in a client's body that no rule checks.
func textHasRule(p Package) []string {
	if !layer(p, "adapters") {
		return nil
	}
	service, _, _ := serviceOf(p.Path)
	b := bodies{own: ownRules[service], types: make(map[string]*ast.StructType), files: token.NewFileSet()}
	var functions []*ast.FuncDecl
	sources(p, false, func(name string, source []byte) {
		file, err := parser.ParseFile(b.files, name, source, parser.SkipObjectResolution)
		if err != nil {
			b.details = append(b.details, "cannot be parsed: "+err.Error())
			return
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok {
					b.types[n.Name.Name] = s
				}
			case *ast.FuncDecl:
				functions = append(functions, n)
			}
			return true
		})
	})
	for _, f := range functions {
		b.function(f)
	}
	slices.Sort(b.details)
	return slices.Compact(b.details)
}

// bodies examines the types of decoded requests.
type bodies struct {
	files   *token.FileSet
	types   map[string]*ast.StructType // of the package
	own     []string                   // fields that are checked by other code
	details []string
}

// function checks the variables into which a function decodes.
func (b *bodies) function(f *ast.FuncDecl) {
	variables := make(map[string]ast.Expr)
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for _, name := range n.Names {
				variables[name.Name] = n.Type
			}
		case *ast.CallExpr:
			selector, ok := n.Fun.(*ast.SelectorExpr)
			if !ok || len(n.Args) < 2 || !strings.HasPrefix(selector.Sel.Name, "Decode") || !isPackage(selector.X, "request") {
				return true
			}
			if pointer, ok := n.Args[1].(*ast.UnaryExpr); ok {
				if variable, ok := pointer.X.(*ast.Ident); ok {
					b.check(variables[variable.Name], "", nil)
				}
			}
		}
		return true
	})
}

// check checks a type and the types of its fields. name and field are those of the member with the type.
func (b *bodies) check(t ast.Expr, name string, field *ast.Field) {
	switch t := t.(type) {
	case *ast.StarExpr:
		b.check(t.X, name, field)
	case *ast.ArrayType:
		b.check(t.Elt, name, field)
	case *ast.StructType:
		for _, f := range t.Fields.List {
			member, _, _ := strings.Cut(tagOf(f).Get("json"), ",")
			b.check(f.Type, member, f)
		}
	case *ast.Ident:
		if s := b.types[t.Name]; s != nil {
			b.check(s, name, field)
		}
		if t.Name == "string" && field != nil && !ruled(tagOf(field)) && !slices.Contains(b.own, name) {
			b.details = append(b.details, fmt.Sprintf("%s: %s is text without a rule", b.files.Position(field.Pos()), name))
		}
	}
}

func tagOf(f *ast.Field) reflect.StructTag {
	if f.Tag == nil {
		return ""
	}
	text, _ := strconv.Unquote(f.Tag.Value)
	return reflect.StructTag(text)
}

func ruled(tag reflect.StructTag) bool {
	return slices.ContainsFunc(strings.Split(tag.Get("validate"), ","), func(rule string) bool {
		word, _, _ := strings.Cut(rule, "=")
		return slices.Contains(textRules, word)
	})
}

// isPackage reports whether an expression is the name of an imported package.
func isPackage(e ast.Expr, name string) bool {
	ident, ok := e.(*ast.Ident)
	return ok && ident.Name == name
}
