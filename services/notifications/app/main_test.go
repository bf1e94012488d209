package app_test

import (
	"testing"

	"caravan/internal/racetest"
)

func TestMain(m *testing.M) { racetest.Main(m) }
