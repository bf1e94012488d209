package catalogue_test

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"pgregory.net/rapid"

	"caravan/dapr/catalogue"
	"caravan/internal/money"
)

const header = "sku,name,description,category,price,currency,stock\n"

var skuPattern = regexp.MustCompile(`^[A-Z0-9][A-Z0-9-]{1,31}$`)

// shop has example rules of a shop, because this package has none.
func shop(row catalogue.Row) (catalogue.Row, []catalogue.Fault) {
	var faults []catalogue.Fault
	refuse := func(broken bool, field, what string) {
		if broken {
			faults = append(faults, catalogue.Fault{Field: field, What: what})
		}
	}
	refuse(!skuPattern.MatchString(row.SKU), "sku", "must be a SKU")
	refuse(row.Name == "" || strings.Contains(row.Name, "\n"), "name", "must be one line")
	refuse(!money.Known(row.Price.Currency), "currency", "must be a currency")
	refuse(row.Price.Amount < 1 || row.Price.Amount > 1_000_000, "price", "must be from 1 to 1000000")
	refuse(row.Stock < 0 || row.Stock > 1_000_000, "stock", "must be from 0 to 1000000")
	return row, faults
}

func read(t interface {
	Helper()
	Fatal(...any)
}, text string) *catalogue.File {
	t.Helper()
	file, err := catalogue.Read(strings.NewReader(text), shop)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// mug is the product on the second line of the file.
var mug = catalogue.Row{
	Lines: catalogue.Lines{First: 2, Last: 2}, SKU: "MUG-1", Name: `Mug, "blue"`, Description: "Holds coffee.", Category: "kitchen", Price: money.New(1250, "EUR"), Stock: 40,
}

func wantMug(t *testing.T, file *catalogue.File, price int64) {
	t.Helper()
	want := mug
	want.Price.Amount = price
	if len(file.Mistakes) != 0 || len(file.Rows) != 1 || file.Rows[0] != want {
		t.Errorf("got %+v, want %+v", file, want)
	}
}

func TestRead(t *testing.T) {
	text := header + `MUG-1,"Mug, ""blue""",Holds coffee.,kitchen,12.50,EUR,40` + "\r\n"
	for name, encoded := range map[string][]byte{
		"UTF-8":              []byte(text),
		"with a mark":        []byte("\uFEFF" + text),
		"UTF-16 LE":          inUTF16(binary.LittleEndian, "\uFEFF"+text),
		"UTF-16 BE":          inUTF16(binary.BigEndian, "\uFEFF"+text),
		"UTF-16, no mark":    inUTF16(binary.LittleEndian, text),
		"UTF-16 BE, no mark": inUTF16(binary.BigEndian, text),
	} {
		t.Run(name, func(t *testing.T) { wantMug(t, read(t, string(encoded)), 1250) })
	}
}

func inUTF16(order binary.AppendByteOrder, text string) []byte {
	var raw []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		raw = order.AppendUint16(raw, unit)
	}
	return raw
}

func TestWhatSpreadsheetsWrite(t *testing.T) {
	const head, row = "sku;name;description;category;price;currency;stock", `MUG-1;"Mug, ""blue""";Holds coffee.;kitchen;%s;EUR;40`
	whole := head + "\n" + fmt.Sprintf(row, "12.50")
	for name, c := range map[string]struct {
		text  string
		price int64
	}{
		"semicolons":          {whole, 1250},
		"CR":                  {strings.ReplaceAll(whole, "\n", "\r"), 1250},
		"blank rows":          {whole + "\n;;;;;;\n \n\n;;;;;;;;;\n" + `"";"";;;;;` + "\n", 1250},
		"empty columns":       {head + ";;\n" + fmt.Sprintf(row, "12.50") + ";;\n", 1250},
		"spaces":              {head + "\n" + `MUG-1 ; "Mug, ""blue""" ; Holds coffee. ;kitchen; 12.50 ;EUR;40 `, 1250},
		"no decimals":         {head + "\n" + fmt.Sprintf(row, "9"), 900},
		"one decimal":         {head + "\n" + fmt.Sprintf(row, "9.9"), 990},
		"a decimal comma":     {head + "\n" + fmt.Sprintf(row, "9,90"), 990},
		"comma, one decimal":  {head + "\n" + fmt.Sprintf(row, "9,9"), 990},
		"in quotes":           {head + "\n" + fmt.Sprintf(row, `"9,90"`), 990},
		"capitals in columns": {strings.ToUpper(head) + "\n" + fmt.Sprintf(row, "1"), 100},
	} {
		t.Run(name, func(t *testing.T) { wantMug(t, read(t, c.text), c.price) })
	}
	tabs := strings.ReplaceAll(whole, ";", "\t")
	t.Run("tabs", func(t *testing.T) { wantMug(t, read(t, tabs), 1250) })
	for separator, text := range map[string]string{";": whole, "\t": tabs, "#": strings.ReplaceAll(whole, ";", "#")} {
		file := read(t, "sep="+separator+"\r\n"+text)
		if file.Head != 2 || len(file.Rows) != 1 || file.Rows[0].First != 3 {
			t.Errorf("sep=%s: %+v", separator, file)
		}
	}
}

func TestColumnsMayBeInAnyOrder(t *testing.T) {
	file := read(t, "Stock,currency,price,category,description,name,SKU\n7,JPY,500,tea,,Tea,TEA\n")
	if len(file.Mistakes) != 0 || len(file.Rows) != 1 || file.Rows[0].Price != money.New(500, "JPY") || file.Rows[0].Stock != 7 {
		t.Errorf("got %+v", file)
	}
}

func TestAFieldMayHaveSeveralLines(t *testing.T) {
	file := read(t, header+"MUG-1,Mug,\"Holds coffee,\r\ntea or\n\"\"water\"\".\",kitchen,1.00,EUR,1\nMUG-2,Mug,,kitchen,1.00,EUR,1\n")
	if len(file.Mistakes) != 0 || len(file.Rows) != 2 || file.Rows[0].Lines != (catalogue.Lines{First: 2, Last: 4}) || file.Rows[1].First != 5 {
		t.Fatalf("got %+v", file)
	}
	if want := "Holds coffee,\ntea or\n\"water\"."; file.Rows[0].Description != want {
		t.Errorf("got %q, want %q", file.Rows[0].Description, want)
	}
}

func TestMistakesAreNamedByLineAndField(t *testing.T) {
	good := "OK-1,Good,Fine.,kitchen,1.00,EUR,1\n"
	for name, test := range map[string]struct{ line, want string }{
		"a rule of the shop": {"mug,Mug,,kitchen,1.00,EUR,1", `line 3, sku: "mug" must be a SKU`},
		"invisible":          {"MU\u00adG,Mug,,kitchen,1.00,EUR,1", `line 3, sku: "MU\u00adG" must be a SKU`},
		"long":               {strings.Repeat("x", 50) + ",Mug,,kitchen,1.00,EUR,1", `sku: "` + strings.Repeat("x", 40) + `"... must`},
		"sku twice":          {"OK-1,Mug,,kitchen,1.00,EUR,1", `line 3, sku: "OK-1" is on line 2 already`},
		"no name":            {"MUG,,,kitchen,1.00,EUR,1", "line 3, name: must be one line"},
		"Windows-1252":       {"MUG,M\xfcg,,kitchen,1.00,EUR,1", `line 3, name: "M\xfcg" is not UTF-8: save the file as`},
		"currency":           {"MUG,Mug,,kitchen,1.00,EURO,1", `line 3, currency: "EURO" must be a currency`},
		"price":              {"MUG,Mug,,kitchen,one,EUR,1", `line 3, price: "one" must be a number such as 19.99`},
		"no price":           {"MUG,Mug,,kitchen,,EUR,1", "line 3, price: must be a number"},
		"too many decimals":  {"MUG,Mug,,kitchen,1.001,EUR,1", "line 3, price"},
		"point at the end":   {"MUG,Mug,,kitchen,1.,EUR,1", "line 3, price"},
		"thousands":          {`MUG,Mug,,kitchen,"1,001.00",EUR,1`, "line 3, price"},
		"ambiguous":          {`MUG,Mug,,kitchen,"1,001",EUR,1`, "line 3, price: \"1,001\" may mean thousands"},
		"ambiguous dinars":   {`MUG,Mug,,kitchen,"1,001",KWD,1`, "line 3, price: \"1,001\" may mean thousands"},
		"decimals of yen":    {`MUG,Mug,,kitchen,500.0,JPY,1`, "must be a whole number such as 1999"},
		"sign of currency":   {"MUG,Mug,,kitchen,€1.00,EUR,1", "line 3, price"},
		"negative price":     {"MUG,Mug,,kitchen,-1.00,EUR,1", "line 3, price: \"-1.00\" must be from 1"},
		"great price":        {"MUG,Mug,,kitchen,99999999999999999999,EUR,1", "must be from 1 to"},
		"stock":              {"MUG,Mug,,kitchen,1.00,EUR,1.5", `line 3, stock: "1.5" must be a whole number`},
		"great stock":        {"MUG,Mug,,kitchen,1.00,EUR,99999999999999999999", "stock: \"99999999999999999999\" must be from 0"},
		"too few fields":     {"MUG,Mug", "line 3: has 2 fields instead of 7"},
		"too many fields":    {"MUG,Mug,,kitchen,1,00,EUR,1", `line 3: has 8 fields instead of 7; a text that contains "," needs quotes`},
		"quote inside":       {`MUG,M"ug,,kitchen,1.00,EUR,1`, "line 3: has a quote inside a field"},
		"open quote":         {`MUG,"Mug,,kitchen,1.00,EUR,1`, "line 3: opens a quote that is not closed before line 4"},
		"text after a quote": {`MUG,"Mug" blue,,kitchen,1.00,EUR,1`, "line 3: has text after a closing quote"},
	} {
		t.Run(name, func(t *testing.T) {
			file := read(t, header+good+test.line+"\nOK-2,Good,Fine.,kitchen,1.00,EUR,1\n")
			if len(file.Rows) != 2 {
				t.Errorf("%d good rows, want the two others", len(file.Rows))
			}
			if len(file.Mistakes) != 1 || !strings.Contains(file.Mistakes[0].String(), test.want) {
				t.Errorf("got %v, want %q", file.Mistakes, test.want)
			}
		})
	}
}

func TestEveryMistakeOfALineIsFound(t *testing.T) {
	if file := read(t, header+"mug,,,Kitchen,x,EUR,y\n"); len(file.Mistakes) != 4 {
		t.Errorf("got %v; want four mistakes", file.Mistakes)
	}
}

func TestNoCatalogue(t *testing.T) {
	for _, text := range []string{
		"", "\n\n", "hello\n", "sku,name\n", header[:len(header)-1] + ",colour\n", "sku," + header, "sep=\n" + header, "sep=;\n" + header, `"` + header,
		"MUG,Mug,,kitchen,1.00,EUR,1\n",
	} {
		if _, err := catalogue.Read(strings.NewReader(text), shop); !errors.Is(err, catalogue.ErrHeader) {
			t.Errorf("%q: got %v, want ErrHeader", text, err)
		}
	}
	for _, text := range []string{"PK\x03\x04...", "\xff\xfes"} {
		if _, err := catalogue.Read(strings.NewReader(text), shop); err == nil || !strings.Contains(err.Error(), "save it") {
			t.Errorf("%q: got %v", text, err)
		}
	}
}

func TestAStrayQuoteCostsItsOwnLineOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := []string{strings.TrimSuffix(header, "\n")}
		for i := range rapid.IntRange(1, 9).Draw(t, "products") {
			text := rapid.SampledFrom([]string{"", "Blue.", `"Blue, big."`, `"6"" long"`, ` "Red" `}).Draw(t, "text")
			lines = append(lines, fmt.Sprintf("P-%d,%s,%s,kitchen,1.00,EUR,1", i, rapid.SampledFrom([]string{"Mug", `"Mug, red"`}).Draw(t, "name"), text))
		}
		spoilt := rapid.IntRange(1, len(lines)-1).Draw(t, "spoilt")
		at := rapid.IntRange(0, len(lines[spoilt])).Draw(t, "at")
		lines[spoilt] = lines[spoilt][:at] + `"` + lines[spoilt][at:]
		file := read(t, strings.Join(lines, "\n"))
		accounted(t, file, len(lines))
		for _, mistake := range file.Mistakes {
			if mistake.Lines != (catalogue.Lines{First: spoilt + 1, Last: spoilt + 1}) {
				t.Fatalf("line %d has a stray quote; %s", spoilt+1, mistake)
			}
		}
		if len(file.Rows) < len(lines)-2 {
			t.Fatalf("%d rows of %d: %v", len(file.Rows), len(lines)-1, file.Mistakes)
		}
	})
}

func TestALongFileIsReadToItsBound(t *testing.T) {
	var text strings.Builder
	text.WriteString(header)
	for i := range catalogue.MaxRows + 3 {
		fmt.Fprintf(&text, "P-%d,Mug,,kitchen,1.00,EUR,1\n,,,,,,\n", i)
	}
	file := read(t, text.String())
	accounted(t, file, 2*catalogue.MaxRows+7)
	if len(file.Rows) != catalogue.MaxRows || len(file.Mistakes) != 1 || !strings.HasPrefix(file.Mistakes[0].String(), "lines 200002 to 200007: ") {
		t.Errorf("%d rows, %v", len(file.Rows), file.Mistakes)
	}
}

// accounted checks that each line of a file belongs to exactly one of the header, blank lines, rows and mistakes.
func accounted(t interface {
	Helper()
	Fatalf(string, ...any)
}, file *catalogue.File, lines int) {
	t.Helper()
	if file.Lines != lines {
		t.Fatalf("counted %d lines of %d", file.Lines, lines)
	}
	owner := map[int]catalogue.Lines{}
	own := func(l catalogue.Lines) {
		for n := l.First; n <= l.Last; n++ {
			if other, twice := owner[n]; twice && other != l || n <= file.Head || n > lines {
				t.Fatalf("line %d of %d belongs to %s and %s", n, lines, other, l)
			}
			owner[n] = l
		}
	}
	for _, row := range file.Rows {
		own(row.Lines)
	}
	for _, mistake := range file.Mistakes {
		own(mistake.Lines)
	}
	if len(owner)+file.Blank+file.Head != lines {
		t.Fatalf("%d lines: %d of rows and mistakes, %d blank, %d up to the header", lines, len(owner), file.Blank, file.Head)
	}
}

func TestEveryLineIsAccountedFor(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		`"`, `""`, `"""`, ",", ";", "\n", "\r\n", "\r", " ", "\x00", "\xff", "\u00ad", "MUG", "A-1,Mug,,kitchen,1.00,EUR,1", "A-2,\"Mug\nBlue\",,kitchen,1.00,EUR,1",
		"A-3,\"Mug,,kitchen,1.00,EUR,1", ",,,,,,", "9,90", "x",
	})
	rapid.Check(t, func(t *rapid.T) {
		text := header + strings.Join(rapid.SliceOfN(piece, 0, 60).Draw(t, "text"), "")
		accounted(t, read(t, text), countLines(text))
	})
}

// countLines counts the lines of a text, in a different way than the reader.
func countLines(text string) int {
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\r", "\n")
	n := strings.Count(text, "\n")
	if text != "" && !strings.HasSuffix(text, "\n") {
		n++
	}
	return n
}

// TestWhatIsWrittenIsRead writes products in every form that spreadsheets write.
func TestWhatIsWrittenIsRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var buffer bytes.Buffer
		w := csv.NewWriter(&buffer)
		w.Comma = rapid.SampledFrom([]rune(",;\t|")).Draw(t, "separator")
		w.UseCRLF = rapid.Bool().Draw(t, "CRLF")
		columns := rapid.Permutation(strings.Split(strings.TrimSpace(header), ",")).Draw(t, "columns")
		_ = w.Write(columns)
		text := rapid.StringOf(rapid.SampledFrom([]rune("ab,;\t|\"ü 語\n")))
		want := []catalogue.Row{}
		for i := range rapid.IntRange(0, 5).Draw(t, "products") {
			description := "d" + text.Draw(t, "description") + "."
			row := map[string]string{"sku": fmt.Sprintf("P-%d", i), "name": "Mug", "description": description, "category": "x", "price": "1.5", "currency": "EUR", "stock": "3"}
			record := make([]string, len(columns))
			for n, column := range columns {
				record[n] = row[column]
			}
			_ = w.Write(record)
			want = append(want, catalogue.Row{SKU: row["sku"], Name: "Mug", Description: description, Category: "x", Price: money.New(150, "EUR"), Stock: 3})
		}
		w.Flush()
		raw := buffer.String()
		switch rapid.IntRange(0, 3).Draw(t, "encoding") {
		case 0:
			raw = "\uFEFF" + raw
		case 1:
			raw = string(inUTF16(binary.LittleEndian, "\uFEFF"+raw))
		case 2:
			raw = string(inUTF16(binary.BigEndian, "\uFEFF"+raw))
		}
		file := read(t, raw)
		accounted(t, file, countLines(buffer.String()))
		for i := range file.Rows {
			file.Rows[i].Lines = catalogue.Lines{}
		}
		if len(file.Mistakes) > 0 || !slices.Equal(file.Rows, want) {
			t.Fatalf("%q\ngot  %+v, %v\nwant %+v", raw, file.Rows, file.Mistakes, want)
		}
	})
}

func FuzzRead(f *testing.F) {
	f.Add(header + "MUG-1,Mug,Holds coffee.,kitchen,12.50,EUR,40\n")
	f.Add(header + "mug,,\"\n")
	f.Add(header + "A-1,\"Mug,,kitchen,1.00,EUR,1\nA-2,Mug,,kitchen,1.00,EUR,1\nA-3,Mug\",,kitchen,1.00,EUR,1\n")
	f.Add(header + "A-1,Mug,\"Blue\r\n\r\nand \"\"big\"\"\",kitchen,\"9,90\",EUR,1\r,,,,,,\r\n")
	f.Add("sep=;\r\n" + strings.ReplaceAll(header, ",", ";") + "MUG-1;Mug;;kitchen;9,90;EUR;1;;\r\n")
	f.Add("\uFEFF" + header)
	f.Add(string(inUTF16(binary.LittleEndian, "\uFEFF"+header+"MUG-1,Mug,,kitchen,1,EUR,1")))
	f.Fuzz(func(t *testing.T, text string) {
		file, err := catalogue.Read(strings.NewReader(text), shop)
		if err != nil {
			return
		}
		lines := file.Lines // for UTF-16 the test uses the reader's own count
		if mark := strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff"); !mark && !strings.Contains(text[:2], "\x00") {
			lines = countLines(strings.TrimPrefix(text, "\uFEFF"))
		}
		accounted(t, file, lines)
		seen := map[string]bool{}
		for _, row := range file.Rows {
			if _, faults := shop(row); seen[row.SKU] || len(faults) > 0 || row.First <= file.Head {
				t.Errorf("accepted %+v", row)
			}
			seen[row.SKU] = true
		}
		for _, mistake := range file.Mistakes {
			if mistake.What == "" || strings.ContainsAny(mistake.String(), "\r\n") {
				t.Errorf("mistake %+v", mistake)
			}
		}
	})
}
