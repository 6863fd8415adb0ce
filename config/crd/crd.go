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

// Package crd has the CustomResourceDefinition of the Replika, for those that validate without an API server.
package crd

import _ "embed"

// Manifest is the CustomResourceDefinition, as YAML.
//
//go:embed bases/replika.prosimcorp.com_replikas.yaml
var Manifest []byte
