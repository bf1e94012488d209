package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"caravan/dapr/records"
)

// engine is a container engine: where its log files are, and how it writes them.
type engine struct {
	// list passes the log files below a folder to visit.
	list func(folder string, now time.Time, visit func(listed)) error
	// owner returns the container of a file, which is a part of the file's id, and the name of its process. The name is "" if the file is
	// of a container that is not collected. first is the first record.
	owner func(path, first string) (container, instance string)
	parse func(record string) (records.Fragment, bool)
	// sameTime says that all parts of a line have the same time.
	sameTime bool
}

// listed is a log file in a folder.
type listed struct {
	path  string
	info  fs.FileInfo
	ended bool // nobody writes to it any more
}

// settled is how long after its last change a rotated file is complete. An engine still writes to a file that was just renamed.
const settled = 5 * time.Second

// plain lists the log files of a stack: orders.log, and orders.log.1 after a rotation.
func plain(folder string, _ time.Time, visit func(listed)) error {
	return each(folder, func(path string, entry fs.DirEntry) {
		rotated := strings.HasSuffix(path, ".log.1")
		if rotated || filepath.Ext(path) == ".log" {
			show(path, entry, func(fs.FileInfo) bool { return rotated }, visit)
		}
	})
}

// each passes the entries of a folder to visit.
func each(folder string, visit func(path string, entry fs.DirEntry)) error {
	entries, err := os.ReadDir(folder)
	for _, entry := range entries {
		visit(filepath.Join(folder, entry.Name()), entry)
	}
	return err
}

// show passes a file to visit. What was removed meanwhile, and links, are left out.
func show(path string, entry fs.DirEntry, ended func(fs.FileInfo) bool, visit func(listed)) {
	if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
		visit(listed{path, info, ended(info)})
	}
}

// docker is the Docker engine with its log driver json-file. The files of a container are in a folder that has its id as name:
// ID-json.log, and ID-json.log.1 and so on after rotations. Each record names its process by the log option "tag", as
// PROJECT/SERVICE/NUMBER. Containers of other projects are left out.
func docker(project string) *engine {
	return &engine{
		list: func(folder string, now time.Time, visit func(listed)) error {
			return each(folder, func(container string, entry fs.DirEntry) {
				if !entry.IsDir() {
					return
				}
				current := filepath.Base(container) + "-json.log"
				// A container that was removed meanwhile has no folder.
				_ = each(container, func(path string, entry fs.DirEntry) {
					suffix, isLog := strings.CutPrefix(entry.Name(), current)
					number, numbered := strings.CutPrefix(suffix, ".")
					if _, err := strconv.Atoi(number); isLog && (suffix == "" || numbered && err == nil) {
						show(path, entry, func(info fs.FileInfo) bool { return suffix != "" && now.Sub(info.ModTime()) > settled }, visit)
					}
				})
			})
		},
		owner: func(path, first string) (container, instance string) {
			return "docker " + filepath.Base(filepath.Dir(path)), composeInstance(project, records.DockerTag(first))
		},
		parse: records.ParseDocker, sameTime: true,
	}
}

// composeInstance is the process of a container, as the launcher names it, from the tag of its records. Compose names the service of
// the second replica of orders orders-2, so only with --scale does a number above 1 tell containers apart.
func composeInstance(project, tag string) string {
	parts := strings.Split(tag, "/")
	if len(parts) != 3 || parts[0] != project {
		return ""
	}
	service, number := parts[1], parts[2]
	if number == "" || number == "1" {
		return service
	}
	if app, sidecar := strings.CutSuffix(service, "-daprd"); sidecar {
		return app + "-" + number + "-daprd"
	}
	return service + "-" + number
}

// pods are the containers of Kubernetes on a node. The files of a container are in NAMESPACE_POD_UID/CONTAINER: 0.log, 1.log
// after a restart of the container, and 0.log.TIME after a rotation. Pods of other namespaces are left out.
func pods(namespaces []string) *engine {
	return &engine{
		list: func(folder string, now time.Time, visit func(listed)) error {
			return each(folder, func(pod string, entry fs.DirEntry) {
				if !entry.IsDir() || !inNamespace(entry.Name(), namespaces) {
					return
				}
				_ = each(pod, func(container string, entry fs.DirEntry) {
					if entry.IsDir() {
						listContainer(container, now, visit)
					}
				})
			})
		},
		owner: func(path, _ string) (container, instance string) {
			pod, name := filepath.Split(filepath.Dir(path))
			return "pod " + filepath.Base(pod) + "/" + name, podInstance(filepath.Base(pod), name)
		},
		parse: records.ParseCRI,
	}
}

// listContainer passes the log files of a container of Kubernetes to visit. Those that are rotated, or of an earlier start of the
// container, get no more lines.
func listContainer(folder string, now time.Time, visit func(listed)) {
	last := -1
	var files []listed
	var starts []int
	var rotated []bool
	_ = each(folder, func(path string, entry fs.DirEntry) {
		start, suffix, isLog := strings.Cut(entry.Name(), ".log")
		number, err := strconv.Atoi(start)
		// The kubelet compresses a rotated file when there is another: it has been read by then.
		if !isLog || err != nil || strings.HasSuffix(suffix, ".gz") || strings.HasSuffix(suffix, ".tmp") || suffix != "" && suffix[0] != '.' {
			return
		}
		last = max(last, number)
		show(path, entry, func(fs.FileInfo) bool { return false }, func(file listed) {
			files, starts, rotated = append(files, file), append(starts, number), append(rotated, suffix != "")
		})
	})
	for i, file := range files {
		file.ended = (rotated[i] || starts[i] < last) && now.Sub(file.info.ModTime()) > settled
		visit(file)
	}
}

// inNamespace reports whether a folder of a pod is of one of the namespaces.
func inNamespace(folder string, namespaces []string) bool {
	for _, namespace := range namespaces {
		if strings.HasPrefix(folder, namespace+"_") {
			return true
		}
	}
	return false
}

// podInstance is the process of a container: the name of its pod, for its sidecar with "-daprd".
func podInstance(folder, container string) string {
	parts := strings.Split(folder, "_")
	if len(parts) < 2 {
		return ""
	}
	if container == "daprd" {
		return parts[1] + "-daprd"
	}
	return parts[1]
}
