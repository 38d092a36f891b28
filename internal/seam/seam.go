// Package seam lets packages of this module reach into package ledger where its
// users can not: an exported function that takes a Key can not be called from
// outside, since nobody there can name the type. See docs/adr/0005-explorer.md.
package seam

// A Key opens a seam.
type Key struct{}
