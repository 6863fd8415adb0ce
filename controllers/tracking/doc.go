// Package tracking knows WHAT IS: which kinds the API server serves, and which copies stand where.
//
// It keeps run-time watches for whatever the Replikas that exist need: the copies of a kind, selected by our label and
// reduced to digests; one source each, by its metadata; and the objects of one name while foreign ones are in the way.
// The watched set follows the Replikas on every instance of the operator, the standby too. A watch that cannot be had
// blocks nothing: its state says so, and what it would have told is read instead.
package tracking
