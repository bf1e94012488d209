package domain

import "errors"

// Applicant is a person who wants a new account.
type Applicant struct {
	Email    Email
	Name     Name
	Password Password
}

// ParseApplicant reads what a person gives for a new account. Its error joins a *Violation of each field that is not
// valid: email, password and name.
func ParseApplicant(email, password, name string) (Applicant, error) {
	var a Applicant
	var emailErr, passwordErr, nameErr error
	a.Email, emailErr = ParseNewEmail(email)
	a.Name, nameErr = ParseName(name)
	a.Password, passwordErr = ParsePassword("password", password, a.Email, a.Name)
	if err := errors.Join(emailErr, passwordErr, nameErr); err != nil {
		return Applicant{}, err
	}
	return a, nil
}
