package catalogue

import (
	"fmt"
	"strings"
)

// place is the beginning of a line in a text; the lines before it have been read.
type place struct {
	rest string // the text from this line on
	line int    // the number of lines before it
}

func (p place) end() bool { return p.rest == "" }

// next returns the line without its end and the place after it. LF, CR LF and CR end lines.
func (p place) next() (string, place) {
	i := strings.IndexAny(p.rest, "\r\n")
	if i < 0 {
		return p.rest, place{"", p.line + 1}
	}
	after := i + 1
	if strings.HasPrefix(p.rest[i:], "\r\n") {
		after++
	}
	return p.rest[:i], place{p.rest[after:], p.line + 1}
}

// skip returns the place after the last line.
func (p place) skip() place {
	for !p.end() {
		_, p = p.next()
	}
	return p
}

// table describes the form of a file.
type table struct {
	separator string
	columns   map[string]int // the positions of the columns
	width     int
	check     Check
}

// separators are the characters that spreadsheets write between fields, the usual one first.
var separators = []string{",", ";", "\t", "|"}

// readHeader finds the separator and the columns, and returns the place after the header. Some spreadsheets write a
// first line such as "sep=;", which gives the separator.
func readHeader(text string) (*table, place, error) {
	header := place{rest: text}
	candidates := separators
	if line, after := header.next(); strings.HasPrefix(strings.ToLower(strings.Trim(line, `"`)), "sep=") {
		separator := strings.Trim(line, `"`)[len("sep="):]
		if len(separator) != 1 || separator == `"` {
			return nil, place{}, fmt.Errorf("%w: %s does not name one character", ErrHeader, shorten(line))
		}
		candidates, header = []string{separator}, after
	}
	for line, after := header.next(); !header.end() && strings.Trim(line, ` ",;|`+"\t") == ""; line, after = header.next() {
		header = after
	}
	if header.end() {
		return nil, place{}, fmt.Errorf("%w: the file is empty", ErrHeader)
	}
	line, after := header.next()
	most, separator := -1, ""
	for _, candidate := range candidates {
		if n := strings.Count(line, candidate); n > most {
			most, separator = n, candidate
		}
	}
	t := &table{separator: separator}
	fields, _, fault := t.single(line)
	if fault != "" {
		return nil, place{}, fmt.Errorf("%w: it %s", ErrHeader, fault)
	}
	return t, after, t.name(fields)
}

// name sets the positions of the columns.
func (t *table) name(header []string) error {
	for len(header) > 1 && strings.TrimSpace(header[len(header)-1]) == "" {
		header = header[:len(header)-1]
	}
	t.width, t.columns = len(header), map[string]int{}
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := t.columns[name]; twice {
			return fmt.Errorf("%w: column %s appears twice", ErrHeader, shorten(name))
		}
		t.columns[name] = i
	}
	for _, name := range columns {
		if _, ok := t.columns[name]; !ok {
			return fmt.Errorf("%w: it has no column %q; it needs %s, separated by commas, semicolons or tabs",
				ErrHeader, name, strings.Join(columns, ", "))
		}
	}
	if len(t.columns) > len(columns) {
		return fmt.Errorf("%w: it has other columns than %s", ErrHeader, strings.Join(columns, ", "))
	}
	return nil
}

// fit returns the fields of a record without the empty ones that spreadsheets append, or the fault if their number is
// wrong. Blank records may have any number of fields.
func (t *table) fit(fields []string) ([]string, string) {
	for len(fields) > t.width && strings.TrimSpace(fields[len(fields)-1]) == "" {
		fields = fields[:len(fields)-1]
	}
	if len(fields) == t.width || blank(fields) {
		return fields, ""
	}
	return nil, fmt.Sprintf("has %d fields instead of %d; a text that contains %q needs quotes around it", len(fields), t.width, t.separator)
}

// maxQuoted is the maximum size in bytes of a quoted field. It is far more than a description may have. So a text that
// is too long is reported as such, and a quote that is never closed ends here.
const maxQuoted = 64 << 10

// The faults of quotes.
const (
	faultInside = `has a quote inside a field; put the field in quotes and write the quote twice, as in "6"" nails"`
	faultAfter  = `has text after a closing quote; a quote inside a quoted field is written twice, as in "6"" nails"`
	faultOpen   = "opens a quote that is not closed"
)

// single splits a line into its fields, or returns its fault.
func (t *table) single(line string) (fields []string, after place, fault string) {
	return t.split(place{rest: line}, false)
}

// record splits the record at a place into its fields. A quoted field may continue over several lines, but not over a
// line that is a product itself: then its quote is wrong.
func (t *table) record(from place) (fields []string, after place, fault string) {
	return t.split(from, true)
}

func (t *table) split(from place, multiline bool) (fields []string, at place, fault string) {
	line, at := from.next()
	for {
		var field string
		if begin := strings.TrimLeft(line, " "); strings.HasPrefix(begin, `"`) {
			if field, line, at, fault = t.quoted(begin[1:], at, multiline); fault != "" {
				return nil, at, fault
			}
			fields = append(fields, field)
			if line == "" {
				return fields, at, ""
			}
			line = line[len(t.separator):]
			continue
		}
		field, rest, more := strings.Cut(line, t.separator)
		if strings.Contains(field, `"`) {
			return nil, at, faultInside
		}
		fields = append(fields, field)
		if !more {
			return fields, at, ""
		}
		line = rest
	}
}

// quoted reads a field after its opening quote. It returns the rest of the line after the closing quote: nothing, or
// the separator and the next field.
func (t *table) quoted(line string, at place, multiline bool) (field, rest string, after place, fault string) {
	var text strings.Builder
	for {
		before, behind, found := strings.Cut(line, `"`)
		text.WriteString(before)
		switch {
		case found && strings.HasPrefix(behind, `"`):
			text.WriteByte('"')
			line = behind[1:]
		case found:
			if rest = strings.TrimLeft(behind, " "); rest != "" && !strings.HasPrefix(rest, t.separator) {
				return "", "", at, faultAfter
			}
			return text.String(), rest, at, ""
		case !multiline || at.end() || text.Len() > maxQuoted:
			return "", "", at, faultOpen
		default:
			text.WriteByte('\n')
			line, at = at.next()
			if t.product(line) {
				return "", "", at, faultOpen + fmt.Sprintf(" before line %d, which reads as a product", at.line)
			}
		}
	}
}

// product reports whether a line is a product itself, valid or not.
func (t *table) product(line string) bool {
	fields, _, fault := t.single(line)
	if fault != "" || len(fields) != t.width {
		return false
	}
	_, faults := t.row(fields)
	for _, f := range faults {
		if f.Field == "sku" {
			return false
		}
	}
	return true
}
