package domain

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"caravan/internal/document"
	"caravan/services/users/contract"
)

// MaxSessions is how many sessions one account can have at a time; logging in once more ends the oldest.
const MaxSessions = 10

// Errors of the rules of an account.
var (
	// ErrNoUser is returned when there is no such account.
	ErrNoUser = errors.New("no such user")
	// ErrCredentials is returned when address and password do not match. It does not say which one is wrong.
	ErrCredentials = errors.New("wrong e-mail address or password")
	// ErrPasswordMoved is returned when the password hash was changed after it was verified; verify again.
	ErrPasswordMoved = errors.New("password changed meanwhile")
	// ErrOwnAdminRole is returned when admins remove their own admin role. Another admin has to do it, so one always remains.
	ErrOwnAdminRole = errors.New("an admin cannot give up their own admin role")
)

// User is one account.
type User struct {
	document.Root
	ID                string        `json:"id"`
	Email             Email         `json:"email"` // its claim names this account
	Name              Name          `json:"name"`
	PasswordHash      string        `json:"passwordHash"` // PHC string
	Roles             []string      `json:"roles"`
	AdminTerm         int64         `json:"adminTerm,omitempty"` // of the decision in Admins that Roles follow
	Version           int64         `json:"version"`             // is increased when older tokens are outdated
	Sessions          []OpenSession `json:"sessions,omitempty"`
	ListedAs          string        `json:"listedAs"` // the id of the one entry of the user list that is valid for this account
	CreatedAt         time.Time     `json:"createdAt"`
	UpdatedAt         time.Time     `json:"updatedAt"`
	PasswordChangedAt time.Time     `json:"passwordChangedAt"`
	EmailVerifiedAt   time.Time     `json:"emailVerifiedAt,omitzero"`
	Verification      MailRequest   `json:"verification,omitzero"`
	PasswordReset     MailRequest   `json:"passwordReset,omitzero"`
	Devices           []string      `json:"devices,omitempty"` // digests of the last that logged in, newest last; see DeviceKey
}

// OpenSession is an account's record of one of its sessions.
type OpenSession struct {
	ID       string    `json:"id"`
	OpenedAt time.Time `json:"openedAt"`
	Until    time.Time `json:"until"` // when the session expires
}

// Registration is a new account.
type Registration struct {
	ID           string
	Email        Email
	Name         Name
	PasswordHash string
	Roles        []string
	ListedAs     string         // the id of this attempt and of its entry in the user list
	Verification NewMailRequest // of the mail that verifies the address; the zero value asks for none
}

// Register creates the account. Its error is ErrEmailTaken when another registration created it. The fields decide, and
// not the revision: one write may contain two registrations, and both see the revision before it.
func (u *User) Register(r Registration, now time.Time) error {
	switch u.ListedAs {
	case "":
	case r.ListedAs: // the same attempt
		return document.ErrUnchanged
	default:
		return ErrEmailTaken
	}
	u.ID, u.Email, u.Name, u.PasswordHash = r.ID, r.Email, r.Name, r.PasswordHash
	u.Roles, u.Version, u.ListedAs = r.Roles, 1, r.ListedAs
	u.CreatedAt, u.UpdatedAt, u.PasswordChangedAt = now, now, now
	u.Emit(contract.EventRegistered, now, contract.Registered{UserID: u.ID, Roles: u.Roles})
	if r.Verification.ID == "" {
		return nil
	}
	if err := u.RequestVerification(r.Verification, now); err != nil {
		return err
	}
	u.Verification.Recent = nil // who finds no mail can ask for another one at once
	return nil
}

// Rename changes the display name.
func (u *User) Rename(name Name, now time.Time) error {
	if u.ID == "" {
		return ErrNoUser
	}
	if u.Name == name {
		return document.ErrUnchanged
	}
	u.Name, u.UpdatedAt = name, now
	return nil
}

// OpenSession records a session that is about to start, and the device that starts it. If rehashed is not empty, it replaces the
// hash with which the password was verified. The oldest sessions end if there are more than MaxSessions. Its error is ErrPasswordMoved when
// verified is no longer the account's hash: then the password may be wrong.
func (u *User) OpenSession(session OpenSession, verified, rehashed, device string, now time.Time) error {
	if u.ID == "" {
		return ErrNoUser
	}
	if u.lists(session.ID) {
		return document.ErrUnchanged
	}
	if u.PasswordHash != verified {
		return ErrPasswordMoved
	}
	if rehashed != "" {
		u.PasswordHash = rehashed
	}
	u.Sessions = slices.DeleteFunc(slices.Clone(u.Sessions), func(s OpenSession) bool { return !now.Before(s.Until) })
	if surplus := len(u.Sessions) - MaxSessions + 1; surplus > 0 {
		displaced := sessionIDs(u.Sessions[:surplus])
		u.Sessions = slices.Delete(u.Sessions, 0, surplus)
		u.emitRevoked(displaced, contract.RevokedDisplaced, now)
	}
	u.Sessions = append(u.Sessions, session)
	u.recognize(device, now)
	return nil
}

// CloseSession removes a session from the list. The document of the session contains the reason.
func (u *User) CloseSession(id string) error {
	if !u.lists(id) {
		return document.ErrUnchanged
	}
	u.Sessions = slices.DeleteFunc(slices.Clone(u.Sessions), func(s OpenSession) bool { return s.ID == id })
	return nil
}

// HasSession reports whether the account lists the session and it has not expired.
func (u *User) HasSession(id string, now time.Time) bool {
	return slices.ContainsFunc(u.Sessions, func(s OpenSession) bool { return s.ID == id && now.Before(s.Until) })
}

func (u *User) lists(id string) bool {
	return slices.ContainsFunc(u.Sessions, func(s OpenSession) bool { return s.ID == id })
}

// ChangePassword replaces the verified hash by a new one and ends every session except keep. Its error is ErrPasswordMoved
// when verified is no longer the account's hash, and ErrSessionEnded when keep is not a session of the account.
func (u *User) ChangePassword(verified, hash, keep string, now time.Time) error {
	switch {
	case u.ID == "":
		return ErrNoUser
	case !u.HasSession(keep, now):
		return ErrSessionEnded
	case u.PasswordHash == hash: // the same change; no other has the same salt
		return document.ErrUnchanged
	case u.PasswordHash != verified:
		return ErrPasswordMoved
	}
	var kept, ended []OpenSession
	for _, session := range u.Sessions {
		if session.ID == keep {
			kept = append(kept, session)
		} else {
			ended = append(ended, session)
		}
	}
	u.Sessions = kept
	u.setPassword(hash, now)
	if len(ended) > 0 {
		u.emitRevoked(sessionIDs(ended), contract.RevokedPasswordChanged, now)
	}
	return nil
}

// setPassword replaces the password. A reset that was asked for before is not valid any more.
func (u *User) setPassword(hash string, now time.Time) {
	u.PasswordHash = hash
	u.Version++
	u.UpdatedAt, u.PasswordChangedAt = now, now
	if u.PasswordReset.live(now) {
		u.PasswordReset.Until = now
	}
	u.Emit(contract.EventPasswordChanged, now, contract.PasswordChanged{UserID: u.ID})
}

// ChangeRoles gives the account exactly these roles. by is the id of the user who decided it. term is that of the decision
// in Admins, or 0 if the account is not an admin and does not become one. A term older than the account's changes nothing.
// Errors: ErrOwnAdminRole when admins remove their own role; ErrAdminUndecided when a term is missing.
func (u *User) ChangeRoles(roles []string, by string, term int64, now time.Time) error {
	if u.ID == "" {
		return ErrNoUser
	}
	roles = slices.Clone(roles)
	slices.Sort(roles)
	is, becomes := u.HasRole(contract.RoleAdmin), slices.Contains(roles, contract.RoleAdmin)
	switch {
	case by == u.ID && is && !becomes:
		return ErrOwnAdminRole
	case (is || becomes) && term == 0:
		return ErrAdminUndecided
	case term != 0 && term < u.AdminTerm: // there is a later decision
		return document.ErrUnchanged
	}
	same := slices.Equal(roles, u.Roles)
	if same && term <= u.AdminTerm {
		return document.ErrUnchanged
	}
	u.AdminTerm = max(u.AdminTerm, term)
	if same {
		return nil
	}
	u.Roles = roles
	u.Version++
	u.UpdatedAt = now
	u.Emit(contract.EventRolesChanged, now, contract.RolesChanged{UserID: u.ID, Roles: roles, ChangedBy: by})
	return nil
}

// ConfirmAdmin records the term of the latest decision that the account is an admin. Its error is ErrDismissed if the
// account did not become one.
func (u *User) ConfirmAdmin(term int64) error {
	switch {
	case u.AdminTerm >= term:
		return document.ErrUnchanged
	case !u.HasRole(contract.RoleAdmin):
		return ErrDismissed
	}
	u.AdminTerm = term
	return nil
}

// HasRole reports whether the account has the role itself.
func (u *User) HasRole(role string) bool { return slices.Contains(u.Roles, role) }

// Can reports whether the account's roles grant the permission now. Its tokens may be older.
func (u *User) Can(permission string) bool {
	return slices.Contains(contract.PermissionsOf(u.Roles), permission)
}

func (u *User) emitRevoked(sessions []string, reason string, now time.Time) {
	u.Emit(contract.EventSessionsRevoked, now, contract.SessionsRevoked{UserID: u.ID, SessionIDs: sessions, Reason: reason})
}

func sessionIDs(sessions []OpenSession) []string {
	ids := make([]string, len(sessions))
	for i, session := range sessions {
		ids[i] = session.ID
	}
	return ids
}

// CheckRoles checks the roles of an account: at least one, each known, none twice. The error joins one *Violation for each
// wrong entry.
func CheckRoles(roles []string) error {
	if len(roles) == 0 {
		return &Violation{"roles", "required", "must name at least one role"}
	}
	if len(roles) > len(contract.Roles()) {
		return &Violation{"roles", "too_many", "names more roles than there are"}
	}
	var violations []error
	for i, role := range roles {
		field := "roles[" + strconv.Itoa(i) + "]"
		if !slices.Contains(contract.Roles(), role) {
			violations = append(violations, &Violation{field, "unknown", "must be one of customer, staff, admin"})
		} else if slices.Contains(roles[:i], role) {
			violations = append(violations, &Violation{field, "duplicate", "is named twice"})
		}
	}
	return errors.Join(violations...)
}
