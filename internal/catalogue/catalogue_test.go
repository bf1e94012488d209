package catalogue_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"caravan/internal/catalogue"
	"caravan/internal/money"
)

const header = "sku,name,description,category,price,currency,stock\n"

func TestRead(t *testing.T) {
	rows, mistakes, err := catalogue.Read(strings.NewReader("\uFEFF" + header + `MUG-1,"Mug, ""blue""",Holds coffee.,kitchen,12.50,EUR,40` + "\r\n"))
	if err != nil || len(mistakes) != 0 {
		t.Fatal(err, mistakes)
	}
	want := catalogue.Row{Line: 2, SKU: "MUG-1", Name: `Mug, "blue"`, Description: "Holds coffee.", Category: "kitchen", Price: money.New(1250, "EUR"), Stock: 40}
	if len(rows) != 1 || rows[0] != want {
		t.Errorf("got %+v, want %+v", rows, want)
	}
}

func TestColumnsMayBeInAnyOrder(t *testing.T) {
	rows, mistakes, err := catalogue.Read(strings.NewReader("Stock,currency,price,category,description,name,SKU\n7,JPY,500,tea,,Tea,TEA\n"))
	if err != nil || len(mistakes) != 0 || len(rows) != 1 || rows[0].Price != money.New(500, "JPY") || rows[0].Stock != 7 {
		t.Errorf("got %+v, %v, %v", rows, mistakes, err)
	}
}

func TestMistakesAreNamedByLineAndField(t *testing.T) {
	good := "OK-1,Good,Fine.,kitchen,1.00,EUR,1\n"
	for name, test := range map[string]struct{ line, want string }{
		"lower-case sku":     {"mug,Mug,,kitchen,1.00,EUR,1", "line 3, sku"},
		"sku twice":          {"OK-1,Mug,,kitchen,1.00,EUR,1", "is on line 2 already"},
		"no name":            {"MUG,,,kitchen,1.00,EUR,1", "line 3, name: is empty"},
		"long name":          {"MUG," + strings.Repeat("x", 121) + ",,kitchen,1.00,EUR,1", "line 3, name: has 121"},
		"not UTF-8":          {"MUG,\xff\xfe,,kitchen,1.00,EUR,1", "line 3, name: is not UTF-8"},
		"line break in name": {"MUG,\"a\nb\",,kitchen,1.00,EUR,1", "line 3, name: holds a line break"},
		"category":           {"MUG,Mug,,Kitchen Ware,1.00,EUR,1", "line 3, category"},
		"currency":           {"MUG,Mug,,kitchen,1.00,EURO,1", "line 3, currency"},
		"price":              {"MUG,Mug,,kitchen,one,EUR,1", "line 3, price"},
		"too many decimals":  {"MUG,Mug,,kitchen,1.001,EUR,1", "line 3, price"},
		"negative price":     {"MUG,Mug,,kitchen,-1.00,EUR,1", "line 3, price"},
		"free":               {"MUG,Mug,,kitchen,0.00,EUR,1", "line 3, price"},
		"stock":              {"MUG,Mug,,kitchen,1.00,EUR,1.5", "line 3, stock"},
		"negative stock":     {"MUG,Mug,,kitchen,1.00,EUR,-1", "line 3, stock"},
		"too few fields":     {"MUG,Mug", "line 3: has 2 fields, want 7"},
		"stray quote":        {`MUG,M"ug,,kitchen,1.00,EUR,1`, "line 3: "},
	} {
		t.Run(name, func(t *testing.T) {
			rows, mistakes, err := catalogue.Read(strings.NewReader(header + good + test.line + "\nOK-2,Good,Fine.,kitchen,1.00,EUR,1\n"))
			if err != nil {
				t.Fatal(err)
			}
			if len(rows) != 2 {
				t.Errorf("%d good rows, want the two others", len(rows))
			}
			if len(mistakes) == 0 || !strings.Contains(mistakes[0].String(), test.want) {
				t.Errorf("got %v, want %q", mistakes, test.want)
			}
		})
	}
}

func TestEveryMistakeOfALineIsFound(t *testing.T) {
	_, mistakes, err := catalogue.Read(strings.NewReader(header + "mug,,,Kitchen,x,EUR,y\n"))
	if err != nil || len(mistakes) != 5 {
		t.Errorf("got %v, %v; want five mistakes", mistakes, err)
	}
}

func TestNoCatalogue(t *testing.T) {
	for _, text := range []string{"", "hello\n", "sku,name\n", header[:len(header)-1] + ",colour\n", "sku," + header} {
		if _, _, err := catalogue.Read(strings.NewReader(text)); !errors.Is(err, catalogue.ErrHeader) {
			t.Errorf("%q: got %v, want ErrHeader", text, err)
		}
	}
}

func TestTheShopsOwnCatalogue(t *testing.T) {
	file, err := os.Open("../../services/products/catalogue.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	rows, mistakes, err := catalogue.Read(file)
	if err != nil || len(mistakes) != 0 || len(rows) < 60 {
		t.Errorf("%d rows, %v, %v", len(rows), mistakes, err)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(header + "MUG-1,Mug,Holds coffee.,kitchen,12.50,EUR,40\n")
	f.Add(header + "mug,,\"\n")
	f.Add("\uFEFF" + header)
	f.Fuzz(func(t *testing.T, text string) {
		rows, mistakes, err := catalogue.Read(strings.NewReader(text))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, row := range rows {
			if seen[row.SKU] || row.Name == "" || row.Price.Amount <= 0 || row.Stock < 0 || row.Line < 2 {
				t.Errorf("accepted %+v", row)
			}
			seen[row.SKU] = true
		}
		for _, mistake := range mistakes {
			if mistake.Line < 1 || mistake.What == "" {
				t.Errorf("mistake %+v", mistake)
			}
		}
	})
}
