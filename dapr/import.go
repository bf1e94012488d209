package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"caravan/internal/catalogue"
	"caravan/internal/launcher"
	"caravan/internal/problem"
	"caravan/internal/shopclient"

	"golang.org/x/sync/errgroup"
)

func importCommand() command {
	return command{
		name: "import", args: "FILE.csv", summary: "load a catalogue of your own into the running shop", min: 1, max: 1,
		details: `
The file begins with the line sku,name,description,category,price,currency,stock and has one product per
line, in UTF-8. It is read as a whole first; if a line is wrong, every mistake is shown by line and
field, and nothing is imported. --skip-bad imports the good lines.

A product that exists already gets the file's name, description, category and price, and its stock on
hand is corrected to the file's. Products that are not in the file stay as they are. Importing a file
twice changes nothing the second time.`,
		flags: func(c *cli, flags *flag.FlagSet) {
			flags.BoolVar(&c.options.importing.skipBad, "skip-bad", false, "import the good lines of a file that has bad ones")
		},
		run: func(ctx context.Context, c *cli, flags *flag.FlagSet) error { return c.importFile(ctx, flags.Arg(0)) },
	}
}

func (c *cli) importFile(ctx context.Context, path string) error {
	rows, err := c.readCatalogue(path)
	if err != nil {
		return err
	}
	staff, err := c.staff(ctx)
	if err != nil {
		return err
	}
	existing, err := staff.AllProducts(ctx)
	if err != nil {
		return fmt.Errorf("listing the catalogue: %w", err)
	}
	known := map[string]shopclient.Product{}
	for _, product := range existing {
		known[product.SKU] = product
	}
	importer := &importer{staff: staff, known: known}
	if err := importer.all(ctx, rows); err != nil {
		return fmt.Errorf("%w\nImporting the file again goes on where this ended", err)
	}
	fmt.Fprintf(c.out, "%d products created, %d changed, %d already as in the file.\n", importer.created.Load(), importer.changed.Load(), importer.same.Load())
	return nil
}

// readCatalogue reads the file and shows its mistakes; they end the import
// unless the bad lines are to be skipped.
func (c *cli) readCatalogue(path string) ([]catalogue.Row, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the catalogue: %w", err)
	}
	defer file.Close()
	rows, mistakes, err := catalogue.Read(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, mistake := range mistakes {
		fmt.Fprintf(c.err, "%s: %s\n", path, mistake)
	}
	if len(mistakes) > 0 && !c.options.importing.skipBad {
		return nil, fmt.Errorf("%d mistakes; nothing was imported. Mend them, or import the %d good lines with --skip-bad", len(mistakes), len(rows))
	}
	return rows, nil
}

// staff logs in as the staff member the stack began with.
func (c *cli) staff(ctx context.Context) (*shopclient.Client, error) {
	metadata, err := launcher.ReadMetadata(c.dir)
	if err != nil {
		return nil, fmt.Errorf("%w in %s; start it with: go run ./dapr up", launcher.ErrNotUp, c.dir)
	}
	for _, user := range metadata.Users {
		if user.Role == "staff" || user.Role == "admin" {
			return shopclient.New(metadata.Gateway, nil).Login(ctx, user.Email, user.Password)
		}
	}
	return nil, errors.New("the running stack has no staff member to import as")
}

// importer brings products to what a file says.
type importer struct {
	staff                  *shopclient.Client
	known                  map[string]shopclient.Product
	created, changed, same atomic.Int64
}

func (i *importer) all(ctx context.Context, rows []catalogue.Row) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, row := range rows {
		group.Go(func() error {
			if err := patiently(ctx, func() error { return i.one(ctx, row) }); err != nil {
				return fmt.Errorf("line %d, %s: %w", row.Line, row.SKU, err)
			}
			return nil
		})
	}
	return group.Wait()
}

func (i *importer) one(ctx context.Context, row catalogue.Row) error {
	if _, exists := i.known[row.SKU]; !exists {
		_, err := i.staff.CreateProduct(ctx, draftOf(row))
		if shopclient.Status(err) != http.StatusConflict {
			if err == nil {
				i.created.Add(1)
			}
			return err
		}
	}
	// Staff see the stock on hand, which the list does not show.
	product, err := i.staff.Product(ctx, row.SKU)
	if err != nil {
		return err
	}
	changed := false
	if product.Name != row.Name || product.Description != row.Description || product.Category != row.Category || product.Price != row.Price {
		change := shopclient.Change{Name: &row.Name, Description: &row.Description, Category: &row.Category, Price: &row.Price}
		if _, err := i.staff.ChangeProduct(ctx, row.SKU, change); err != nil {
			return err
		}
		changed = true
	}
	if difference := row.Stock - product.OnHand; difference != 0 {
		if _, err := i.staff.CorrectStock(ctx, "", row.SKU, difference, "catalogue import"); err != nil {
			return err
		}
		changed = true
	}
	if changed {
		i.changed.Add(1)
	} else {
		i.same.Add(1)
	}
	return nil
}

// patiently repeats what the gateway's rate limit or a restarting service turned
// away, for as long as it says.
func patiently(ctx context.Context, do func() error) error {
	const attempts = 20
	for attempt := 1; ; attempt++ {
		err := do()
		status := shopclient.Status(err)
		if attempt == attempts || (status != http.StatusTooManyRequests && status != http.StatusServiceUnavailable) {
			return err
		}
		pause := time.Second
		var p *problem.Problem
		if errors.As(err, &p) && p.RetryAfter > 0 {
			pause = p.RetryAfter
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}
