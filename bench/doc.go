// Package bench compares pgvip with what it replaces, on one machine and in the
// same minutes: blocks of a few seconds alternate between the contenders, each
// is measured by the CPU time of its processes, and ratios are taken between
// neighbours in time. Numbers of different runs, let alone machines, are never
// compared.
//
//	case   protocol, clients, pool mode, backend
//	round  one block of each contender; the order turns round each time (ABBA)
//	pair   the blocks of two contenders in one round
//
// README.md in this folder has the method and the figures.
package bench
