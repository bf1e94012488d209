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

// note records that an operation has answered with a status.
func (d *Document) note(route *routers.Route, status int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := route.Method + " " + route.Path
	if d.seen[name] == nil {
		d.seen[name] = make(map[int]bool)
	}
	d.seen[name][status] = true
}

// Unanswered returns "METHOD /path" of every operation without a checked success, sorted.
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

// Statuses is a table of the documented statuses that each operation has answered with, for some statuses. Undocumented
// answers are errors of Check.
type Statuses struct {
	columns []int
	rows    []statusRow
}

type statusRow struct {
	name  string
	cells []string // by column: "" for a status that is not promised
}

// The states of a documented status.
const (
	seen   = "seen"
	unseen = "MISSING"
)

// Statuses returns the table for some statuses.
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

// Missing lists the documented statuses that were not seen, such as "GET /v1/orders 401".
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

// String returns the table as text.
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
