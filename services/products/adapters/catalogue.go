package adapters

import (
	"net/http"

	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/internal/page"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/token"
	"caravan/services/products/app"
	"caravan/services/products/domain"
	users "caravan/services/users/contract"
)

// catalogueCache lets caches keep what the catalogue shows for as long as we do ourselves, and longer only while we do
// not answer (RFC 9111, RFC 5861).
const catalogueCache = "public, max-age=1, stale-if-error=30"

// catalogueAPI is the public API of products.
type catalogueAPI struct{ shop *app.Shop }

// draft is the body of POST /v1/products.
type draft struct {
	SKU         string                  `json:"sku" validate:"sku"`
	Name        string                  `json:"name" validate:"line"`
	Description string                  `json:"description,omitzero" validate:"multiline"`
	Category    string                  `json:"category"`
	Price       money.Money             `json:"price"`
	Schedule    []domain.ScheduledPrice `json:"schedule,omitzero"`
	Tiers       []domain.Tier           `json:"tiers,omitzero"`
	Stock       int64                   `json:"stock,omitzero"`
}

// change is the body of PATCH /v1/products/{sku}; what is absent stays.
type change struct {
	Name        *string                  `json:"name,omitzero" validate:"omitempty,line"`
	Description *string                  `json:"description,omitzero" validate:"omitempty,multiline"`
	Category    *string                  `json:"category,omitzero"`
	Status      *domain.Status           `json:"status,omitzero"`
	Price       *money.Money             `json:"price,omitzero"`
	Schedule    *[]domain.ScheduledPrice `json:"schedule,omitzero"`
	Tiers       *[]domain.Tier           `json:"tiers,omitzero"`
}

// correction is the body of POST /v1/products/{sku}/stock.
type correction struct {
	Change int64  `json:"change"`
	Reason string `json:"reason" validate:"line"`
}

// stockView answers a correction.
type stockView struct {
	OnHand    int64 `json:"onHand"`
	Reserved  int64 `json:"reserved"`
	Available int64 `json:"available"`
}

func (a catalogueAPI) list(r *http.Request) (request.Answer, error) {
	limit, cursor, err := request.Page(r)
	if err != nil {
		return request.Answer{}, err
	}
	var query domain.Query
	if r.URL.RawQuery != "" {
		values := r.URL.Query()
		query = domain.Query{Category: values.Get("category"), Text: values.Get("q")}
	}
	items, next, err := a.shop.Products(r.Context(), query, limit, cursor)
	if err != nil {
		return request.Answer{}, describe(err)
	}
	list := productList{
		List: page.List[productView]{Items: make([]productView, len(items)), Next: next}, Currency: a.shop.Currency(),
	}
	now := a.shop.Now()
	for i, item := range items {
		list.Items[i] = viewOf(item, now)
	}
	return request.OK(list).With("Cache-Control", catalogueCache), nil
}

func (a catalogueAPI) get(r *http.Request) (request.Answer, error) {
	item, err := a.shop.Product(r.Context(), r.PathValue("sku"))
	if err != nil {
		return request.Answer{}, describe(err)
	}
	// Staff see what is planned too. A shared cache must not take that for the public answer.
	if claims, known := token.From(r.Context()); known && claims.Can(users.PermissionCatalogWrite) {
		return request.OK(staffViewOf(item, a.shop.Now())).With("Cache-Control", "private, no-store"), nil
	}
	return request.OK(viewOf(item, a.shop.Now())).With("Cache-Control", catalogueCache), nil
}

func (a catalogueAPI) create(r *http.Request) (request.Answer, error) {
	if _, err := service.Require(r, users.PermissionCatalogWrite); err != nil {
		return request.Answer{}, err
	}
	var in draft
	if err := request.Decode(r, &in); err != nil {
		return request.Answer{}, err
	}
	item, err := a.shop.CreateProduct(r.Context(), domain.Draft{
		SKU: in.SKU, Name: in.Name, Description: in.Description, Category: in.Category,
		Price: in.Price, Schedule: in.Schedule, Tiers: in.Tiers, InitialStock: in.Stock,
	})
	if err != nil {
		return request.Answer{}, describe(err)
	}
	return request.Created("/v1/products/"+item.Product.SKU, staffViewOf(item, a.shop.Now())), nil
}

func (a catalogueAPI) change(r *http.Request) (request.Answer, error) {
	if _, err := service.Require(r, users.PermissionCatalogWrite); err != nil {
		return request.Answer{}, err
	}
	sku, err := pathSKU(r)
	if err != nil {
		return request.Answer{}, err
	}
	var in change
	if err := request.Decode(r, &in, request.SomeMember()); err != nil {
		return request.Answer{}, err
	}
	item, err := a.shop.ChangeProduct(r.Context(), sku, domain.Change(in))
	if err != nil {
		return request.Answer{}, describe(err)
	}
	return request.OK(staffViewOf(item, a.shop.Now())), nil
}

func (a catalogueAPI) correctStock(r *http.Request) (request.Answer, error) {
	claims, err := service.Require(r, users.PermissionInventoryAdjust)
	if err != nil {
		return request.Answer{}, err
	}
	sku, err := pathSKU(r)
	if err != nil {
		return request.Answer{}, err
	}
	key, err := request.OptionalIdempotencyKey(r)
	if err != nil {
		return request.Answer{}, err
	}
	if key != "" {
		// Keys are chosen by clients: one of another person is another key.
		key = id.Derive(claims.Subject, key)
	}
	var in correction
	if err := request.Decode(r, &in); err != nil {
		return request.Answer{}, err
	}
	level, err := a.shop.CorrectStock(r.Context(), sku, domain.Correction{Key: key, Change: in.Change, Reason: in.Reason})
	if err != nil {
		return request.Answer{}, describe(err)
	}
	return request.OK(stockView{OnHand: level.OnHand, Reserved: level.Reserved, Available: level.Available()}), nil
}

// pathSKU is the SKU of the path. What cannot be one is a product that does not exist.
func pathSKU(r *http.Request) (string, error) {
	sku := r.PathValue("sku")
	if !id.ValidSKU(sku) {
		return "", describe(domain.ErrNoProduct)
	}
	return sku, nil
}
