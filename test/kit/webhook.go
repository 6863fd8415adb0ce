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
	"encoding/json"
	"encoding/pem"
	"maps"
	"net/http"
	"net/http/httptest"

	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ServeWebhook serves an admission webhook until the server is closed, and returns how the API server reaches it.
func ServeWebhook(review func(*admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse) (*httptest.Server, admissionregistrationv1.WebhookClientConfig) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		message := &admissionv1.AdmissionReview{}
		if err := json.NewDecoder(request.Body).Decode(message); err != nil {
			http.Error(writer, err.Error(), http.StatusBadRequest)
			return
		}
		message.Response = review(message.Request)
		message.Response.UID = message.Request.UID
		writer.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(writer).Encode(message)
	}))
	return server, admissionregistrationv1.WebhookClientConfig{
		URL: &server.URL, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
	}
}

// MergeFields returns the response of a webhook that merges the fields into the object of the request.
func MergeFields(request *admissionv1.AdmissionRequest, fields map[string]any) *admissionv1.AdmissionResponse {
	var object map[string]any
	if err := json.Unmarshal(request.Object.Raw, &object); err != nil {
		return &admissionv1.AdmissionResponse{Result: &metav1.Status{Message: err.Error()}}
	}
	operations := []map[string]any{}
	for key, value := range fields {
		operations = append(operations, map[string]any{"op": "add", "path": "/" + key, "value": merge(object[key], value)})
	}
	patch, err := json.Marshal(operations)
	if err != nil {
		return &admissionv1.AdmissionResponse{Result: &metav1.Status{Message: err.Error()}}
	}
	return &admissionv1.AdmissionResponse{Allowed: true, Patch: patch, PatchType: new(admissionv1.PatchTypeJSONPatch)}
}

// merge returns the value with the fields of the current one that it does not set.
func merge(current, value any) any {
	fields, isObject := value.(map[string]any)
	existing, wasObject := current.(map[string]any)
	if !isObject || !wasObject {
		return value
	}
	merged := maps.Clone(existing)
	for key, field := range fields {
		merged[key] = merge(existing[key], field)
	}
	return merged
}
