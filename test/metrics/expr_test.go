package metrics

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// folder has the alert rules and the dashboards.
var folder = filepath.Join("..", "..", "dapr", "observe")

// expression is a query of a rule or of a panel.
type expression struct{ of, text string }

// expressions are all queries of the alert rules and of the dashboards.
func expressions(t *testing.T) []expression {
	t.Helper()
	var all []expression
	var rules struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	read(t, filepath.Join(folder, "alerts.yaml"), func(raw []byte) error { return yaml.Unmarshal(raw, &rules) })
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			all = append(all, expression{rule.Alert, rule.Expr})
		}
	}
	for _, file := range dashboards(t) {
		for _, row := range file.Rows {
			for _, panel := range row.Panels {
				for _, query := range panel.Expr {
					all = append(all, expression{file.Title + ": " + panel.Title, query})
				}
			}
		}
	}
	return all
}

// dashboard is a dashboard of VictoriaMetrics' web page.
type dashboard struct {
	Title string
	Rows  []struct {
		Panels []struct {
			Title       string
			Expr, Alias []string
		}
	}
}

func dashboards(t *testing.T) []dashboard {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "dashboards", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []dashboard
	for _, file := range files {
		var one dashboard
		read(t, file, func(raw []byte) error { return json.Unmarshal(raw, &one) })
		all = append(all, one)
	}
	return all
}

func read(t *testing.T, file string, parse func([]byte) error) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := parse(raw); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

var (
	texts    = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	labels   = regexp.MustCompile(`\b(?:by|on|without|ignoring)\s*\(([^)]*)\)`)
	matchers = regexp.MustCompile(`([a-zA-Z_:][\w:]*)\s*\{([^}]*)\}`)
	names    = regexp.MustCompile(`\b[a-zA-Z_:][\w:]*\b\s*\(?`)
	label    = regexp.MustCompile(`\w+`)
)

// words of the language that are neither metrics nor functions.
var words = []string{"or", "and", "unless", "offset", "bool", "group_left", "group_right", "m", "s", "h", "d"}

// used returns the metrics of a query, each with the labels that must have a certain value.
func used(query string) map[string][]string {
	all := map[string][]string{}
	query = texts.ReplaceAllString(query, "")
	for _, match := range matchers.FindAllStringSubmatch(query, -1) {
		all[match[1]] = append(all[match[1]], label.FindAllString(match[2], -1)...)
	}
	query = labels.ReplaceAllString(matchers.ReplaceAllString(query, " "), " ")
	for _, name := range names.FindAllString(query, -1) {
		if !strings.HasSuffix(name, "(") && !slices.Contains(words, strings.TrimSpace(name)) {
			name = strings.TrimSpace(name)
			all[name] = append(all[name], []string{}...)
		}
	}
	for name, of := range all {
		slices.Sort(of)
		all[name] = slices.Compact(of)
	}
	return all
}

func TestUsedMetricsAreFound(t *testing.T) {
	for query, want := range map[string]string{
		`max(a_total) by (step)`: "a_total",
		`sum(rate(a_bucket{job="x",le!~"{y}"}[1m])) by (le) / b * 60 > 1e6`:       "a_bucket b",
		`up{job="a"} == 1 unless on (instance) up{job="b"} == 1`:                  "up",
		`label_replace(a, "b", "$1", "c", "(.*)") or max_over_time(d{e="f"}[5m])`: "a d",
	} {
		if got := strings.Join(slices.Sorted(maps.Keys(used(query))), " "); got != want {
			t.Errorf("%s uses %q, want %q", query, got, want)
		}
	}
	if got := used(`a{b="c",d!="e"} + a{b="f"}`)["a"]; !slices.Equal(got, []string{"b", "d"}) {
		t.Errorf("labels are %q", got)
	}
}

// TestDashboardsAreComplete: three dashboards, each panel with a title and a name for each of its queries.
func TestDashboardsAreComplete(t *testing.T) {
	all := dashboards(t)
	if len(all) != 3 {
		t.Errorf("there are %d dashboards", len(all))
	}
	for _, one := range all {
		if one.Title == "" || len(one.Rows) != 1 { // the page shows the first row only, until somebody opens the others
			t.Errorf("%q has %d rows", one.Title, len(one.Rows))
		}
		for _, row := range one.Rows {
			for _, panel := range row.Panels {
				if panel.Title == "" || len(panel.Expr) == 0 || len(panel.Expr) != len(panel.Alias) {
					t.Errorf("%s: panel %q has %d queries and %d names", one.Title, panel.Title, len(panel.Expr), len(panel.Alias))
				}
			}
		}
	}
}
