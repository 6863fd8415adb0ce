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
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"k8s.io/apimachinery/pkg/util/yaml"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/prosimcorp/replika/api/v1alpha1"
)

// readReplikaFile reads the one Replika of a file, or of stdin for a hyphen. Its namespace is that of the flags if it has none.
func (e *environment) readReplikaFile(path string) (*v1alpha1.Replika, error) {
	content, err := e.readFile(path)
	if err != nil {
		return nil, err
	}
	replika, err := parseReplika(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	namespace, err := e.namespace()
	if err != nil {
		return nil, err
	}
	switch flag := *e.config.Namespace; {
	case replika.Namespace == "":
		replika.Namespace = namespace
	case flag != "" && flag != replika.Namespace:
		return nil, fmt.Errorf("%s: the Replika is of namespace %s, and --namespace is %s: make them the same", path, replika.Namespace, flag)
	}
	return replika, nil
}

func (e *environment) readFile(path string) ([]byte, error) {
	if path == "-" {
		return io.ReadAll(e.In)
	}
	return os.ReadFile(path)
}

// parseReplika parses the one Replika of a manifest, in YAML or JSON.
func parseReplika(content []byte) (*v1alpha1.Replika, error) {
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	var replika *v1alpha1.Replika
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if isBlank(document) {
			continue
		}
		if replika != nil {
			return nil, errors.New("it has several documents: give one Replika")
		}
		if replika, err = decodeReplika(document); err != nil {
			return nil, err
		}
	}
	if replika == nil {
		return nil, errors.New("there is no Replika in it")
	}
	return replika, nil
}

// isBlank reports whether a document has nothing but comments.
func isBlank(document []byte) bool {
	var content any
	return sigsyaml.Unmarshal(document, &content) == nil && content == nil
}

// decodeReplika decodes a document. A field that does not exist is an error.
func decodeReplika(document []byte) (*v1alpha1.Replika, error) {
	replika := &v1alpha1.Replika{}
	if err := sigsyaml.Unmarshal(document, &replika.TypeMeta); err != nil {
		return nil, err
	}
	if kind := replika.GroupVersionKind(); kind != v1alpha1.GroupVersion.WithKind("Replika") {
		return nil, fmt.Errorf("it is no Replika of %s, but %s of %s", v1alpha1.GroupVersion, orNone(kind.Kind), orNone(kind.GroupVersion().String()))
	}
	if err := sigsyaml.UnmarshalStrict(document, replika); err != nil {
		return nil, err
	}
	if replika.Name == "" {
		return nil, errors.New("the Replika has no name: set metadata.name")
	}
	return replika, nil
}
