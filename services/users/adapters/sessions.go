package adapters

import (
	"errors"
	"net/http"

	"caravan/internal/request"
	"caravan/internal/service"
	"caravan/services/users/app"
	"caravan/services/users/domain"
)

// grant is the body that answers logging in and refreshing (the members of RFC 6749, section 5.1, in camelCase).
type grant struct {
	AccessToken  string `json:"accessToken"`
	RefreshToken string `json:"refreshToken"`
	ExpiresIn    int64  `json:"expiresIn"` // seconds
	TokenType    string `json:"tokenType"`
}

func grantOf(given app.Grant) request.Answer {
	return request.Reply(http.StatusCreated, grant{
		AccessToken: given.AccessToken, RefreshToken: given.RefreshToken,
		ExpiresIn: int64(given.ExpiresIn.Seconds()), TokenType: "Bearer",
	})
}

// logIn answers POST /v1/sessions.
func (h *handlers) logIn(r *http.Request) (request.Answer, error) {
	var body struct {
		Email    string `json:"email" validate:"required,max=254"`
		Password string `json:"password" validate:"required,max=1000"`
	}
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	given, err := h.accounts.LogIn(r.Context(), app.Credentials{Email: body.Email, Password: body.Password})
	if err != nil {
		return request.Answer{}, err
	}
	return grantOf(given), nil
}

// refresh answers POST /v1/sessions/refresh.
func (h *handlers) refresh(r *http.Request) (request.Answer, error) {
	var body struct {
		RefreshToken string `json:"refreshToken" validate:"required,max=4096"`
	}
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	given, err := h.accounts.Refresh(r.Context(), body.RefreshToken)
	if errors.Is(err, app.ErrTokenReused) {
		h.log.WarnContext(r.Context(), "a used refresh token came back; its session was ended", "error", err)
	}
	if errors.Is(err, domain.ErrRefreshToken) || errors.Is(err, domain.ErrSessionEnded) {
		return request.Answer{}, refreshRefused()
	}
	if err != nil {
		return request.Answer{}, err
	}
	return grantOf(given), nil
}

// logOut answers DELETE /v1/sessions/current.
func (h *handlers) logOut(r *http.Request) (request.Answer, error) {
	caller, err := callerOf(r)
	if err != nil {
		return request.Answer{}, err
	}
	if err := h.accounts.LogOut(r.Context(), caller); err != nil {
		return request.Answer{}, err
	}
	return request.NoContent(), nil
}

// callerOf is who sent the request; the error is a 401 problem if nobody did.
func callerOf(r *http.Request) (app.Caller, error) {
	claims, err := service.Caller(r)
	return app.Caller{UserID: claims.Subject, SessionID: claims.SessionID}, err
}
