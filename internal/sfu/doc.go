// Package sfu is the media plane: channels and the connections in them. It
// knows no HTTP and no SQL.
package sfu
