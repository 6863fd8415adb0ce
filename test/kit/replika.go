/*
Copyright The Replika Authors.

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
*/

package kit

import (
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// DefaultInterval is the synchronization time of a Replika that no option changes. It is the shortest that the API allows, so
// that a spec that needs one more read of the source does not wait long for it.
const DefaultInterval = time.Second

// ReplikaOption changes a Replika before it is created.
type ReplikaOption func(*v1alpha1.Replika)

// NewReplika builds a Replika of the source, with the source's name and namespace.
func NewReplika(source client.Object, options ...ReplikaOption) *v1alpha1.Replika {
	kind := KindOf(source)
	replika := &v1alpha1.Replika{
		ObjectMeta: metav1.ObjectMeta{Namespace: source.GetNamespace(), Name: source.GetName()},
		Spec: v1alpha1.ReplikaSpec{
			Synchronization: v1alpha1.SynchronizationSpec{Time: v1alpha1.Duration{Duration: DefaultInterval}},
			Source: v1alpha1.SourceSpec{
				Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Name: source.GetName(), Namespace: source.GetNamespace(),
			},
		},
	}
	for _, option := range options {
		option(replika)
	}
	return replika
}

// WithName sets the Replika's name.
func WithName(name string) ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Name = name }
}

// InNamespace sets the Replika's namespace. The source's namespace stays.
func InNamespace(namespace string) ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Namespace = namespace }
}

// WithLabels adds labels to the Replika itself.
func WithLabels(labels map[string]string) ReplikaOption {
	return func(replika *v1alpha1.Replika) {
		if replika.Labels == nil {
			replika.Labels = map[string]string{}
		}
		maps.Copy(replika.Labels, labels)
	}
}

// Source sets spec.source.
func Source(source v1alpha1.SourceSpec) ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.Source = source }
}

// SourceKind sets group, version and kind of spec.source.
func SourceKind(group, version, kind string) ReplikaOption {
	return func(replika *v1alpha1.Replika) {
		source := &replika.Spec.Source
		source.Group, source.Version, source.Kind = group, version, kind
	}
}

// SourceNames has the Replika select many sources by names and globs.
func SourceNames(patterns ...string) ReplikaOption {
	return func(replika *v1alpha1.Replika) {
		source := &replika.Spec.Source
		source.Name, source.Names, source.Selector = "", patterns, nil
	}
}

// SelectSources has the Replika select many sources by labels.
func SelectSources(labels map[string]string) ReplikaOption {
	return func(replika *v1alpha1.Replika) {
		source := &replika.Spec.Source
		source.Name, source.Names, source.Selector = "", nil, &v1alpha1.LabelSelector{MatchLabels: labels}
	}
}

// TargetNameAffixes sets what is put before and after the names of the copies.
func TargetNameAffixes(prefix, suffix string) ReplikaOption {
	return func(replika *v1alpha1.Replika) {
		replika.Spec.Target.NamePrefix, replika.Spec.Target.NameSuffix = prefix, suffix
	}
}

// TargetNamespaces sets spec.target.namespaces.replicateIn: names and globs.
func TargetNamespaces(patterns ...string) ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ReplicateIn = patterns }
}

// ExcludeNamespaces sets spec.target.namespaces.excludeFrom: names and globs.
func ExcludeNamespaces(patterns ...string) ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.ExcludeFrom = patterns }
}

// SelectNamespaces sets spec.target.namespaces.selector to these labels.
func SelectNamespaces(labels map[string]string) ReplikaOption {
	return func(replika *v1alpha1.Replika) {
		replika.Spec.Target.Namespaces.Selector = &v1alpha1.LabelSelector{MatchLabels: labels}
	}
}

// MatchAllNamespaces sets spec.target.namespaces.matchAll.
func MatchAllNamespaces() ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.Namespaces.MatchAll = true }
}

// TargetName sets the name of the copies.
func TargetName(name string) ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.Name = name }
}

// TargetLabels sets the labels that every copy gets.
func TargetLabels(labels map[string]string) ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.Labels = labels }
}

// TargetAnnotations sets the annotations that every copy gets.
func TargetAnnotations(annotations map[string]string) ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.Annotations = annotations }
}

// Interval sets spec.synchronization.time.
func Interval(interval time.Duration) ReplikaOption {
	return func(replika *v1alpha1.Replika) {
		replika.Spec.Synchronization.Time = v1alpha1.Duration{Duration: interval}
	}
}

// OnSourceDeletion sets spec.synchronization.onSourceDeletion.
func OnSourceDeletion(policy v1alpha1.SourceDeletionPolicy) ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.Synchronization.OnSourceDeletion = policy }
}

// Retain sets the deletion policy Retain.
func Retain() ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain }
}

// Adopt sets the conflict policy Adopt.
func Adopt() ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.ConflictPolicy = v1alpha1.ConflictPolicyAdopt }
}

// ImmutableFields sets spec.target.immutableFields.
func ImmutableFields(policy v1alpha1.ImmutableFieldsPolicy) ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.Target.ImmutableFields = policy }
}

// Suspended sets spec.suspend.
func Suspended() ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.Suspend = true }
}

// DryRun sets spec.mode.
func DryRun() ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.Mode = v1alpha1.ModeDryRun }
}

// ServiceAccount sets spec.serviceAccountName.
func ServiceAccount(name string) ReplikaOption {
	return func(replika *v1alpha1.Replika) { replika.Spec.ServiceAccountName = name }
}
