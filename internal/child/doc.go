// Package child runs a program for the command "ledger run": its output is passed on
// while it is written and kept within bounds, signals reach it, and it does
// not outlive this process where the system can see to that (Linux).
package child
