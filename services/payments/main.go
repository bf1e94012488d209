// Command payments manages a wallet for each user in a double-entry ledger: deposits from a bank, and for each order a hold that
// is captured or voided, and refunds.
package main

import (
	"caravan/internal/service"
	"caravan/services/payments/assembly"
	"caravan/services/payments/contract"
)

func main() { service.Main(contract.App, assembly.Build) }
