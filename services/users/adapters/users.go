package adapters

import (
	"net/http"
	"time"

	"caravan/internal/id"
	"caravan/internal/page"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/users/app"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// user is an account as its owner and admins see it.
type user struct {
	ID        string    `json:"id"`
	Email     string    `json:"email"`
	Name      string    `json:"name"`
	Roles     []string  `json:"roles"`
	CreatedAt time.Time `json:"createdAt"`
}

func present(u *domain.User) user {
	return user{ID: u.ID, Email: u.Email, Name: u.Name, Roles: u.Roles, CreatedAt: u.CreatedAt}
}

// register answers POST /v1/users.
func (h *handlers) register(r *http.Request) (request.Answer, error) {
	var body struct {
		Email    string `json:"email" validate:"required"`
		Password string `json:"password" validate:"required"`
		Name     string `json:"name" validate:"required"`
	}
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	created, err := h.accounts.Register(r.Context(), app.Registration{Email: body.Email, Password: body.Password, Name: body.Name})
	if err != nil {
		return request.Answer{}, err
	}
	return request.Reply(http.StatusCreated, present(created)), nil
}

// profile answers GET /v1/users/me.
func (h *handlers) profile(r *http.Request) (request.Answer, error) {
	caller, err := callerOf(r)
	if err != nil {
		return request.Answer{}, err
	}
	found, err := h.accounts.Profile(r.Context(), caller)
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(present(found)), nil
}

// updateProfile answers PATCH /v1/users/me.
func (h *handlers) updateProfile(r *http.Request) (request.Answer, error) {
	caller, err := callerOf(r)
	if err != nil {
		return request.Answer{}, err
	}
	var body struct {
		Name string `json:"name" validate:"required"`
	}
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	changed, err := h.accounts.UpdateProfile(r.Context(), app.ProfileChange{Caller: caller, Name: body.Name})
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(present(changed)), nil
}

// changePassword answers PUT /v1/users/me/password.
func (h *handlers) changePassword(r *http.Request) (request.Answer, error) {
	caller, err := callerOf(r)
	if err != nil {
		return request.Answer{}, err
	}
	var body struct {
		CurrentPassword string `json:"currentPassword" validate:"required,max=1000"`
		NewPassword     string `json:"newPassword" validate:"required"`
	}
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	ask := app.PasswordChange{Caller: caller, Current: body.CurrentPassword, New: body.NewPassword}
	if err := h.accounts.ChangePassword(r.Context(), ask); err != nil {
		return request.Answer{}, err
	}
	return request.NoContent(), nil
}

// listUsers answers GET /v1/users?email=&limit=&cursor=.
func (h *handlers) listUsers(r *http.Request) (request.Answer, error) {
	if _, err := service.Require(r, contract.PermissionUsersAdmin); err != nil {
		return request.Answer{}, err
	}
	limit, cursor, err := request.Page(r)
	if err != nil {
		return request.Answer{}, err
	}
	query := app.UserQuery{Email: r.URL.Query().Get("email"), Cursor: cursor, Limit: limit}
	found, next, err := h.accounts.ListUsers(r.Context(), query)
	if err != nil {
		return request.Answer{}, err
	}
	list := page.List[user]{Items: make([]user, len(found)), Next: next}
	for i, u := range found {
		list.Items[i] = present(u)
	}
	return request.OK(list), nil
}

// changeRoles answers PUT /v1/users/{id}/roles.
func (h *handlers) changeRoles(r *http.Request) (request.Answer, error) {
	if _, err := service.Require(r, contract.PermissionUsersAdmin); err != nil {
		return request.Answer{}, err
	}
	caller, err := callerOf(r)
	if err != nil {
		return request.Answer{}, err
	}
	userID := r.PathValue("id")
	if !id.Valid(userID) {
		return request.Answer{}, problem.NotFound("user")
	}
	var body struct {
		Roles []string `json:"roles" validate:"required"`
	}
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	changed, err := h.accounts.ChangeRoles(r.Context(), app.RolesChange{Caller: caller, UserID: userID, Roles: body.Roles})
	if err != nil {
		return request.Answer{}, err
	}
	return request.OK(present(changed)), nil
}
