package main

// Main is the command, for tests that are it.
func Main() { main() }
