// Command users keeps accounts and sessions, and issues the access tokens that every other program verifies.
package main

import (
	"caravan/internal/service"
	"caravan/services/users/assembly"
	"caravan/services/users/contract"
)

func main() { service.Main(contract.App, assembly.Build) }
