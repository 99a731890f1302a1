// Package provider is what a provider decides by itself: how its offers are
// made of presets and hardware, and what it answers to a demand. Everything here
// is a function of its arguments.
package provider
