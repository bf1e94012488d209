// Package catalogue reads a shop's catalogue from CSV (RFC 4180): a header line
//
//	sku,name,description,category,price,currency,stock
//
// in any order of columns, then one product per line. Every mistake of the file
// is found in one reading and named by line and field.
package catalogue

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"caravan/internal/money"
)

// Row is one product of the file.
type Row struct {
	Line        int // in the file, from 1
	SKU         string
	Name        string
	Description string
	Category    string
	Price       money.Money
	Stock       int64
}

// Mistake is one thing wrong with the file.
type Mistake struct {
	Line  int
	Field string // "" when the whole line is meant
	What  string
}

// String is the mistake as one line.
func (m Mistake) String() string {
	if m.Field == "" {
		return fmt.Sprintf("line %d: %s", m.Line, m.What)
	}
	return fmt.Sprintf("line %d, %s: %s", m.Line, m.Field, m.What)
}

// Bounds of the fields, as the products service has them.
const (
	MaxRows        = 100_000
	maxName        = 120
	maxDescription = 4000
	maxCategory    = 40
	maxPrice       = 100_000_000_00
	maxStock       = 1_000_000_000
)

var (
	skuPattern      = regexp.MustCompile(`^[A-Z0-9][A-Z0-9-]{1,31}$`)
	categoryPattern = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)
)

// ErrHeader means that the file is no catalogue: its first line is not the header.
var ErrHeader = errors.New("the first line is not the header of a catalogue")

var columns = []string{"sku", "name", "description", "category", "price", "currency", "stock"}

// Read reads a catalogue: the good rows, and every mistake of the others. The
// error is ErrHeader or that the file could not be read at all.
func Read(r io.Reader) ([]Row, []Mistake, error) {
	reader := csv.NewReader(skipMark(r))
	reader.FieldsPerRecord = -1
	header, err := reader.Read()
	if err != nil {
		return nil, nil, fmt.Errorf("%w (%w)", ErrHeader, err)
	}
	position, err := readHeader(header)
	if err != nil {
		return nil, nil, err
	}
	f := file{position: position, width: len(header), skus: map[string]int{}}
	for {
		record, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return f.rows, f.mistakes, nil
		}
		var malformed *csv.ParseError
		if errors.As(err, &malformed) {
			f.mistake(malformed.StartLine, "", malformed.Err.Error())
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("reading the catalogue: %w", err)
		}
		line, _ := reader.FieldPos(0)
		if len(f.rows) == MaxRows {
			f.mistake(line, "", fmt.Sprintf("more than %d products", MaxRows))
			return f.rows, f.mistakes, nil
		}
		f.record(line, record)
	}
}

// skipMark drops the byte-order mark that spreadsheets put before UTF-8.
func skipMark(r io.Reader) io.Reader {
	var first [3]byte
	n, err := io.ReadFull(r, first[:])
	head := first[:n]
	if err == nil && string(head) == "\uFEFF" {
		return r
	}
	return io.MultiReader(strings.NewReader(string(head)), r)
}

func readHeader(header []string) (map[string]int, error) {
	position := map[string]int{}
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := position[name]; twice {
			return nil, fmt.Errorf("%w: column %q appears twice", ErrHeader, name)
		}
		position[name] = i
	}
	for _, name := range columns {
		if _, ok := position[name]; !ok {
			return nil, fmt.Errorf("%w: it lacks %q; it needs %s", ErrHeader, name, strings.Join(columns, ", "))
		}
	}
	if len(position) > len(columns) {
		return nil, fmt.Errorf("%w: it has columns besides %s", ErrHeader, strings.Join(columns, ", "))
	}
	return position, nil
}

// file gathers what a file holds.
type file struct {
	position map[string]int
	width    int
	skus     map[string]int // line of each SKU
	rows     []Row
	mistakes []Mistake
}

func (f *file) mistake(line int, field, what string) {
	f.mistakes = append(f.mistakes, Mistake{line, field, what})
}

func (f *file) record(line int, record []string) {
	if len(record) != f.width {
		f.mistake(line, "", fmt.Sprintf("has %d fields, want %d", len(record), f.width))
		return
	}
	before := len(f.mistakes)
	field := func(name string) string { return strings.TrimSpace(record[f.position[name]]) }
	row := Row{Line: line, SKU: field("sku"), Name: field("name"), Description: field("description"), Category: field("category")}
	f.sku(line, row.SKU)
	f.text(line, "name", row.Name, 1, maxName)
	f.text(line, "description", row.Description, 0, maxDescription)
	if !categoryPattern.MatchString(row.Category) || len(row.Category) > maxCategory {
		f.mistake(line, "category", fmt.Sprintf("%q is not lower-case words joined by hyphens, of at most %d characters", row.Category, maxCategory))
	}
	row.Price = f.price(line, field("price"), field("currency"))
	row.Stock = f.stock(line, field("stock"))
	if len(f.mistakes) == before {
		f.rows = append(f.rows, row)
	}
}

func (f *file) sku(line int, sku string) {
	if !skuPattern.MatchString(sku) {
		f.mistake(line, "sku", fmt.Sprintf("%q is not 2 to 32 of A-Z, 0-9 and -, beginning with a letter or digit", sku))
		return
	}
	if other, twice := f.skus[sku]; twice {
		f.mistake(line, "sku", fmt.Sprintf("%q is on line %d already", sku, other))
		return
	}
	f.skus[sku] = line
}

func (f *file) text(line int, name, text string, least, most int) {
	switch length := utf8.RuneCountInString(text); {
	case !utf8.ValidString(text):
		f.mistake(line, name, "is not UTF-8")
	case length < least:
		f.mistake(line, name, "is empty")
	case length > most:
		f.mistake(line, name, fmt.Sprintf("has %d characters, at most %d fit", length, most))
	case strings.ContainsFunc(text, unicode.IsControl):
		f.mistake(line, name, "holds a line break or another control character")
	}
}

func (f *file) price(line int, amount, currency string) money.Money {
	if err := money.New(0, currency).Validate(); err != nil {
		f.mistake(line, "currency", fmt.Sprintf("%q is not a currency code of ISO 4217", currency))
		return money.Money{}
	}
	price, err := money.Parse(amount + " " + currency)
	switch {
	case err != nil:
		f.mistake(line, "price", fmt.Sprintf("%q is not an amount of %s, as %s", amount, currency, strings.TrimSuffix(money.New(1999, currency).String(), " "+currency)))
	case price.Amount <= 0 || price.Amount > maxPrice:
		f.mistake(line, "price", fmt.Sprintf("%s is not above zero and at most %s", price, money.New(maxPrice, currency)))
	}
	return price
}

func (f *file) stock(line int, text string) int64 {
	stock, err := strconv.ParseInt(text, 10, 64)
	if err != nil || stock < 0 || stock > maxStock {
		f.mistake(line, "stock", fmt.Sprintf("%q is not a whole number from 0 to %d", text, maxStock))
	}
	return stock
}
