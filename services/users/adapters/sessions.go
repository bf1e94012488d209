package adapters

import (
	"net/http"

	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/users/app"
)

// grant is the body that answers a login and a refresh (the members of RFC 6749, section 5.1, in camelCase).
type grant struct {
	AccessToken  string `json:"accessToken"`
	RefreshToken string `json:"refreshToken"`
	ExpiresIn    int64  `json:"expiresIn"` // seconds
	TokenType    string `json:"tokenType"`
}

func grantOf(given app.Grant, err error) (request.Answer, error) {
	return request.Reply(http.StatusCreated, grant{
		AccessToken: given.AccessToken, RefreshToken: given.RefreshToken,
		ExpiresIn: int64(given.ExpiresIn.Seconds()), TokenType: "Bearer",
	}), err
}

// logIn answers POST /v1/sessions.
func (a API) logIn(r *http.Request) (request.Answer, error) {
	var body struct {
		Email    string `json:"email" validate:"required,max=254"`
		Password string `json:"password" validate:"required,max=1000"`
	}
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	return grantOf(a.LogIn.Do(r.Context(), app.Credentials{
		Email: body.Email, Password: body.Password, Agent: r.Header.Get(service.HeaderClientAgent), Address: service.ClientAddress(r),
	}))
}

// refresh answers POST /v1/sessions/refresh.
func (a API) refresh(r *http.Request) (request.Answer, error) {
	var body struct {
		RefreshToken string `json:"refreshToken" validate:"required,max=4096"`
	}
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	return grantOf(a.Refresh.Do(r.Context(), body.RefreshToken))
}

// logOut answers DELETE /v1/sessions/current.
func (a API) logOut(r *http.Request) (request.Answer, error) {
	caller, err := callerOf(r)
	if err != nil {
		return request.Answer{}, err
	}
	return request.NoContent(), a.LogOut.Do(r.Context(), caller)
}
