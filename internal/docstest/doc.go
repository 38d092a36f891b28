// Package docstest checks the project's pages: that their Go compiles and prints what they say, that their
// links, test names and paths exist, and that the command lines in them are understood by the command. It has tests only.
//
// A block fenced as go is one of two things. One that begins with "package main" is a program: it has to
// compile, and if it holds a comment "// Output:" it is run, in an empty directory, and has to print that. Any other is a fragment: imports,
// declarations and statements, compiled after testdata/preamble.go, which declares the names that fragments
// share (ctx, store, guard, order, charge, ...). Unused variables and imports are no mistake in a fragment.
package docstest
