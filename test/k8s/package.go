// Package k8s checks that the files in k8s/ are valid for Kubernetes and Dapr, start the same programs as
// dapr/dapr.yaml, and isolate them. It needs no cluster. It is a separate module, so that the product does not depend
// on kustomize, kubeconform and the types of Kubernetes.
package k8s
