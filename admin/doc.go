// Package admin is what operators see over HTTP: a page, HAProxy's statistics as
// CSV and JSON, metrics for Prometheus, health, and a few actions. It renders a
// View, which it puts together from what the rest of the program tells through
// Source; it counts nothing itself and decides nothing.
//
//	listener -> guard (who may) -> gatherer (one look for all who ask) -> View
//	                                                                       |
//	                       page   /stats.json   ;csv   ;json   /metrics  <-'
//
// Event loops are asked at most once in freshFor, whoever scrapes, and never
// waited for longer than patience: then their last values are shown with their age.
package admin
