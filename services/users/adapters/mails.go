package adapters

import (
	"net/http"

	"caravan/internal/problem"
	"caravan/internal/request"
	"caravan/services/users/domain"
)

// accepted is the body of a 202: a mail is sent soon, or not, and the answer is the same.
type accepted struct {
	Status string `json:"status"`
}

func mailAccepted(err error) (request.Answer, error) {
	return request.Reply(http.StatusAccepted, accepted{Status: "accepted"}), err
}

// requestVerification answers POST /v1/users/me/verification.
func (a API) requestVerification(r *http.Request) (request.Answer, error) {
	caller, err := callerOf(r)
	if err != nil {
		return request.Answer{}, err
	}
	if err := request.NoBody(r); err != nil {
		return request.Answer{}, err
	}
	return mailAccepted(a.RequestVerification.Do(r.Context(), caller))
}

// verifyEmail answers POST /v1/verifications.
func (a API) verifyEmail(r *http.Request) (request.Answer, error) {
	var body struct {
		Token string `json:"token" validate:"required,max=128"`
	}
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	return request.NoContent(), a.VerifyEmail.Do(r.Context(), body.Token)
}

// resetRequest is the body of POST /v1/password-resets.
type resetRequest struct {
	Email string `json:"email" validate:"required"`

	email domain.Email // set by Check
}

// Check implements request.Checker.
func (b *resetRequest) Check() []problem.FieldError {
	var err error
	b.email, err = domain.ParseEmail(b.Email)
	return faultsOf(err)
}

// requestPasswordReset answers POST /v1/password-resets.
func (a API) requestPasswordReset(r *http.Request) (request.Answer, error) {
	var body resetRequest
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	return mailAccepted(a.RequestPasswordReset.Do(r.Context(), body.email))
}

// passwordReset is the body of POST /v1/password-resets/confirm.
type passwordReset struct {
	Token    string `json:"token" validate:"required,max=128"`
	Password string `json:"password" validate:"required"`
}

// Check implements request.Checker. The use case also compares the password with the address and name of the account.
func (b *passwordReset) Check() []problem.FieldError {
	_, err := domain.ParsePassword("password", b.Password, "", "")
	return faultsOf(err)
}

// resetPassword answers POST /v1/password-resets/confirm.
func (a API) resetPassword(r *http.Request) (request.Answer, error) {
	var body passwordReset
	if err := request.Decode(r, &body); err != nil {
		return request.Answer{}, err
	}
	return request.NoContent(), a.ResetPassword.Do(r.Context(), body.Token, body.Password)
}
