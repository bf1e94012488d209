// Command users manages accounts and sessions, and issues the access tokens that all other programs verify.
package main

import (
	"caravan/internal/service"
	"caravan/services/users/assembly"
	"caravan/services/users/contract"
)

func main() { service.Main(contract.App, assembly.Build) }
