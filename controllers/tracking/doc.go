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

// Package tracking observes the cluster: which kinds the API server serves, and which copies exist.
//
// It watches what the Replikas need: the copies of a kind, selected by label and reduced to digests; each source, by its
// metadata, and many in one namespace by one watch; and, while foreign objects conflict with copies, all objects of the copies' name. Every instance of the
// operator runs these watches, the standby too, so that a takeover needs no list. A watch that fails because it is forbidden,
// or because the kind is not served, blocks nothing: it reports that it is not synced, and the copies are listed instead.
package tracking
