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

package v1alpha1

import (
	"encoding/json"
	"time"
)

// The bounds and the default of spec.synchronization.time.
const (
	MinSynchronizationTime     = time.Second
	MaxSynchronizationTime     = 8760 * time.Hour
	DefaultSynchronizationTime = time.Minute
)

// Duration is a duration within the bounds of spec.synchronization.time, whatever text is decoded. The schema refuses every other
// text, but a stored Replika can be older than the schema, and one that does not decode would stop the informer of all Replikas.
// +kubebuilder:validation:Type=string
// +kubebuilder:validation:MaxLength=64
// +kubebuilder:validation:Pattern=`^([0-9]{1,4}([.][0-9]{1,9})?h|[0-9]{1,6}([.][0-9]{1,9})?m|[0-9]{1,8}([.][0-9]{1,9})?(s|ms))+$`
// +kubebuilder:validation:XValidation:rule="(oldSelf.hasValue() && oldSelf.value() == self) || (self.matches('^([0-9]{1,4}([.][0-9]{1,9})?h|[0-9]{1,6}([.][0-9]{1,9})?m|[0-9]{1,8}([.][0-9]{1,9})?(s|ms))+$') && duration(self) >= duration('1s') && duration(self) <= duration('8760h'))",message="must be a duration from 1s to 8760h, such as 20s, 1m30s or 1.5h",optionalOldSelf=true
type Duration struct {
	time.Duration `json:"-"`

	// Invalid is the text that was decoded, if it is not such a duration: Duration is then the nearest one or, if the text is no
	// duration at all, the default. It is encoded as it was.
	Invalid string `json:"-"`
}

// UnmarshalJSON decodes a JSON string. It never fails on a string.
func (d *Duration) UnmarshalJSON(content []byte) error {
	var text string
	if err := json.Unmarshal(content, &text); err != nil {
		return err
	}
	*d = Duration{Duration: DefaultSynchronizationTime, Invalid: text}
	if parsed, err := time.ParseDuration(text); err == nil {
		d.Duration = min(max(parsed, MinSynchronizationTime), MaxSynchronizationTime)
		if d.Duration == parsed {
			d.Invalid = ""
		}
	}
	return nil
}

// MarshalJSON encodes the duration in the format of time.Duration.String.
func (d Duration) MarshalJSON() ([]byte, error) {
	if d.Invalid != "" {
		return json.Marshal(d.Invalid)
	}
	return json.Marshal(d.String())
}
