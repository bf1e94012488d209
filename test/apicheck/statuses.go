package apicheck

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/routers"
)

// note remembers that an operation was seen to answer with a status.
func (d *Document) note(route *routers.Route, status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := route.Method + " " + route.Path
	if d.seen[name] == nil {
		d.seen[name] = make(map[int]bool)
	}
	d.seen[name][status] = true
}

// Unanswered lists "METHOD /path" of every operation that has not been checked with a success, sorted.
func (d *Document) Unanswered() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var operations []string
	for _, name := range slices.Sorted(maps.Keys(d.named())) {
		succeeded := func(status int) bool { return status < http.StatusMultipleChoices }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(d.seen[name])), succeeded) {
			operations = append(operations, name)
		}
	}
	return operations
}

// Statuses is a table of what was seen of some statuses: which of those that the document promises an operation has
// answered with. Answers that it does not promise are errors of Check.
type Statuses struct {
	columns []int
	rows    []statusRow
}

type statusRow struct {
	name  string
	cells []string // by column: "" for a status that is not promised
}

// Of a promised status.
const (
	seen   = "seen"
	unseen = "MISSING"
)

// Statuses makes the table of some statuses.
func (d *Document) Statuses(columns ...int) Statuses {
	d.mu.Lock()
	defer d.mu.Unlock()
	table := Statuses{columns: columns}
	described := d.named()
	for _, name := range slices.Sorted(maps.Keys(described)) {
		row := statusRow{name: name}
		for _, status := range columns {
			cell := ""
			switch {
			case described[name].Responses.Status(status) == nil:
			case d.seen[name][status]:
				cell = seen
			default:
				cell = unseen
			}
			row.cells = append(row.cells, cell)
		}
		table.rows = append(table.rows, row)
	}
	return table
}

// Missing lists what is promised and was not seen, as "GET /v1/orders 401".
func (s Statuses) Missing() []string {
	var all []string
	for _, row := range s.rows {
		for i, cell := range row.cells {
			if cell == unseen {
				all = append(all, row.name+" "+strconv.Itoa(s.columns[i]))
			}
		}
	}
	return all
}

// String is the table.
func (s Statuses) String() string {
	var out strings.Builder
	line := func(name string, cells []string) {
		fmt.Fprintf(&out, "%-52s", name)
		for _, cell := range cells {
			fmt.Fprintf(&out, " %-7s", cell)
		}
		out.WriteString("\n")
	}
	var head []string
	for _, status := range s.columns {
		head = append(head, strconv.Itoa(status))
	}
	line("operation", head)
	for _, row := range s.rows {
		line(row.name, row.cells)
	}
	return out.String()
}
