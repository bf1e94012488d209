// Package k8s holds that the files in k8s/ are what Kubernetes and Dapr understand, start the same programs as
// dapr/dapr.yaml, and keep them apart. It needs no cluster. It is a module of its own, so that kustomize, kubeconform
// and the types of Kubernetes are no dependencies of the product.
package k8s
