package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"caravan/dapr/client"
	"caravan/dapr/launcher"
	"caravan/internal/money"
)

// MaxClients is the maximum number of clients. Each is a different user.
const MaxClients = 256

// The products to be ordered: most orders are for few of them, as in a shop.
const (
	products     = 50
	zipfExponent = 1.1
)

// price is what each of the products costs.
var price = money.New(1_00, "EUR")

// shop is a shop prepared for load: its stock and its users' wallets are large enough.
type shop struct {
	gateway   string
	anonymous *client.Client
	staff     *client.Client
	users     []*client.Client
	weights   []float64 // cumulative shares of the products
}

func sku(n int) string { return fmt.Sprintf("BENCH-%03d", n) }

func openShop(ctx context.Context, stack Target, users int) (*shop, error) {
	s, err := openShopWithoutUsers(ctx, stack)
	if err != nil {
		return nil, err
	}
	return s, s.enrol(ctx, stack.Dir, users)
}

func openShopWithoutUsers(ctx context.Context, stack Target) (*shop, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = MaxClients
	s := &shop{gateway: stack.Gateway, weights: zipf(products)}
	s.anonymous = client.New(stack.Gateway, &http.Client{Transport: transport, Timeout: 30 * time.Second})
	var err error
	if s.staff, err = stack.SignIn(ctx, "staff"); err != nil {
		return nil, limited(err)
	}
	return s, limited(s.stockUp(ctx))
}

// zipf returns the cumulative shares of n products whose popularity decreases with their rank.
func zipf(n int) []float64 {
	weights := make([]float64, n)
	sum := 0.0
	for i := range weights {
		sum += 1 / math.Pow(float64(i+1), zipfExponent)
		weights[i] = sum
	}
	for i := range weights {
		weights[i] /= sum
	}
	return weights
}

func (s *shop) pick() int {
	at, _ := slices.BinarySearch(s.weights, mathrand.Float64())
	return min(at, len(s.weights)-1)
}

// basket returns one or two different products.
func (s *shop) basket() []client.NewOrderItem {
	first := s.pick()
	items := []client.NewOrderItem{{SKU: sku(first), Quantity: 1}}
	if mathrand.IntN(2) == 0 {
		if second := s.pick(); second != first {
			items = append(items, client.NewOrderItem{SKU: sku(second), Quantity: 1})
		}
	}
	return items
}

// stockUp creates the products, each with more stock than can be ordered.
func (s *shop) stockUp(ctx context.Context) error {
	const plenty = 900_000_000
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for n := range products {
		group.Go(func() error {
			_, err := s.staff.CreateProduct(ctx, client.NewProduct{
				SKU: sku(n), Name: fmt.Sprintf("Benchmark product %d", n), Description: "Ordered by the benchmark.",
				Category: "benchmark", Price: price, Stock: plenty,
			})
			if client.Status(err) == http.StatusConflict {
				return nil
			}
			return err
		})
	}
	return group.Wait()
}

// enrol logs the users in, registers those that do not exist, and fills their wallets. Their passwords are kept,
// because a password hash is slow on purpose.
func (s *shop) enrol(ctx context.Context, dir string, count int) error {
	users, err := loadUsers(dir, count)
	if err != nil {
		return err
	}
	s.users = make([]*client.Client, count)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, user := range users[:count] {
		group.Go(func() error {
			customer, err := s.anonymous.Login(ctx, user.Email, user.Password)
			if client.Status(err) == http.StatusUnauthorized {
				if _, err := s.anonymous.RegisterUser(ctx, client.Registration{Email: user.Email, Password: user.Password, Name: "Benchmark"}); err != nil {
					return limited(err)
				}
				customer, err = s.anonymous.Login(ctx, user.Email, user.Password)
			}
			if err != nil {
				return limited(err)
			}
			s.users[i] = customer
			return fillWallet(ctx, customer)
		})
	}
	return group.Wait()
}

func fillWallet(ctx context.Context, customer *client.Client) error {
	wallet, err := customer.GetWallet(ctx)
	if err != nil {
		return limited(err)
	}
	if wallet.Available.Amount >= 500_000_00 {
		return nil
	}
	_, err = customer.TopUp(ctx, rand.Text(), money.New(1_000_000_00, "EUR"))
	return limited(err)
}

func loadUsers(dir string, count int) ([]launcher.User, error) {
	file := filepath.Join(dir, "secrets", "bench-users.json")
	var users []launcher.User
	raw, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(raw, &users)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	if len(users) >= count {
		return users, nil
	}
	for i := len(users); i < count; i++ {
		users = append(users, launcher.User{
			Email: fmt.Sprintf("bench-%d-%s@caravan.example", i, strings.ToLower(rand.Text()[:6])), Password: strings.ToLower(rand.Text()), Role: "customer",
		})
	}
	return users, launcher.WriteSecret(file, users)
}
