package boundaries

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
)

// The rules of the layout, which all services share.
const (
	ruleFolders  = "a service has the folders adapters, app, assembly, audit, contract and domain, and no other"
	ruleFiles    = "a service has main.go and the first file of each folder"
	ruleRoutes   = "a service registers its routes in adapters/http.go only"
	ruleProblems = "a service makes problems of errors in adapters/problems.go only"
	ruleUseCases = "a use case is a type with one exported method, Do, alone in a file of its name"
)

// LayoutRules are all rules of the layout.
var LayoutRules = []string{ruleFolders, ruleFiles, ruleRoutes, ruleProblems, ruleUseCases}

// folders are the folders of a service. Only adapters may have packages below it.
var folders = []string{"adapters", "app", "assembly", "audit", "contract", "domain"}

// firstFiles are the files that a reader opens first. adapters/problems.go exists if ruleProblems requires it.
var firstFiles = []string{"main.go", "adapters/http.go", "assembly/assembly.go", "audit/audit.go", "contract/contract.go"}

// verbs are the methods that register a route; see service.Routes.
var verbs = []string{"Public", "Long", "Anonymous", "Internal"}

// problemsAnywhere are the parts of package problem that are not about errors of domain and use cases: the faults of a
// request, and the limits of an adapter.
var problemsAnywhere = []string{"Invalid", "FieldError", "Malformed", "Busy", "Problem"}

// Layouts checks the layout of each service.
func Layouts(packages []Package) []Violation {
	services := make(map[string][]Package)
	for _, p := range packages {
		if service, _, ok := serviceOf(p.Path); ok {
			services[service] = append(services[service], p)
		}
	}
	var violations []Violation
	for _, service := range slices.Sorted(maps.Keys(services)) {
		l := layout{service: service, files: make(map[string]*ast.File), set: token.NewFileSet()}
		for _, p := range services[service] {
			l.add(p)
		}
		l.check()
		violations = append(violations, l.violations...)
	}
	return violations
}

// layout is one service during the check.
type layout struct {
	service    string
	set        *token.FileSet
	files      map[string]*ast.File // by path within the service, without tests
	violations []Violation
}

func (l *layout) report(rule, format string, args ...any) {
	l.violations = append(l.violations, Violation{Rule: rule, Package: "services/" + l.service, Detail: fmt.Sprintf(format, args...)})
}

func (l *layout) add(p Package) {
	_, folder, _ := serviceOf(p.Path)
	top, below, deep := strings.Cut(folder, "/")
	if folder != "" && (!slices.Contains(folders, top) || deep && top != "adapters") {
		l.report(ruleFolders, "has the folder %s", path.Join(top, below))
	}
	sources(p, false, func(name string, source []byte) {
		file, err := parser.ParseFile(l.set, name, source, parser.SkipObjectResolution)
		if err != nil {
			l.report(ruleFiles, "%s cannot be parsed: %v", name, err)
			return
		}
		l.files[path.Join(folder, name)] = file
	})
}

func (l *layout) check() {
	for _, name := range firstFiles {
		if l.files[name] == nil {
			l.report(ruleFiles, "has no %s", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		if name != "adapters/http.go" {
			l.routes(name)
		}
		if name != "adapters/problems.go" {
			l.problems(name)
		}
	}
	l.useCases()
}

// routes reports calls that register a route.
func (l *layout) routes(name string) {
	ast.Inspect(l.files[name], func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) != 2 {
			return true
		}
		if f, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains(verbs, f.Sel.Name) {
			l.report(ruleRoutes, "%s calls %s", name, f.Sel.Name)
		}
		return true
	})
}

// problems reports code that makes problems other than that of an invalid request.
func (l *layout) problems(name string) {
	ast.Inspect(l.files[name], func(n ast.Node) bool {
		f, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if of, ok := f.X.(*ast.Ident); ok && of.Name == "problem" && !slices.Contains(problemsAnywhere, f.Sel.Name) {
			l.report(ruleProblems, "%s uses problem.%s", name, f.Sel.Name)
		}
		return true
	})
}

// errorMethods are the methods of error types, which may be in the file of the use case that returns them.
var errorMethods = []string{"Error", "Unwrap", "Is"}

// useCases checks the types of app that have a method Do.
func (l *layout) useCases() {
	exported := make(map[string][]string) // exported methods by type
	in := make(map[string][]string)       // types with exported methods by file
	do := make(map[string]string)         // the file of Do by type
	for name, file := range l.files {
		if path.Dir(name) != "app" {
			continue
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Recv == nil || !f.Name.IsExported() {
				continue
			}
			of := receiver(f.Recv.List[0].Type)
			exported[of] = append(exported[of], f.Name.Name)
			if !slices.Contains(in[name], of) && !slices.Contains(errorMethods, f.Name.Name) {
				in[name] = append(in[name], of)
			}
			if f.Name.Name == "Do" {
				do[of] = name
			}
		}
	}
	for _, of := range slices.Sorted(maps.Keys(do)) {
		name := do[of]
		if want := "app/" + snake(of) + ".go"; name != want {
			l.report(ruleUseCases, "%s is in %s and not in %s", of, name, want)
		}
		if len(exported[of]) > 1 {
			slices.Sort(exported[of])
			l.report(ruleUseCases, "%s has the methods %s", of, strings.Join(exported[of], ", "))
		}
		if len(in[name]) > 1 {
			slices.Sort(in[name])
			l.report(ruleUseCases, "%s has the types %s", name, strings.Join(in[name], ", "))
		}
	}
}

// receiver returns the name of the type of a method.
func receiver(of ast.Expr) string {
	switch of := of.(type) {
	case *ast.StarExpr:
		return receiver(of.X)
	case *ast.IndexExpr:
		return receiver(of.X)
	case *ast.Ident:
		return of.Name
	}
	return ""
}

// snake converts a name such as PlaceOrder to place_order. A group of capitals is one word.
func snake(name string) string {
	var b strings.Builder
	letters := []rune(name)
	for i, r := range letters {
		starts := i > 0 && unicode.IsUpper(r) && (!unicode.IsUpper(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1]))
		if starts {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
