package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"caravan/dapr/catalogue"
	"caravan/dapr/client"
	"caravan/internal/clock"
	"caravan/internal/problem"

	"golang.org/x/sync/errgroup"
)

func importCommand() command {
	return command{
		name: "import", args: "FILE.csv", summary: "load a catalogue of your own into the running shop", min: 1, max: 1,
		details: `
The file is a table as spreadsheets save it. It begins with the names of the columns, in any order, and has one
product per row:

  sku,name,description,category,price,currency,stock
  MUG-1,"Mug, blue",Holds coffee.,kitchen,12.50,EUR,40

  sku          2 to 32 of A-Z, 0-9 and -; each once
  description  may be empty; in quotes it may have several lines
  category     lower-case words joined by hyphens
  price        12.5, 12.50, 12,50 or 12; nothing between thousands
  currency     the one the shop sells in
  stock        units on hand, a whole number

Columns are separated by commas, semicolons, tabs or |, or by what a first line such as sep=; names. The file is
UTF-8 ("CSV UTF-8") or UTF-16 ("Unicode text"). Blank rows are skipped.

All or nothing: the whole file is checked first, by the rules of the products service. If a line is bad, every
mistake is shown by line and field, and nothing is imported. --skip-bad leaves out the bad lines, shows them, and
imports the others.

A product that exists already gets the file's name, description, category and price, and its stock on hand is
corrected to the file's. Products that are not in the file stay as they are. If the shop refuses a line during the
import, because it has changed meanwhile, the import ends and shows which lines were imported. Importing the file again
completes it: lines that were imported change nothing the second time.` + loginHelp,
		flags: func(c *cli, flags *flag.FlagSet) {
			c.loginFlags(flags)
			flags.BoolVar(&c.options.importing.skipBad, "skip-bad", false, "import the good lines of a file that has bad ones")
		},
		run: func(ctx context.Context, c *cli, flags *flag.FlagSet) error { return c.importFile(ctx, flags.Arg(0)) },
	}
}

func (c *cli) importFile(ctx context.Context, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("reading the catalogue: %w", err)
	}
	defer file.Close()
	staff, err := c.signedIn(ctx, "staff")
	if err != nil {
		return err
	}
	shop, err := staff.AllProducts(ctx)
	if err != nil {
		return fmt.Errorf("listing the catalogue: %w", err)
	}
	content, err := readCatalogue(file, shop.Currency)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	i := newImporter(staff, c.options.importing.skipBad)
	if err := i.plan(ctx, content, shop.Items); err != nil {
		return err
	}
	if err := c.showMistakes(path, content); err != nil {
		return err
	}
	i.apply(ctx)
	return c.showImport(i)
}

// showMistakes shows the mistakes of a file. They end the import unless bad lines are to be skipped.
func (c *cli) showMistakes(path string, file *catalogue.File) error {
	if len(file.Mistakes) == 0 {
		return nil
	}
	bad := map[int]bool{}
	for _, mistake := range file.Mistakes {
		fmt.Fprintf(c.err, "%s: %s\n", path, mistake)
		for line := mistake.First; line <= mistake.Last; line++ {
			bad[line] = true
		}
	}
	lines := file.Lines - file.Head - file.Blank // lines of products
	summary := fmt.Sprintf("Bad lines: %d of %d. Good products: %d", len(bad), lines, len(file.Rows))
	if !c.options.importing.skipBad {
		return fmt.Errorf("%s. Nothing was imported. Correct the file, or import the good products with --skip-bad", summary)
	}
	fmt.Fprintf(c.out, "%s. The bad lines are skipped.\n", summary)
	return nil
}

// showImport reports the result of each line. It returns an error if the import was incomplete.
func (c *cli) showImport(i *importer) error {
	rows := map[outcome][]catalogue.Row{}
	for _, s := range i.steps {
		rows[s.outcome] = append(rows[s.outcome], s.row)
		if s.err != nil {
			fmt.Fprintf(c.err, "%s, %s: %v\n", s.row.Lines, s.row.SKU, s.err)
		}
	}
	fmt.Fprintf(c.out, "%s created, %d changed, %d already as in the file.\n", counted(len(rows[created]), "product"), len(rows[changed]), len(rows[same]))
	if len(rows[created])+len(rows[changed])+len(rows[same])+len(rows[refused]) == len(i.steps) && (i.skipBad || len(rows[refused]) == 0) {
		return nil
	}
	for _, group := range []struct {
		outcome outcome
		what    string
	}{
		{created, "created"}, {changed, "changed"}, {same, "already as in the file"}, {refused, "refused"},
		{uncertain, "without an answer, so perhaps imported"}, {untried, "not imported"},
	} {
		if len(rows[group.outcome]) > 0 {
			fmt.Fprintf(c.err, "  %-40s lines %s\n", group.what+":", lineList(rows[group.outcome]))
		}
	}
	return errors.New("the import is not complete. Importing the file again continues where this ended")
}

// outcome is the result of a line.
type outcome int

const (
	untried   outcome = iota
	created           // by this import
	changed           // by this import, to the values of the file
	same              // already as in the file
	refused           // because of its content
	uncertain         // the shop did not answer
)

// step changes one product to the values of the file.
type step struct {
	row      catalogue.Row
	existing *client.StaffProduct // before the import; nil for a product to be created
	found    *client.StaffProduct // found when it was to be created
	outcome  outcome
	err      error
}

// importer changes products to the values of a file.
type importer struct {
	staff   *client.Client
	skipBad bool
	run     string // distinguishes the stock corrections of this import from those of others
	steps   []*step
	ended   atomic.Bool // by a line that failed
}

// inParallel is the number of concurrent requests of an import.
const inParallel = 8

func newImporter(staff *client.Client, skipBad bool) *importer {
	return &importer{staff: staff, skipBad: skipBad, run: rand.Text()}
}

// plan makes a step for each row, and a mistake for each row that the shop would refuse in its present state.
func (i *importer) plan(ctx context.Context, file *catalogue.File, existing []client.Product) error {
	known := map[string]bool{}
	for _, product := range existing {
		known[product.SKU] = true
	}
	steps := make([]*step, len(file.Rows))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inParallel)
	for n, row := range file.Rows {
		steps[n] = &step{row: row}
		if !known[row.SKU] {
			continue
		}
		group.Go(func() error {
			product, err := i.product(ctx, row.SKU)
			if err != nil {
				return fmt.Errorf("reading product %s: %w", row.SKU, err)
			}
			steps[n].existing = &product
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	file.Rows = nil
	for _, s := range steps {
		if mistake, found := s.mistake(); found {
			file.Mistakes = append(file.Mistakes, mistake)
			continue
		}
		i.steps, file.Rows = append(i.steps, s), append(file.Rows, s.row)
	}
	slices.SortStableFunc(file.Mistakes, func(a, b catalogue.Mistake) int { return a.First - b.First })
	return nil
}

// mistake returns why the existing product cannot be changed to the row.
func (s *step) mistake() (catalogue.Mistake, bool) {
	mistake := catalogue.Mistake{Lines: s.row.Lines}
	switch {
	case s.existing == nil:
		return mistake, false
	case s.row.Price.Currency != s.existing.Price.Currency:
		mistake.Value = s.row.Price.Currency
		mistake.Fault = catalogue.Fault{Field: "currency", What: "must be " + s.existing.Price.Currency + ", as the product has it"}
	case s.row.Stock < s.existing.Reserved:
		mistake.Value = strconv.FormatInt(s.row.Stock, 10)
		mistake.Fault = catalogue.Fault{Field: "stock", What: fmt.Sprintf("must be at least %d, which are reserved for orders", s.existing.Reserved)}
	}
	return mistake, mistake.What != ""
}

// product reads a product with its stock on hand, which only staff see and which the list does not show.
func (i *importer) product(ctx context.Context, sku string) (product client.StaffProduct, err error) {
	err = withRetries(ctx, func() error {
		product, err = i.staff.GetProduct(ctx, sku)
		return err
	})
	return product, err
}

// apply does the steps. A line that fails ends the import, except that bad lines may be skipped. When it fails or the
// context ends, steps under way are finished, so that their result is known.
func (i *importer) apply(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(inParallel)
	for _, s := range i.steps {
		group.Go(func() error {
			if i.ended.Load() || ctx.Err() != nil {
				return nil
			}
			i.take(ctx, s)
			if s.err != nil && (s.outcome != refused || !i.skipBad) {
				i.ended.Store(true)
			}
			return nil
		})
	}
	_ = group.Wait()
}

// take does a step, and repeats it while the shop is busy.
func (i *importer) take(ctx context.Context, s *step) {
	attempts := 0
	s.err = withRetries(ctx, func() (err error) {
		attempts++
		s.outcome, err = i.one(context.WithoutCancel(ctx), s)
		return err
	})
	if s.err == nil && s.outcome == same && s.existing == nil && attempts > 1 {
		s.outcome = created // by an attempt without an answer
	}
	if s.err == nil {
		return
	}
	switch status := client.Status(s.err); {
	case slices.Contains([]int{http.StatusBadRequest, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity}, status):
		s.outcome = refused
	case status >= 400 && status < 500:
		s.outcome = untried // whatever the line contains
	default:
		s.outcome = uncertain
	}
}

// one creates or changes the product of a step.
func (i *importer) one(ctx context.Context, s *step) (outcome, error) {
	product := s.existing
	if product == nil {
		_, err := i.staff.CreateProduct(ctx, draftOf(s.row))
		if client.Status(err) != http.StatusConflict {
			return created, err
		}
		if err := i.find(ctx, s); err != nil {
			return untried, err
		}
		product = s.found
	}
	return i.change(ctx, s.row, product)
}

// find reads a product that the list does not show, because it is inactive or was created during the import.
func (i *importer) find(ctx context.Context, s *step) error {
	if s.found != nil {
		return nil
	}
	product, err := i.staff.GetProduct(ctx, s.row.SKU)
	if client.Status(err) == http.StatusNotFound { // it appears everywhere within a second
		return problem.Unavailable("product-not-shown", "The product exists, but is not shown yet.", time.Second)
	}
	if err == nil {
		s.found = &product
	}
	return err
}

// change changes a product to the values of a row. Each call may be repeated.
func (i *importer) change(ctx context.Context, row catalogue.Row, product *client.StaffProduct) (outcome, error) {
	result := same
	if product.Name != row.Name || product.Description != row.Description || product.Category != row.Category || product.Price != row.Price {
		change := client.ProductChange{Name: &row.Name, Description: &row.Description, Category: &row.Category, Price: &row.Price}
		if _, err := i.staff.UpdateProduct(ctx, row.SKU, change); err != nil {
			return untried, err
		}
		result = changed
	}
	if difference := row.Stock - product.OnHand; difference != 0 {
		if _, err := i.staff.AdjustStock(ctx, row.SKU, i.run+"-"+row.SKU, client.StockChange{Change: difference, Reason: "catalogue import"}); err != nil {
			if result == changed {
				err = fmt.Errorf("its texts and price are imported, its stock is not: %w", err)
			}
			return untried, err
		}
		result = changed
	}
	return result, nil
}

// withRetries repeats calls that the gateway's rate limit or a restarting service refused, after the requested time.
func withRetries(ctx context.Context, do func() error) error {
	const attempts = 20
	for attempt := 1; ; attempt++ {
		err := do()
		status := client.Status(err)
		if attempt == attempts || (status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable) {
			return err
		}
		pause := time.Second
		var p *problem.Problem
		if errors.As(err, &p) && p.RetryAfter > 0 {
			pause = p.RetryAfter
		}
		if err := (clock.System{}).Sleep(ctx, pause); err != nil {
			return err
		}
	}
}
