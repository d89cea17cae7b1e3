package wire

// Param is one run-time parameter: a pair of a startup packet, or a
// ParameterStatus.
type Param struct {
	Name  string
	Value string
}
