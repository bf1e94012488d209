package shopclient

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"caravan/internal/money"
)

// Product is a product of the catalogue. Stock beyond Available is filled in
// for staff only.
type Product struct {
	SKU         string      `json:"sku"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Category    string      `json:"category"`
	Status      string      `json:"status"`
	Price       money.Money `json:"price"`
	Available   int64       `json:"available"`
	OnHand      int64       `json:"onHand"`
	Reserved    int64       `json:"reserved"`
}

// Draft is a product to be created.
type Draft struct {
	SKU         string      `json:"sku"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Category    string      `json:"category"`
	Price       money.Money `json:"price"`
	Stock       int64       `json:"stock"`
}

// Change is a change of a product; nil fields stay.
type Change struct {
	Name        *string      `json:"name,omitempty"`
	Description *string      `json:"description,omitempty"`
	Category    *string      `json:"category,omitempty"`
	Price       *money.Money `json:"price,omitempty"`
}

// Stock is the stock of a product.
type Stock struct {
	OnHand    int64 `json:"onHand"`
	Reserved  int64 `json:"reserved"`
	Available int64 `json:"available"`
}

// Query selects products; the zero value is the first page of all.
type Query struct {
	Category, Text, Cursor string
	Limit                  int // 1 to 100; 0: the default
}

// ProductList is a part of the catalogue, or all of it.
type ProductList struct {
	List[Product]
	// Currency is the only one the shop sells in.
	Currency string `json:"currency"`
}

// Products lists the catalogue.
func (c *Client) Products(ctx context.Context, q Query) (ProductList, error) {
	values := url.Values{}
	for name, value := range map[string]string{"category": q.Category, "q": q.Text, "cursor": q.Cursor} {
		if value != "" {
			values.Set(name, value)
		}
	}
	if q.Limit != 0 {
		values.Set("limit", strconv.Itoa(q.Limit))
	}
	var list ProductList
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/products", query: values, want: []int{http.StatusOK}, into: &list})
	return list, err
}

// AllProducts lists the whole catalogue, page by page.
func (c *Client) AllProducts(ctx context.Context) (ProductList, error) {
	var all ProductList
	query := Query{Limit: 100}
	for {
		list, err := c.Products(ctx, query)
		if err != nil {
			return ProductList{}, err
		}
		all.Items, all.Currency = append(all.Items, list.Items...), list.Currency
		if query.Cursor = list.Next; list.Next == "" {
			return all, nil
		}
	}
}

// Product is one product.
func (c *Client) Product(ctx context.Context, sku string) (Product, error) {
	var product Product
	_, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/products/" + pathSegment(sku), want: []int{http.StatusOK}, into: &product})
	return product, err
}

// CreateProduct adds a product, as staff. A taken SKU is a 409.
func (c *Client) CreateProduct(ctx context.Context, draft Draft) (Product, error) {
	var product Product
	_, err := c.do(ctx, call{method: http.MethodPost, path: "/v1/products", body: draft, want: []int{http.StatusCreated}, into: &product})
	return product, err
}

// ChangeProduct changes a product, as staff.
func (c *Client) ChangeProduct(ctx context.Context, sku string, change Change) (Product, error) {
	var product Product
	_, err := c.do(ctx, call{
		method: http.MethodPatch, path: "/v1/products/" + pathSegment(sku), body: change, want: []int{http.StatusOK}, into: &product,
	})
	return product, err
}

// CorrectStock adds to the stock on hand, or takes from it, as staff. Under an
// idempotency key it may be repeated; "" is for once only.
func (c *Client) CorrectStock(ctx context.Context, key, sku string, change int64, reason string) (Stock, error) {
	var stock Stock
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: "/v1/products/" + pathSegment(sku) + "/stock", key: key,
		body: map[string]any{"change": change, "reason": reason}, want: []int{http.StatusOK}, into: &stock,
	})
	return stock, err
}
