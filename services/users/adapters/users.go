package adapters

import (
	"net/http"
	"time"

	"caravan/internal/id"
	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/users/app"
	"caravan/services/users/contract"
	"caravan/services/users/domain"
)

// user is an account as its owner and admins see it.
type user struct {
	ID            string       `json:"id"`
	Email         domain.Email `json:"email"`
	EmailVerified bool         `json:"emailVerified"`
	Name          domain.Name  `json:"name"`
	Roles         []string     `json:"roles"`
	CreatedAt     time.Time    `json:"createdAt"`
}

func viewOf(u *domain.User) user {
	return user{ID: u.ID, Email: u.Email, EmailVerified: u.EmailVerified(), Name: u.Name, Roles: u.Roles, CreatedAt: u.CreatedAt}
}

// answer is the view of an account.
func answer(status int, u *domain.User, err error) (request.Answer, error) {
	if err != nil {
		return request.Answer{}, err
	}
	return request.Reply(status, viewOf(u)), nil
}

// registration is the body of POST /v1/users.
type registration struct {
	Email    string `json:"email" validate:"required"`
	Password string `json:"password" validate:"required"`
	Name     string `json:"name" validate:"required"`

	applicant domain.Applicant // set by Check
}

// Check implements request.Checker.
func (b *registration) Check() []problem.FieldError {
	var err error
	b.applicant, err = domain.ParseApplicant(b.Email, b.Password, b.Name)
	return faultsOf(err)
}

// register answers POST /v1/users.
func (a API) register(r *http.Request) (request.Answer, error) {
	var body registration
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	created, err := a.RegisterUser.Do(r.Context(), body.applicant)
	return answer(http.StatusCreated, created, err)
}

// showProfile answers GET /v1/users/me.
func (a API) showProfile(r *http.Request) (request.Answer, error) {
	caller, err := callerOf(r)
	if err != nil {
		return request.Answer{}, err
	}
	found, err := a.ShowProfile.Do(r.Context(), caller)
	return answer(http.StatusOK, found, err)
}

// updateProfile answers PATCH /v1/users/me.
func (a API) updateProfile(r *http.Request) (request.Answer, error) {
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
	name, err := domain.ParseName(body.Name)
	if err != nil {
		return request.Answer{}, err
	}
	changed, err := a.UpdateProfile.Do(r.Context(), caller, name)
	return answer(http.StatusOK, changed, err)
}

// passwordChange is the body of PUT /v1/users/me/password.
type passwordChange struct {
	CurrentPassword string `json:"currentPassword" validate:"required,max=1000"`
	NewPassword     string `json:"newPassword" validate:"required"`
}

// Check implements request.Checker. The use case also compares the new password with the address and name of the account.
func (b *passwordChange) Check() []problem.FieldError {
	_, err := domain.ParsePassword("newPassword", b.NewPassword, "", "")
	return faultsOf(err)
}

// changePassword answers PUT /v1/users/me/password.
func (a API) changePassword(r *http.Request) (request.Answer, error) {
	caller, err := callerOf(r)
	if err != nil {
		return request.Answer{}, err
	}
	var body passwordChange
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	ask := app.PasswordChange{Caller: caller, Current: body.CurrentPassword, New: body.NewPassword}
	return request.NoContent(), a.ChangePassword.Do(r.Context(), ask)
}

// listUsers answers GET /v1/users?email=&limit=&cursor=.
func (a API) listUsers(r *http.Request) (request.Answer, error) {
	if _, err := service.Require(r, contract.PermissionUsersAdmin); err != nil {
		return request.Answer{}, err
	}
	return request.List(r, func(cursor string, limit int) ([]*domain.User, string, error) {
		return a.ListUsers.Do(r.Context(), app.UserQuery{Email: r.URL.Query().Get("email"), Cursor: cursor, Limit: limit})
	}, viewOf)
}

// changeRoles answers PUT /v1/users/{id}/roles.
func (a API) changeRoles(r *http.Request) (request.Answer, error) {
	if _, err := service.Require(r, contract.PermissionUsersAdmin); err != nil {
		return request.Answer{}, err
	}
	caller, err := callerOf(r)
	if err != nil {
		return request.Answer{}, err
	}
	userID := r.PathValue("id")
	if !id.Valid(userID) {
		return request.Answer{}, domain.ErrNoUser
	}
	var body struct {
		Roles []string `json:"roles" validate:"required"`
	}
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	changed, err := a.ChangeRoles.Do(r.Context(), app.RolesChange{Caller: caller, UserID: userID, Roles: body.Roles})
	return answer(http.StatusOK, changed, err)
}
