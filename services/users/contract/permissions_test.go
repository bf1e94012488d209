package contract_test

import (
	"slices"
	"testing"

	"caravan/services/users/contract"
)

func TestPermissionsOf(t *testing.T) {
	tests := map[string]struct {
		roles []string
		has   []string
		lacks []string
	}{
		"nobody":   {nil, nil, contract.Permissions()},
		"unknown":  {[]string{"root"}, nil, contract.Permissions()},
		"customer": {[]string{"customer"}, []string{"orders:place", "wallet:use"}, []string{"orders:read:any", "catalog:write", "users:admin", "ops:read"}},
		"staff":    {[]string{"staff"}, []string{"orders:place", "orders:read:any", "orders:refund", "catalog:write", "inventory:adjust", "ops:read", "ops:write"}, []string{"users:admin"}},
		"admin":    {[]string{"admin"}, contract.Permissions(), nil},
		"both":     {[]string{"customer", "staff"}, []string{"wallet:use", "orders:refund"}, []string{"users:admin"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := contract.PermissionsOf(test.roles)
			if !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != len(got) {
				t.Errorf("PermissionsOf(%v) = %v, want sorted and each once", test.roles, got)
			}
			for _, permission := range test.has {
				if !slices.Contains(got, permission) {
					t.Errorf("PermissionsOf(%v) lacks %s", test.roles, permission)
				}
			}
			for _, permission := range test.lacks {
				if slices.Contains(got, permission) {
					t.Errorf("PermissionsOf(%v) grants %s", test.roles, permission)
				}
			}
		})
	}
}

// Adding a role never takes a permission away.
func TestPermissionsGrowWithRoles(t *testing.T) {
	for _, first := range contract.Roles() {
		for _, second := range contract.Roles() {
			both := contract.PermissionsOf([]string{first, second})
			for _, permission := range contract.PermissionsOf([]string{first}) {
				if !slices.Contains(both, permission) {
					t.Errorf("%s with %s loses %s", first, second, permission)
				}
			}
		}
	}
}
