package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"caravan/dapr/client"
)

// gatewayReport is the gateway's report on its services.
type gatewayReport struct {
	Gateway  string           `json:"gateway"`
	Services []gatewayService `json:"services"`
	Breakers []gatewayBreaker `json:"breakers,omitempty"`
}

// gatewayService is a service as the gateway sees it.
type gatewayService struct {
	Name       string               `json:"name"`
	Status     client.ServiceStatus `json:"status"`
	DurationMS float64              `json:"durationMs"`
	Detail     string               `json:"detail,omitempty"`
	Breaker    client.BreakerState  `json:"breaker,omitempty"`
}

// gatewayBreaker is a circuit breaker of the gateway or of orders.
type gatewayBreaker struct {
	Caller  string              `json:"caller"`
	App     string              `json:"app"`
	Target  string              `json:"target,omitempty"`
	State   client.BreakerState `json:"state"`
	Since   time.Time           `json:"since"`
	Refused int                 `json:"refused"`
	Opened  int                 `json:"opened"`
}

// gatewayStatus shows the gateway's report: to staff all of it, to others only whether each service is ready.
func (c *cli) gatewayStatus(ctx context.Context) error {
	found, err := c.shop(ctx)
	if err != nil {
		return err
	}
	report := gatewayReport{Gateway: found.gateway}
	allowed := false
	if _, ok := userFor(found.people, "staff"); ok {
		allowed, err = report.askAsStaff(ctx, found)
	}
	if err == nil && !allowed {
		err = report.askAsNobody(ctx)
	}
	if err != nil {
		return err
	}
	return c.showGateway(report)
}

// askAsStaff reads the full report, and reports whether the user may see it.
func (r *gatewayReport) askAsStaff(ctx context.Context, s shop) (allowed bool, err error) {
	staff, err := s.signIn(ctx, "staff")
	if err != nil {
		return false, err
	}
	services, err := staff.OpsListServices(ctx)
	if client.Status(err) == http.StatusForbidden {
		return false, nil
	}
	var breakers client.BreakerList
	if err == nil {
		breakers, err = staff.OpsListBreakers(ctx)
	}
	if err != nil {
		return false, fmt.Errorf("asking the gateway for its services: %w", err)
	}
	for _, s := range services.Items {
		r.Services = append(r.Services, gatewayService{s.Name, s.Status, s.DurationMs, s.Detail, s.Breaker})
	}
	for _, b := range breakers.Items {
		r.Breakers = append(r.Breakers, gatewayBreaker{b.Caller, b.App, b.Target, b.State, b.Since, b.Refused, b.Opened})
	}
	return true, nil
}

// askAsNobody calls /healthz, which answers 503 when a service is not ready.
func (r *gatewayReport) askAsNobody(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Gateway+"/healthz", nil)
	if err != nil {
		return fmt.Errorf("asking the gateway: %w", err)
	}
	response, err := (&http.Client{Timeout: 30 * time.Second}).Do(request)
	if err != nil {
		return unreachable(r.Gateway, err)
	}
	defer response.Body.Close()
	var health struct {
		Services map[string]gatewayService `json:"services"`
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(raw, &health)
	}
	if err != nil || len(health.Services) == 0 {
		return fmt.Errorf("%s/healthz answered %d, and not as a Caravan gateway does", r.Gateway, response.StatusCode)
	}
	for _, name := range slices.Sorted(maps.Keys(health.Services)) {
		service := health.Services[name]
		service.Name = name
		r.Services = append(r.Services, service)
	}
	return nil
}

func (c *cli) showGateway(r gatewayReport) error {
	var unready error
	for _, s := range r.Services {
		if s.Status != "ready" {
			unready = errFailed
		}
	}
	if c.options.status.json {
		return errors.Join(c.asJSON(r), unready)
	}
	fmt.Fprintf(c.out, "Gateway %s\n\n", r.Gateway)
	err := c.table("SERVICE STATE ANSWERED BREAKER DETAIL", func(row func(...any)) {
		for _, s := range r.Services {
			row(s.Name, s.Status, fmt.Sprintf("%.1f ms", s.DurationMS), cmp.Or(string(s.Breaker), "-"), s.Detail)
		}
	})
	if err == nil && len(r.Breakers) > 0 {
		fmt.Fprintln(c.out)
		err = c.table("BREAKER CALLER STATE SINCE REFUSED OPENED", func(row func(...any)) {
			for _, b := range r.Breakers {
				row(cmp.Or(b.Target, b.App), b.Caller, b.State, age(b.Since)+" ago", b.Refused, b.Opened)
			}
		})
	}
	return errors.Join(err, unready)
}
