package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/internal/correlation"
	"caravan/internal/money"

	"golang.org/x/sync/errgroup"
)

func seedCommand() command {
	return command{
		name:    "seed",
		summary: "fill a shop: catalogue, a customer with money, a staff member",
		details: `
Does what "up" does with a new shop. Existing data stays as it is, but a customer who has less than 500.00 EUR
gets 2500.00 EUR paid in, and the output says so. With --gateway the passwords are read from the environment:
ADMIN_PASSWORD is that of the admin whom the users service was started with (CARAVAN_BOOTSTRAP_PASSWORD); staff and
customer are registered with STAFF_PASSWORD and CUSTOMER_PASSWORD. With --target compose they are read from compose/.env.`,
		flags: (*cli).gatewayFlags,
		run: func(ctx context.Context, c *cli, _ *flag.FlagSet) error {
			found, err := c.shop(ctx)
			if err != nil {
				return err
			}
			for _, role := range roles {
				if !slices.ContainsFunc(found.people, func(u launcher.User) bool { return u.Role == role }) {
					return &usageError{fmt.Sprintf("seed needs the %s's password, %s, which is not in %s.\nSee help seed.", role, passwordVariable(role), found.source)}
				}
			}
			_, err = c.fill(ctx, found)
			return err
		},
	}
}

// seed fills a shop for a first visit: a catalogue, a customer with money, a staff member, the admin, and one order. If
// the shop was filled before, it adds only the order, and money to an almost empty wallet.
func (c *cli) seed(ctx context.Context, stack *launcher.Stack) ([]launcher.User, error) {
	people, err := c.people(stack.Dir(), stack.Admin())
	if err != nil {
		return nil, err
	}
	customer, err := c.fill(ctx, shop{gateway: stack.GatewayURL(), people: people, source: usersFile(stack.Dir())})
	if err != nil {
		return nil, err
	}
	err = c.firstOrder(ctx, customer)
	if errors.Is(err, errNothingInStock) { // everything is sold: the shop stays as it is
		fmt.Fprintln(c.out, "Nothing is in stock, so no order was placed.")
		err = nil
	}
	return people, err
}

// fill creates the people and the catalogue, and returns a client of the customer.
func (c *cli) fill(ctx context.Context, empty shop) (customer *client.Client, err error) {
	began := time.Now()
	clients, err := enrol(ctx, empty)
	if err != nil {
		return nil, err
	}
	added, err := c.fillCatalogue(ctx, clients["staff"])
	if err != nil {
		return nil, err
	}
	paid, err := fund(ctx, clients["customer"])
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(c.out, "The shop has its people and its catalogue (%s added) after %s.\n", counted(added, "product"), time.Since(began).Round(100*time.Millisecond))
	if paid {
		customer, _ := userFor(empty.people, "customer")
		fmt.Fprintf(c.out, "%s were paid in for %s, who had less than %s.\n", topUp, customer.Email, lowWallet)
	}
	return clients["customer"], nil
}

// people returns the users of a new stack. Their passwords are generated once and kept in the stack's folder.
func (c *cli) people(dir string, admin launcher.User) ([]launcher.User, error) {
	file := usersFile(dir)
	var people []launcher.User
	raw, err := os.ReadFile(file)
	if err == nil {
		if err := json.Unmarshal(raw, &people); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		return people, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	people = []launcher.User{
		{Email: "customer@caravan.example", Password: strings.ToLower(rand.Text()), Role: "customer"},
		{Email: "staff@caravan.example", Password: strings.ToLower(rand.Text()), Role: "staff"},
		admin,
	}
	return people, launcher.WriteSecret(file, people)
}

func usersFile(dir string) string { return filepath.Join(dir, "secrets", "users.json") }

// enrol registers the people who do not exist yet, gives each the role, and returns a client for each role. The admin
// exists from the start of the users service.
func enrol(ctx context.Context, empty shop) (map[string]*client.Client, error) {
	admin, err := empty.signIn(ctx, "admin")
	if err != nil {
		return nil, err
	}
	clients := map[string]*client.Client{"admin": admin}
	for _, person := range empty.people {
		if person.Role == "admin" {
			continue
		}
		user, err := enrolOne(ctx, client.New(empty.gateway, nil), admin, person)
		if err != nil {
			return nil, err
		}
		clients[person.Role] = user
	}
	return clients, nil
}

func enrolOne(ctx context.Context, gateway, admin *client.Client, person launcher.User) (*client.Client, error) {
	known, err := gateway.Login(ctx, person.Email, person.Password)
	if err == nil {
		return known, nil
	}
	if client.Status(err) != http.StatusUnauthorized {
		return nil, fmt.Errorf("logging in as %s: %w", person.Role, err)
	}
	name := strings.ToUpper(person.Role[:1]) + person.Role[1:]
	user, err := gateway.RegisterUser(ctx, client.Registration{Email: person.Email, Password: person.Password, Name: name})
	if err != nil {
		return nil, fmt.Errorf("registering the %s: %w", person.Role, err)
	}
	if person.Role != "customer" {
		if _, err := admin.SetUserRoles(ctx, user.ID, client.RoleChange{Roles: client.Roles{client.Customer, client.Role(person.Role)}}); err != nil {
			return nil, fmt.Errorf("making %s a %s: %w", person.Email, person.Role, err)
		}
	}
	// Log in after the roles are set, because a token contains the roles at its log-in.
	return gateway.Login(ctx, person.Email, person.Password)
}

// fillCatalogue creates the missing products of the shop's own catalogue, and leaves the others unchanged.
func (c *cli) fillCatalogue(ctx context.Context, staff *client.Client) (added int, err error) {
	file, err := os.Open(filepath.Join(c.root, "services", "products", "catalogue.csv"))
	if err != nil {
		return 0, fmt.Errorf("reading the catalogue: %w", err)
	}
	defer file.Close()
	shop, err := staff.AllProducts(ctx)
	if err != nil {
		return 0, fmt.Errorf("listing the catalogue: %w", err)
	}
	content, err := readCatalogue(file, shop.Currency)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", file.Name(), err)
	}
	if len(content.Mistakes) > 0 {
		return 0, fmt.Errorf("%s: %s", file.Name(), content.Mistakes[0])
	}
	known := map[string]bool{}
	for _, product := range shop.Items {
		known[product.SKU] = true
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inParallel)
	for _, row := range content.Rows {
		if known[row.SKU] {
			continue
		}
		added++
		group.Go(func() error {
			_, err := staff.CreateProduct(ctx, draftOf(row))
			if client.Status(err) == http.StatusConflict { // made by an earlier start that was interrupted
				err = nil
			}
			return err
		})
	}
	return added, group.Wait()
}

// A customer with less than lowWallet gets topUp.
var lowWallet, topUp = money.New(500_00, "EUR"), money.New(2_500_00, "EUR")

// fund deposits into an almost empty wallet, and reports whether it did.
func fund(ctx context.Context, customer *client.Client) (paid bool, err error) {
	wallet, err := customer.GetWallet(ctx)
	if err != nil {
		return false, fmt.Errorf("looking into the customer's wallet: %w", err)
	}
	if order, err := wallet.Available.Cmp(lowWallet); err == nil && order >= 0 {
		return false, nil
	}
	if _, err := customer.TopUp(ctx, rand.Text(), topUp); err != nil {
		return false, fmt.Errorf("paying into the customer's wallet: %w", err)
	}
	return true, nil
}

// errNothingInStock is the reason when no order was placed.
var errNothingInStock = errors.New("nothing is in stock, so no order was placed")

// firstOrder places an order for two products and shows its timeline.
func (c *cli) firstOrder(ctx context.Context, customer *client.Client) error {
	list, err := customer.ListProducts(client.Uncached(ctx), client.ListProductsParams{Limit: 100})
	if err != nil {
		return fmt.Errorf("choosing products: %w", err)
	}
	var items []client.NewOrderItem
	for _, product := range list.Items {
		if product.Available > 0 && product.Price.Amount < 100_00 && len(items) < 2 {
			items = append(items, client.NewOrderItem{SKU: product.SKU, Quantity: int64(len(items) + 1)})
		}
	}
	if len(items) == 0 {
		return errNothingInStock
	}
	began := time.Now()
	var header http.Header
	accepted, err := customer.PlaceOrder(client.WithHeader(ctx, &header), rand.Text(), client.PlaceOrderParams{}, client.NewOrder{Items: items})
	if err != nil {
		return fmt.Errorf("placing an order: %w", err)
	}
	answered := time.Since(began)
	order, err := c.followOrder(ctx, customer, accepted.ID)
	if err != nil {
		return fmt.Errorf("waiting for order %s: %w", accepted.ID, err)
	}
	c.showOrder(order, header.Get(correlation.Header), answered, time.Since(began))
	return nil
}

func (c *cli) showOrder(order client.Order, cause string, answered, ended time.Duration) {
	fmt.Fprintf(c.out, "\nOrder %s: %s", order.ID, order.Status)
	if order.Reason != "" {
		fmt.Fprintf(c.out, " (%s)", order.Reason)
	}
	if order.Total.Amount > 0 {
		fmt.Fprintf(c.out, ", %s", order.Total)
	}
	fmt.Fprintf(c.out, "\n  %10s  POST /v1/orders answered 202\n", milliseconds(answered))
	for _, moment := range order.Timeline {
		name := strings.TrimSuffix(strings.TrimPrefix(moment.Type, "orders."), ".v1")
		fmt.Fprintf(c.out, "  %10s  %s", "+"+milliseconds(moment.Time.Sub(order.PlacedAt)), name)
		if moment.Detail != "" {
			fmt.Fprintf(c.out, ": %s", moment.Detail)
		}
		fmt.Fprintln(c.out)
	}
	fmt.Fprintf(c.out, "  %10s  seen by the customer\n", milliseconds(ended))
	switch a := c.options.access; {
	case a.target == targetCompose:
		fmt.Fprintf(c.out, "  All it caused: go run ./dapr logs --target compose --correlation %s\n", cause)
	case a.gateway != "": // its logs are on another machine
		fmt.Fprintf(c.out, "  Correlation id: %s\n", cause)
	default:
		fmt.Fprintf(c.out, "  All it caused: go run ./dapr logs --correlation %s\n", cause)
	}
}

func milliseconds(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}
