package adapters

import (
	"errors"
	"net/http"
	"time"

	"caravan/internal/id"
	"caravan/internal/money"
	"caravan/internal/page"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/internal/token"
	"caravan/services/products/domain"
	users "caravan/services/users/contract"
)

// catalogueCache lets caches keep what the catalogue shows for as long as products itself does, and longer only while
// products does not answer (RFC 9111, RFC 5861).
const catalogueCache = "public, max-age=1, stale-if-error=30"

// draft is the body of POST /v1/products.
type draft struct {
	currency string // of the shop
	now      time.Time

	SKU         string                  `json:"sku" validate:"sku"`
	Name        string                  `json:"name" validate:"line"`
	Description string                  `json:"description,omitzero" validate:"multiline"`
	Category    string                  `json:"category"`
	Price       money.Money             `json:"price"`
	Schedule    []domain.ScheduledPrice `json:"schedule,omitzero"`
	Tiers       []domain.Tier           `json:"tiers,omitzero"`
	Stock       int64                   `json:"stock,omitzero"`
}

// Check implements request.Checker.
func (d *draft) Check() []problem.FieldError { return check(d.product().Check(d.currency, d.now)) }

func (d *draft) product() domain.Draft {
	return domain.Draft{
		SKU: d.SKU, Name: d.Name, Description: d.Description, Category: d.Category,
		Price: d.Price, Schedule: d.Schedule, Tiers: d.Tiers, InitialStock: d.Stock,
	}
}

// check lists what a check of the domain refuses.
func check(err error) []problem.FieldError {
	var violations domain.Violations
	errors.As(err, &violations)
	return faultsOf(violations)
}

// change is the body of PATCH /v1/products/{sku}. An absent member is not changed.
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

// Check implements request.Checker.
func (c *correction) Check() []problem.FieldError {
	return check(domain.Correction{Change: c.Change, Reason: c.Reason}.Check())
}

// stockView answers a correction.
type stockView struct {
	OnHand    int64 `json:"onHand"`
	Reserved  int64 `json:"reserved"`
	Available int64 `json:"available"`
}

func (a API) list(r *http.Request) (request.Answer, error) {
	limit, cursor, err := request.Page(r)
	if err != nil {
		return request.Answer{}, err
	}
	var query domain.Query
	if r.URL.RawQuery != "" {
		values := r.URL.Query()
		query = domain.Query{Category: values.Get("category"), Text: values.Get("q")}
	}
	items, next, err := a.List.Do(r.Context(), query, limit, cursor)
	if err != nil {
		return request.Answer{}, err
	}
	list := productList{
		List: page.List[productView]{Items: make([]productView, len(items)), Next: next}, Currency: a.Create.Currency,
	}
	now := a.Clock.Now()
	for i, item := range items {
		list.Items[i] = viewOf(item, now)
	}
	return request.OK(list).With("Cache-Control", catalogueCache), nil
}

func (a API) get(r *http.Request) (request.Answer, error) {
	item, err := a.Get.Do(r.Context(), r.PathValue("sku"))
	if err != nil {
		return request.Answer{}, err
	}
	// Staff also see what is planned. A shared cache must not store that as the public answer.
	if claims, known := token.From(r.Context()); known && claims.Can(users.PermissionCatalogWrite) {
		return request.OK(staffViewOf(item, a.Clock.Now())).With("Cache-Control", "private, no-store"), nil
	}
	return request.OK(viewOf(item, a.Clock.Now())).With("Cache-Control", catalogueCache), nil
}

func (a API) create(r *http.Request) (request.Answer, error) {
	if _, err := service.Require(r, users.PermissionCatalogWrite); err != nil {
		return request.Answer{}, err
	}
	in := draft{currency: a.Create.Currency, now: a.Clock.Now()}
	if err := request.Decode(r, &in); err != nil {
		return request.Answer{}, err
	}
	item, err := a.Create.Do(r.Context(), in.product())
	if err != nil {
		return request.Answer{}, err
	}
	return request.Created("/v1/products/"+item.Product.SKU, staffViewOf(item, a.Clock.Now())), nil
}

func (a API) change(r *http.Request) (request.Answer, error) {
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
	item, err := a.Change.Do(r.Context(), sku, domain.Change(in))
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(staffViewOf(item, a.Clock.Now())), nil
}

func (a API) correctStock(r *http.Request) (request.Answer, error) {
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
		// Clients choose keys, so the same key of another person is another key.
		key = id.Derive(claims.Subject, key)
	}
	var in correction
	if err := request.Decode(r, &in); err != nil {
		return request.Answer{}, err
	}
	level, err := a.Correct.Do(r.Context(), sku, domain.Correction{Key: key, Change: in.Change, Reason: in.Reason})
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(stockView{OnHand: level.OnHand, Reserved: level.Reserved, Available: level.Available()}), nil
}

// pathSKU returns the SKU of the path. A text that cannot be a SKU is an unknown product.
func pathSKU(r *http.Request) (string, error) {
	sku := r.PathValue("sku")
	if !id.ValidSKU(sku) {
		return "", domain.ErrNoProduct
	}
	return sku, nil
}
