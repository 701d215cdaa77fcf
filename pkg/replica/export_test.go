package replica

// Counts lets the tests ask what the gate lets through.
var Counts = counts
