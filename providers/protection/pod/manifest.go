// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"slices"
	"strings"

	"github.com/karbor-project/karbor/pkg/kubernetes"
)

// manifest is a pod as JSON objects, so that what this version does not know
// survives.
type manifest struct {
	namespace string
	object    map[string]any
}

// assigned are members of a spec that the cluster chose for the old pod, or that
// cannot be given for a new one. The class of priority stays.
// kubernetes: pkg/apis/core/validation, plugin/pkg/admission/priority
var assigned = []string{"nodeName", "priority", "preemptionPolicy", "ephemeralContainers"}

// renew makes the manifest one of a new pod with other Cinder volumes. Of the old
// metadata only the labels stay: annotations are the cluster's notes about the
// old pod.
func (m manifest) renew(name string, marks map[string]string, volumes map[string]kubernetes.Cinder) map[string]any {
	spec := map[string]any{}
	for key, value := range inner(m.object, "spec") {
		if !slices.Contains(assigned, key) && value != nil {
			spec[key] = value
		}
	}
	kept := map[string]bool{}
	renewed := []any{}
	for _, v := range list(spec, "volumes") {
		name, _ := v["name"].(string)
		if cinder, ok := volumes[name]; ok {
			v = map[string]any{"name": name, "cinder": cinder}
		} else if isToken(v) {
			continue
		}
		kept[name] = true
		renewed = append(renewed, v)
	}
	spec["volumes"] = renewed
	for _, containers := range []string{"containers", "initContainers"} {
		for _, container := range list(spec, containers) {
			mounts := []any{}
			for _, mount := range list(container, "volumeMounts") {
				if name, _ := mount["name"].(string); kept[name] {
					mounts = append(mounts, mount)
				}
			}
			container["volumeMounts"] = mounts
		}
	}
	metadata := map[string]any{"name": name, "namespace": m.namespace, "annotations": marks}
	if labels, ok := inner(m.object, "metadata")["labels"].(map[string]any); ok {
		metadata["labels"] = labels
	}
	return map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
}

// isToken reports whether a volume is the token of a service account, which the cluster
// gives to each pod anew.
// kubernetes: plugin/pkg/admission/serviceaccount
func isToken(v map[string]any) bool {
	name, _ := v["name"].(string)
	_, projected := v["projected"]
	_, secret := v["secret"]
	return projected && strings.HasPrefix(name, "kube-api-access-") || secret && strings.Contains(name, "-token-")
}

// inner returns an object's object, nil if there is none.
func inner(object map[string]any, name string) map[string]any {
	of, _ := object[name].(map[string]any)
	return of
}

// list returns the objects of an object's list.
func list(object map[string]any, name string) []map[string]any {
	all, _ := object[name].([]any)
	var objects []map[string]any
	for _, item := range all {
		if of, ok := item.(map[string]any); ok {
			objects = append(objects, of)
		}
	}
	return objects
}
