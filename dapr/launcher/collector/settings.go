package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// settings are the flags.
type settings struct {
	store      string
	logs       string
	previous   string
	docker     string
	project    string
	pods       string
	namespaces string
	data       string
	host       string
	port       int
	sidecars   float64
	probe      string
}

func readSettings() settings {
	var s settings
	flag.StringVar(&s.store, "store", "", "`URL` of the store")
	flag.StringVar(&s.logs, "logs", "", "`folder` of the log files of a stack")
	flag.StringVar(&s.previous, "previous", "", "`folder` of the log files of the last run")
	flag.StringVar(&s.docker, "docker", "", "`folder` of Docker's containers, with log files of the driver json-file")
	flag.StringVar(&s.project, "project", "", "`name` of the project of Compose whose containers are collected; needed with -docker")
	flag.StringVar(&s.pods, "pods", "", "`folder` of the log files of pods on this node of Kubernetes")
	flag.StringVar(&s.namespaces, "namespaces", "", "`names` of the namespaces whose pods are collected, with commas; needed with -pods")
	flag.StringVar(&s.data, "data", "", "`folder` for positions and spans")
	flag.StringVar(&s.host, "host", "127.0.0.1", "`address` of the port for spans")
	flag.IntVar(&s.port, "port", 0, "`number` of the port for spans (OTLP over HTTP); 0: file descriptor 3 is the socket")
	flag.Float64Var(&s.sidecars, "sidecar-spans", 1, "`share` of the traces whose spans of sidecars are stored, from 0 to 1")
	flag.StringVar(&s.probe, "probe", "", "only ask whether this `URL` answers, and exit with 0 or 1")
	flag.Parse()
	return s
}

// folders are where the log files are.
func (s settings) folders() []folder {
	var folders []folder
	if s.logs != "" {
		folders = append(folders, folder{path: s.logs}, folder{path: s.previous, ended: true, knownOnly: true})
	}
	if s.docker != "" {
		folders = append(folders, folder{path: s.docker, engine: docker(s.project)})
	}
	if s.pods != "" {
		folders = append(folders, folder{path: s.pods, engine: pods(strings.Split(s.namespaces, ","))})
	}
	return folders
}

// probe asks a URL. The images of the collector and of the store have no other program that could.
func probe(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fmt.Errorf("probing: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("probing: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("probing: %s answers %s", url, response.Status)
	}
	return nil
}
