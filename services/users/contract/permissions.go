package contract

import "slices"

// The roles a user can have. A newly registered user is a customer.
const (
	RoleCustomer = "customer" // has orders and a wallet
	RoleStaff    = "staff"    // manages the shop: catalogue, stock, refunds, operations; has the permissions of a customer
	RoleAdmin    = "admin"    // has the permissions of staff, and changes roles
)

// The permissions that roles grant. Each route requires one; nothing is allowed by default.
const (
	PermissionOrdersPlace     = "orders:place"      // place an order; read and cancel one's own
	PermissionOrdersReadAny   = "orders:read:any"   // read any user's orders
	PermissionOrdersCancelAny = "orders:cancel:any" // cancel any user's order
	PermissionOrdersRefund    = "orders:refund"     // refund an order
	PermissionWalletUse       = "wallet:use"        // see one's own wallet and deposit into it
	PermissionCatalogWrite    = "catalog:write"     // create and change products and prices
	PermissionInventoryAdjust = "inventory:adjust"  // receive and correct stock
	PermissionUsersAdmin      = "users:admin"       // list users and change their roles
	PermissionOpsRead         = "ops:read"          // see queues, breakers, audits and dead letters
	PermissionOpsWrite        = "ops:write"         // replay dead letters and re-drive orders
)

// Roles returns every role, the least powerful first.
func Roles() []string { return []string{RoleCustomer, RoleStaff, RoleAdmin} }

// Permissions returns every permission, sorted.
func Permissions() []string { return PermissionsOf([]string{RoleAdmin}) }

// PermissionsOf returns the permissions that the roles grant together: sorted, each once. Another role never removes a
// permission. An unknown role grants nothing.
func PermissionsOf(roles []string) []string {
	var granted []string
	for _, role := range roles {
		granted = append(granted, permissionsOf(role)...)
	}
	slices.Sort(granted)
	return slices.Compact(granted)
}

// permissionsOf lists the permissions of one role. Each role includes the one before it.
func permissionsOf(role string) []string {
	switch role {
	case RoleCustomer:
		return []string{PermissionOrdersPlace, PermissionWalletUse}
	case RoleStaff:
		return append(permissionsOf(RoleCustomer), PermissionOrdersReadAny, PermissionOrdersCancelAny,
			PermissionOrdersRefund, PermissionCatalogWrite, PermissionInventoryAdjust, PermissionOpsRead, PermissionOpsWrite)
	case RoleAdmin:
		return append(permissionsOf(RoleStaff), PermissionUsersAdmin)
	default:
		return nil
	}
}
