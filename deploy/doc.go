// Package deploy holds no code: its tests hold the files beside it, which
// people copy, to what the program needs and exports.
package deploy
