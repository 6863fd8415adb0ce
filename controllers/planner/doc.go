// Package planner decides WHAT must be true: which namespaces a Replika selects, what every copy of its source
// must look like, and which actions lead there from what is observed.
//
// Everything here is pure: no I/O, no clock, no client. The same inputs give the same plan, so tables, properties and
// fuzzers can drive it through states that no cluster shows in a week.
package planner
