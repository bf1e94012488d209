// Package catalogue reads a shop's catalogue from a table of text, as spreadsheets save it (CSV, RFC 4180): a header
//
//	sku,name,description,category,price,currency,stock
//
// with the columns in any order, then one product per row. Every line of the file is part of a row, part of a mistake
// that names it, part of the header, or blank. The caller has the rules for products.
package catalogue

import (
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"caravan/internal/money"
)

// Row is one product of the file.
type Row struct {
	Lines
	SKU         string
	Name        string
	Description string
	Category    string
	Price       money.Money
	Stock       int64
}

// Lines are consecutive lines of the file, counted from 1.
type Lines struct{ First, Last int }

// String returns "line 3" or "lines 3 to 5".
func (l Lines) String() string {
	if l.First == l.Last {
		return fmt.Sprintf("line %d", l.First)
	}
	return fmt.Sprintf("lines %d to %d", l.First, l.Last)
}

// Fault describes what is wrong with one field of a row.
type Fault struct {
	Field string // a column; "" when the whole row is meant
	What  string // completes a sentence that begins with the field's value, as "must be a number"
}

// Mistake is a fault with its lines.
type Mistake struct {
	Lines
	Fault
	Value string // the field's text in the file
}

// String returns the mistake as one line of text.
func (m Mistake) String() string {
	switch {
	case m.Field == "":
		return fmt.Sprintf("%s: %s", m.Lines, m.What)
	case m.Value == "":
		return fmt.Sprintf("%s, %s: %s", m.Lines, m.Field, m.What)
	}
	return fmt.Sprintf("%s, %s: %s %s", m.Lines, m.Field, shorten(m.Value), m.What)
}

// shorten quotes the beginning of a value, with invisible characters escaped.
func shorten(value string) string {
	const most = 40
	if utf8.RuneCountInString(value) <= most {
		return strconv.Quote(value)
	}
	return strconv.Quote(string([]rune(value)[:most])) + "..."
}

// Check applies the rules of a shop to a row. It returns the row as the shop stores it, and the row's faults.
type Check func(Row) (Row, []Fault)

// File is the content of a file.
type File struct {
	Rows     []Row
	Mistakes []Mistake
	// Lines counts all lines, Head the lines up to the header, and Blank the lines without a value after it.
	Lines, Head, Blank int

	records int            // records that are not blank
	skus    map[string]int // the first line of each SKU
}

const (
	// MaxRows is the maximum number of rows that are read, valid or not.
	MaxRows = 100_000
	// maxBytes is the maximum size of a file.
	maxBytes = 128 << 20
)

// ErrHeader means that the file is not a catalogue: it does not begin with the header.
var ErrHeader = errors.New("the first line is not the header of a catalogue")

var columns = []string{"sku", "name", "description", "category", "price", "currency", "stock"}

// Read reads a catalogue: its valid rows, and every mistake of the others. Of rows with the same SKU only the first one
// is valid. The error is ErrHeader, or the reason why the file could not be read at all.
func Read(r io.Reader, check Check) (*File, error) {
	text, err := decode(r)
	if err != nil {
		return nil, err
	}
	t, at, err := readHeader(text)
	if err != nil {
		return nil, err
	}
	t.check = check
	f := &File{Head: at.line, skus: map[string]int{}}
	for !at.end() {
		at = f.record(t, at)
	}
	f.Lines = at.line
	return f, nil
}

func (f *File) mistake(lines Lines, fault Fault, value string) {
	f.Mistakes = append(f.Mistakes, Mistake{lines, fault, value})
}

// record reads the record at a place and returns the place after it. An invalid record may be too long because of a
// wrong quote. So only its first line is a mistake, and the next line is read separately.
func (f *File) record(t *table, from place) place {
	fields, at, fault := t.record(from)
	if fault == "" {
		fields, fault = t.fit(fields)
	}
	if fault == "" && blank(fields) {
		f.Blank += at.line - from.line
		return at
	}
	if fault != "" {
		_, at = from.next()
	}
	lines := Lines{from.line + 1, at.line}
	switch f.records++; {
	case f.records > MaxRows:
		at = from.skip()
		f.mistake(Lines{lines.First, at.line}, Fault{What: fmt.Sprintf("a file may have %d products at most", MaxRows)}, "")
	case fault != "":
		f.mistake(lines, Fault{What: fault}, "")
	default:
		f.product(t, lines, fields)
	}
	return at
}

// product reads a record as a product.
func (f *File) product(t *table, lines Lines, fields []string) {
	row, faults := t.row(fields)
	if first, twice := f.skus[row.SKU]; twice {
		faults = append(faults, Fault{"sku", fmt.Sprintf("is on line %d already", first)})
	} else if row.SKU != "" {
		f.skus[row.SKU] = lines.First
	}
	for _, fault := range faults {
		f.mistake(lines, fault, t.value(fields, fault.Field))
	}
	if len(faults) == 0 {
		row.Lines = lines
		f.Rows = append(f.Rows, row)
	}
}

func blank(fields []string) bool {
	for _, field := range fields {
		if strings.TrimSpace(field) != "" {
			return false
		}
	}
	return true
}

// value returns the field of a column without the spaces around it.
func (t *table) value(fields []string, column string) string {
	if i, known := t.columns[column]; known {
		return strings.TrimSpace(fields[i])
	}
	return ""
}

// row reads the fields of a product and applies the rules of the shop. A field that cannot be read has one fault.
func (t *table) row(fields []string) (Row, []Fault) {
	var faults []Fault
	faulty := map[string]bool{}
	fault := func(column, what string) {
		if !faulty[column] {
			faults = append(faults, Fault{column, what})
		}
		faulty[column] = true
	}
	value := func(column string) string {
		text := t.value(fields, column)
		if !utf8.ValidString(text) {
			fault(column, `is not UTF-8: save the file as "CSV UTF-8"`)
		}
		return text
	}
	row := Row{SKU: value("sku"), Name: value("name"), Description: value("description"), Category: value("category")}
	var what string
	if row.Price, what = readPrice(value("price"), value("currency")); what != "" {
		fault("price", what)
	}
	stock, err := strconv.ParseInt(value("stock"), 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		fault("stock", "must be a whole number")
	}
	row.Stock = stock // for a number out of range the nearest one, which the rules refuse
	row, more := t.check(row)
	for _, f := range more {
		fault(f.Field, f.What)
	}
	return row, faults
}

// readPrice reads a price as people and spreadsheets write it: 9, 9.9, 9.90 or 9,90. It refuses a comma with three
// digits after it, which may separate thousands. The shop's rules check the currency.
func readPrice(text, currency string) (price money.Money, fault string) {
	if !money.Known(currency) {
		return money.New(1, currency), ""
	}
	decimals := money.Decimals(currency)
	whole, fraction, point := strings.Cut(strings.Replace(text, ",", ".", 1), ".")
	switch {
	case strings.Contains(text, ",") && len(fraction) == 3:
		return money.New(1, currency), "may mean thousands: write a point before the decimals and nothing between thousands"
	case point && fraction == "", len(fraction) > decimals:
		return money.New(1, currency), priceForm(currency)
	}
	if decimals > 0 {
		whole += "." + fraction + strings.Repeat("0", decimals-len(fraction))
	}
	price, err := money.Parse(whole + " " + currency)
	switch {
	case errors.Is(err, money.ErrOverflow):
		return money.New(math.MaxInt64, currency), ""
	case err != nil:
		return money.New(1, currency), priceForm(currency)
	}
	return price, ""
}

func priceForm(currency string) string {
	example, _, _ := strings.Cut(money.New(1999, currency).String(), " ")
	if money.Decimals(currency) == 0 {
		return "must be a whole number such as " + example
	}
	return "must be a number such as " + example // without the currency, which the shop may refuse
}
