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
	"fmt"
	"slices"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/prosimcorp/replika/api/v1alpha1"
	"github.com/prosimcorp/replika/config/crd"
)

// validateSchema sets the defaults of the Replika, and checks it as the API server does, by the schema in this binary.
func validateSchema(ctx context.Context, replika *v1alpha1.Replika) error {
	properties, err := replikaSchema()
	if err != nil {
		return fmt.Errorf("reading the schema in this binary: %w", err)
	}
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(replika)
	if err != nil {
		return err
	}
	structural, err := schema.NewStructural(properties)
	if err != nil {
		return err
	}
	defaulting.Default(object, structural)
	validator, _, err := validation.NewSchemaValidator(properties)
	if err != nil {
		return err
	}
	problems := validation.ValidateCustomResource(nil, object, validator)
	if len(problems) == 0 {
		rules := cel.NewValidator(structural, true, celconfig.PerCallLimit)
		problems, _ = rules.Validate(ctx, field.NewPath(""), structural, object, nil, celconfig.RuntimeCELCostBudget)
	}
	if len(problems) > 0 {
		return fmt.Errorf("the Replika %s is invalid: %w", replika.Name, problems.ToAggregate())
	}
	return runtime.DefaultUnstructuredConverter.FromUnstructured(object, replika)
}

// replikaSchema returns the schema of the Replika.
func replikaSchema() (*apiextensions.JSONSchemaProps, error) {
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(crd.Manifest, definition); err != nil {
		return nil, err
	}
	version := slices.IndexFunc(definition.Spec.Versions, func(version apiextensionsv1.CustomResourceDefinitionVersion) bool {
		return version.Name == v1alpha1.GroupVersion.Version
	})
	if version < 0 {
		return nil, fmt.Errorf("the CustomResourceDefinition has no version %s", v1alpha1.GroupVersion.Version)
	}
	properties := &apiextensions.JSONSchemaProps{}
	return properties, apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
		definition.Spec.Versions[version].Schema.OpenAPIV3Schema, properties, nil)
}
