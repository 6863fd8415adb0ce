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

package commands

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/resource"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/api/v1beta1"
)

// servedVersions are the versions of a Replika. They have one schema.
var servedVersions = []string{v1alpha1.GroupVersion.Version, v1beta1.GroupVersion.Version}

// readReplikaFiles reads the Replikas in files as the API server would store them. Other objects in them are ignored.
func (e *environment) readReplikaFiles(ctx context.Context, files *resource.FilenameOptions) ([]*v1alpha1.Replika, error) {
	infos, err := e.readFiles(files)
	if err != nil {
		return nil, err
	}
	var replikas []*v1alpha1.Replika
	others := 0
	for _, info := range infos {
		object := info.Object.(*unstructured.Unstructured)
		if object.GroupVersionKind().GroupKind() != v1alpha1.GroupVersion.WithKind("Replika").GroupKind() {
			others++
			continue
		}
		if version := object.GroupVersionKind().Version; !slices.Contains(servedVersions, version) {
			return nil, fmt.Errorf("%s: Replika %s has the version %s: write %s", info.Source, object.GetName(), version, v1beta1.GroupVersion)
		}
		replika, err := decodeUnstructured(object)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", info.Source, err)
		}
		stored, err := e.dryRunApply(ctx, replika)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", info.Source, err)
		}
		replikas = append(replikas, stored)
	}
	switch {
	case len(replikas) == 0 && others > 0:
		return nil, fmt.Errorf("there is no Replika of %s in the files, only %s", v1beta1.GroupVersion, plural(others, "other object"))
	case len(replikas) == 0:
		return nil, errors.New("there is no Replika in the files")
	case others > 0:
		e.note("%s in the files are no Replikas, and are ignored: a source among them must exist in the cluster.", plural(others, "object"))
	}
	return replikas, nil
}

// readFiles reads the objects in files. Those without a namespace get that of the flags.
func (e *environment) readFiles(files *resource.FilenameOptions) ([]*resource.Info, error) {
	namespace, enforced, err := e.config.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, err
	}
	builder := resource.NewBuilder(e.config).Unstructured().Local().NamespaceParam(namespace)
	named := *files
	named.Filenames = slices.DeleteFunc(slices.Clone(files.Filenames), func(name string) bool { return name == "-" })
	if len(named.Filenames) < len(files.Filenames) {
		builder = builder.Stream(e.In, "stdin")
	}
	// Another namespace than that of the flags is refused below: the message of the builder has two sentences.
	infos, err := builder.FilenameParam(false, &named).Flatten().Do().Infos()
	for _, info := range infos {
		object := info.Object.(*unstructured.Unstructured)
		switch {
		case object.GetNamespace() == "":
			object.SetNamespace(namespace)
		case enforced && object.GetNamespace() != namespace:
			return nil, fmt.Errorf("%s: %s %s is of namespace %s, and --namespace is %s: make them the same",
				info.Source, object.GetKind(), object.GetName(), object.GetNamespace(), namespace)
		}
	}
	return infos, err
}

func decodeUnstructured(object *unstructured.Unstructured) (*v1alpha1.Replika, error) {
	replika := &v1alpha1.Replika{}
	err := runtime.DefaultUnstructuredConverter.FromUnstructuredWithValidation(object.Object, replika, true)
	if err == nil && replika.Name == "" {
		err = errors.New("the Replika has no name: set metadata.name")
	}
	return replika, err
}

// dryRunApply returns the Replika as the API server would store it, with the status of the one that exists. It does not matter to the
// plan how the Replika is applied: the spec is replaced.
func (e *environment) dryRunApply(ctx context.Context, replika *v1alpha1.Replika) (*v1alpha1.Replika, error) {
	api, err := e.client()
	if err != nil {
		return nil, err
	}
	api = client.NewDryRunClient(api)
	name, live := client.ObjectKeyFromObject(replika), &v1alpha1.Replika{}
	stored := replika.DeepCopy()
	switch err = api.Get(ctx, name, live); {
	case apierrors.IsNotFound(err):
		err = api.Create(ctx, stored, client.FieldValidation(metav1.FieldValidationStrict))
	case err == nil:
		stored = live.DeepCopy()
		stored.Spec = replika.Spec
		err = api.Update(ctx, stored, client.FieldValidation(metav1.FieldValidationStrict))
	case !apierrors.IsForbidden(err):
		return nil, fmt.Errorf("reading Replika %s: %w", name, err)
	}
	if apierrors.IsForbidden(err) {
		e.note("You may not write Replikas in namespace %s: Replika %s was checked by the schema in this binary.", name.Namespace, name.Name)
		unchecked := live.DeepCopy()
		unchecked.Namespace, unchecked.Name, unchecked.Spec = name.Namespace, name.Name, replika.Spec
		return unchecked, validateSchema(ctx, unchecked)
	}
	return stored, err
}
