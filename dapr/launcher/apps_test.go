package launcher

import "testing"

func TestReplicasAreOfServices(t *testing.T) {
	s := &Stack{options: Options{Replicas: 2, AppReplicas: map[string]int{"payments": 3}}}
	for app, want := range map[string]int{"orders": 2, "payments": 3, gatewayApp: 1} {
		if got := s.replicas(app); got != want {
			t.Errorf("%s has %d replicas, want %d", app, got, want)
		}
	}
	s.options = Options{AppReplicas: map[string]int{gatewayApp: 2}}
	if orders, gateway := s.replicas("orders"), s.replicas(gatewayApp); orders != 1 || gateway != 2 {
		t.Errorf("orders has %d replicas and the gateway %d", orders, gateway)
	}
}
