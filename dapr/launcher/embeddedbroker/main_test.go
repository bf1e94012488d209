package main

import (
	"net"
	"testing"
)

func TestClientsAreSentToTheAdvertisedHost(t *testing.T) {
	for advertise, want := range map[string]string{"": "127.0.0.1", "broker": "broker"} {
		listener, err := listenOn("127.0.0.1", advertise)("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		host, _, err := net.SplitHostPort(listener.Addr().String())
		if err != nil || host != want {
			t.Errorf("advertising %q it gives %s as its address (%v)", advertise, listener.Addr(), err)
		}
	}
}
